//! Recordings with a flipped bit, read by the program itself: a share of what `vmatlas-record` tries with its reader alone.

#![expect(clippy::unwrap_used, reason = "a test binary")]

use serde_json::Value;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use vmatlas_testkit::{Dice, fixtures, vmatlas_command, wait_until};

/// What the program said, and how it ended.
struct Said {
    status: Option<i32>,
    out: String,
    err: String,
}

/// Runs `vmatlas`, for a minute at most.
fn vmatlas(words: &[&str], folder: &Path) -> Said {
    let (out, err) = (folder.join("out"), folder.join("err"));
    let mut command = vmatlas_command(env!("CARGO_BIN_EXE_vmatlas"));
    command.args(words).stdin(Stdio::null());
    let mut child =
        command.stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap()).spawn().unwrap();
    let ended = wait_until(|| child.try_wait().unwrap().is_some(), Duration::from_secs(60));
    if !ended {
        child.kill().unwrap();
    }
    let status = child.wait().unwrap().code();
    assert!(ended, "{words:?} hangs");
    let text = |path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
    Said { status, out: text(out), err: text(err) }
}

/// The numbers of the events that were told.
fn numbers(told: &str) -> Vec<Option<u64>> {
    let number = |line| serde_json::from_str::<Value>(line).ok()?["seq"].as_u64();
    told.lines().map(number).collect()
}

/// Copies a folder of files and such folders, or a file.
fn copy(from: &Path, to: &Path, files: &mut Vec<PathBuf>) {
    if !from.is_dir() {
        fs::copy(from, to).unwrap();
        files.push(to.to_owned());
        return;
    }
    fs::create_dir(to).unwrap();
    let mut names: Vec<_> = fs::read_dir(from).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names.iter().for_each(|name| copy(&from.join(name), &to.join(name), files));
}

/// Checks that `verify` tells of every flipped bit and `log` gives the beginning of what it gave before, whatever was hit,
/// and that no bit makes either of them panic or hang.
#[test]
fn flipped_bits_are_told_and_end_nothing() {
    // One process for each: $VMATLAS_FLIPS asks for more.
    let flips = std::env::var("VMATLAS_FLIPS").ok().and_then(|n| n.parse().ok()).unwrap_or(2000) / 100;
    let folder = tempfile::tempdir().unwrap();
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let (mut all, mut some, mut none) = (0, 0, 0);
    for (name, extent) in [("v1/torn", 4), ("v1/packed.zip", 4), ("v2/watched", 4), ("v4/sealed", 4)] {
        let (path, mut files) = (folder.path().join(name.replace('/', "-")), Vec::new());
        copy(&fixtures().join("recordings").join(name), &path, &mut files);
        let recording = path.to_str().unwrap();
        let whole = vmatlas(&["log", "--jsonl", recording], folder.path());
        assert!(whole.status == Some(0) && whole.out.lines().count() > 1, "{name}: {}", whole.err);
        for _ in 0..flips / extent {
            let file = &files[dice.below(files.len())];
            let bytes = fs::read(file).unwrap();
            let (at, bit) = (dice.below(bytes.len()), dice.below(8));
            let place = format!("bit {bit} of byte {at} of {}", file.display());
            let open = File::options().write(true).open(file).unwrap();
            open.write_all_at(&[bytes[at] ^ (1 << bit)], at as u64).unwrap();
            let verify = vmatlas(&["verify", recording], folder.path());
            assert!(matches!(verify.status, Some(1 | 3)), "{place}: {:?} {}", verify.status, verify.err);
            let log = vmatlas(&["log", "--jsonl", recording], folder.path());
            assert!(matches!(log.status, Some(0 | 1)), "{place}: {:?} {}", log.status, log.err);
            // What stands in meta.json says how events are told, and which of them: without it none is told that there is not.
            let (told, known) = (numbers(&log.out), numbers(&whole.out));
            // Looks are told by a table of their own.
            let is_told_otherwise = verify.out.contains("meta.json") || verify.out.contains("looks.parquet");
            let is_beginning = match is_told_otherwise {
                true => told.is_sorted() && told.last() <= known.last(),
                false => whole.out.starts_with(&log.out),
            };
            assert!(is_beginning, "{place}: {told:?} of {known:?}");
            for said in [&verify, &log] {
                assert!(
                    !said.err.contains("panicked") && said.err.lines().count() < 3,
                    "{place}: {}",
                    said.err
                );
            }
            match log.out.len() {
                0 => none += 1,
                _ if log.out.lines().count() == whole.out.lines().count() => all += 1,
                _ => some += 1,
            }
            open.write_all_at(&bytes[at..=at], at as u64).unwrap();
        }
    }
    println!("flipped bits, by the program: all events read {all}, a part {some}, none {none}");
}
