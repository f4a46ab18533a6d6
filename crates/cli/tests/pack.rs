//! Packed recordings as a user makes and reads them.

#![expect(clippy::unwrap_used, reason = "a test binary")]

use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use vmatlas_testkit::{Capability, need, vmatlas_command};

fn vmatlas(folder: &Path, words: &[&str]) -> Output {
    vmatlas_command(env!("CARGO_BIN_EXE_vmatlas")).args(words).current_dir(folder).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What a command writes; it must not complain.
fn said(folder: &Path, words: &[&str]) -> String {
    let output = vmatlas(folder, words);
    assert!(output.status.success(), "{words:?}: {}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "", "{words:?}");
    text(&output.stdout)
}

/// What is refused, with exit status 1 and one line.
fn refused(folder: &Path, words: &[&str]) -> String {
    let output = vmatlas(folder, words);
    let stderr = text(&output.stderr);
    assert_eq!((output.status.code(), stderr.lines().count()), (Some(1), 1), "{words:?}: {stderr}");
    stderr
}

/// Checks that every command says of a packed recording what it says of the folder.
#[test]
fn every_command_reads_what_was_packed() {
    if !need(Capability::Ptrace) {
        return;
    }
    let (plain, packed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (plain, packed) = (plain.path(), packed.path());
    let program = "for i in 1 2 3; do /bin/cat /dev/null; done; exit 5";
    let output = vmatlas(plain, &["run", "-o", "r", "--", "sh", "-c", program]);
    assert_eq!(output.status.code(), Some(5), "{}", text(&output.stderr));
    // By its name nobody could tell what it is.
    let to = packed.join("r");
    let made: Value =
        serde_json::from_str(&said(plain, &["pack", "r/", "-o", to.to_str().unwrap(), "--json"])).unwrap();
    assert_eq!(
        (&made["schema"], &made["ended"], &made["lost"]),
        (&"vmatlas/pack/1".into(), &true.into(), &Value::Array(vec![]))
    );
    assert_eq!((&made["recording"], &made["file"]), (&"r/".into(), &to.to_str().unwrap().into()));
    let meta = fs::metadata(&to).unwrap();
    assert_eq!((made["size"].as_u64(), meta.permissions().mode() & 0o777), (Some(meta.len()), 0o600));
    let shown: Value = serde_json::from_str(&said(plain, &["show", "r@exec", "--json"])).unwrap();
    let (pid, start) = (&shown["process"]["pid"], shown["vmas"][0]["start"].as_str().unwrap());
    let of_pid = format!("r:{pid}@exit");
    for words in [
        &["log", "r"][..],
        &["log", "r", "--jsonl"],
        &["verify", "r", "--json"],
        &["verify", "r"],
        &["show", "r", "--json"],
        &["show", "r@exec"],
        &["show", "r@peak", "--json"],
        &["show", "r@20", "--json"],
        &["show", "r@0.001s", "--json"],
        &["show", &of_pid, "--json"],
        &["why", "r@exec", start, "--json"],
        &["why", "r@exec", start],
        &["diff", "r@exec", "r@exit", "--json"],
    ] {
        assert_eq!(said(plain, words), said(packed, words), "{words:?}");
    }
    let info = |folder| {
        let mut value: Value = serde_json::from_str(&said(folder, &["info", "r", "--json"])).unwrap();
        assert!(value["recording"]["bytes"].take().as_u64() > Some(0), "{value}");
        value
    };
    assert_eq!(info(plain), info(packed));
    // Both are the same recording.
    let to = to.to_str().unwrap();
    let same = vmatlas(plain, &["diff", "r@exit", &format!("{to}@exit"), "--exit-code"]);
    assert_eq!(same.status.code(), Some(0), "{}", text(&same.stdout));
}

/// Checks what is refused, and how that is said; and the name that a packed recording gets by itself.
#[test]
fn what_cannot_be_packed_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let torn = vmatlas_testkit::fixtures().join("recordings/v1/torn");
    let torn = torn.to_str().unwrap();
    let copied = Command::new("cp").args(["-r", torn, "r.vmatlas"]).current_dir(folder).status().unwrap();
    assert!(copied.success());
    let told = said(folder, &["pack", "r.vmatlas/"]);
    assert!(told.starts_with("packed r.vmatlas/ into r.vmatlas.zip: 7 files, "), "{told}");
    assert!(told.contains("was not ended") && told.contains("lost: tail-000001, byte 33432: "), "{told}");
    let told = said(folder, &["--lang", "ja", "pack", "r.vmatlas", "--force"]);
    assert!(told.contains("まとめました") && told.contains("欠落: tail-000001"), "{told}");
    let packed = "r.vmatlas.zip";
    for (words, wanted) in [
        (&["pack", "r.vmatlas"][..], "exists already"),
        (&["pack", packed], "is one file already"),
        (&["pack", "r.vmatlas", "-o", "r.vmatlas/meta.json", "--force"], "is no packed recording"),
        (&["pack", "r.vmatlas", "-o", "nowhere/x"], "cannot write nowhere/x.tmp: No such file or directory"),
        (&["pack", "nothing"], "cannot read nothing: No such file or directory"),
        (&["pack", "."], "is no recording"),
        (&["mark", packed, "now"], "is no longer being recorded"),
        (&["show", &format!("{packed}@never")], "there is no moment 'never'"),
    ] {
        let stderr = refused(folder, words);
        assert!(stderr.contains(wanted), "{words:?}: {stderr}");
    }
    // Its beginning alone: no word of a ZIP file that is to be unpacked.
    let bytes = fs::read(folder.join(packed)).unwrap();
    fs::write(folder.join("cut"), &bytes[..60]).unwrap();
    for command in ["show", "info", "log", "verify"] {
        let stderr = refused(folder, &[command, "cut"]);
        assert!(stderr.contains("cut, byte 60: the file ends here"), "{stderr}");
    }
    fs::write(
        folder.join("other"),
        b"PK\x03\x04 something else that somebody has packed, of fifty bytes and more",
    )
    .unwrap();
    assert!(refused(folder, &["info", "other"]).contains("is no recording"));
    assert!(refused(folder, &["show", "./other"]).contains("is packed (zip)"));
    // A recording with a word in the way of its own file is replaced only where it is asked for.
    assert_eq!(fs::read_dir(folder).unwrap().count(), 4);
}

/// Checks that what a killed pack left behind is named, in both languages, and is not touched.
#[test]
fn what_a_killed_pack_left_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let torn = vmatlas_testkit::fixtures().join("recordings/v1/torn");
    let pack = ["pack", torn.to_str().unwrap(), "-o", "r.zip"];
    fs::write(folder.join("r.zip.tmp"), "x").unwrap();
    let stderr = refused(folder, &pack);
    assert!(stderr.contains("r.zip.tmp is in the way") && stderr.contains("then remove it"), "{stderr}");
    let stderr = refused(folder, &[&["--lang", "ja"], &pack[..]].concat());
    assert!(stderr.contains("r.zip.tmp があるため"), "{stderr}");
    assert_eq!(fs::read(folder.join("r.zip.tmp")).unwrap(), b"x");
    fs::remove_file(folder.join("r.zip.tmp")).unwrap();
    fs::create_dir(folder.join("r.zip.tmp.d")).unwrap();
    assert!(refused(folder, &pack).contains("r.zip.tmp.d is in the way"));
    fs::remove_dir(folder.join("r.zip.tmp.d")).unwrap();
    said(folder, &pack);
}

/// Checks that a packed recording of each version is read as when it was made, and that packing makes the very same again.
#[test]
fn golden_packed_recordings_are_read() {
    let fixtures = vmatlas_testkit::fixtures().join("recordings/v1");
    let wanted = fs::read_to_string(fixtures.join("sealed.log")).unwrap();
    assert_eq!(said(&fixtures, &["log", "packed.zip"]), wanted);
    assert!(said(&fixtures, &["verify", "packed.zip"]).contains("sound"));
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("again");
    said(&fixtures, &["pack", "sealed", "-o", to.to_str().unwrap()]);
    assert!(fs::read(to).unwrap() == fs::read(fixtures.join("packed.zip")).unwrap(), "the same bytes");
}

/// Checks that Python reads a table of a packed recording where it is, without unpacking.
#[test]
fn python_finds_a_table() {
    if !need(Capability::Tool("python3")) {
        return;
    }
    let path = vmatlas_testkit::fixtures().join("recordings/v1/packed.zip");
    let script = "import sys, zipfile\nz = zipfile.ZipFile(sys.argv[1])\nassert z.testzip() is None\n\
                  f = z.open('seg-000001/events.parquet')\nassert f.seekable()\nb = f.read()\nprint(b[:4], b[-4:])";
    let output = Command::new("python3").args(["-c", script]).arg(path).output().unwrap();
    assert_eq!(text(&output.stdout), "b'PAR1' b'PAR1'\n", "{}", text(&output.stderr));
}
