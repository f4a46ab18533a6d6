//! Moments of recordings: shown, explained, verified.

#![expect(clippy::unwrap_used, reason = "a test binary")]

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use vmatlas_testkit::{Capability, Tracee, need, vmatlas_command};

fn vmatlas(words: &[&str]) -> Output {
    vmatlas_command(env!("CARGO_BIN_EXE_vmatlas")).args(words).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Records a program of Python; what it printed, or `None` where that is not possible.
fn record(path: &Path, script: &str) -> Option<String> {
    if !need(Capability::Ptrace) || !need(Capability::Tool("python3")) {
        return None;
    }
    let output = vmatlas(&["run", "-o", path.to_str().unwrap(), "--", "python3", "-c", script]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    Some(text(&output.stdout))
}

fn json(words: &[&str]) -> Value {
    let output = vmatlas(words);
    assert!(output.status.success(), "{words:?}: {}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn show(path: &Path, moment: &str) -> Value {
    json(&["show", &format!("{}{moment}", path.display()), "--json"])
}

/// What is refused, with exit status 1.
fn refused(words: &[&str]) -> String {
    let output = vmatlas(words);
    assert_eq!(output.status.code(), Some(1), "{words:?}");
    text(&output.stderr)
}

/// Rows as /proc/PID/maps has them, blanks made one.
fn lines(shown: &Value) -> Vec<String> {
    let row = |vma: &Value| {
        let word = |key: &str| vma[key].as_str().unwrap_or_default().to_owned();
        let sharing = if word("sharing") == "shared" { 's' } else { 'p' };
        let dev = vma["dev"].as_str().unwrap_or("00:00");
        let bare = |key: &str| format!("{:0>8}", word(key).trim_start_matches("0x"));
        let offset = vma["offset"].as_u64().unwrap_or(0);
        let inode = vma["inode"].as_u64().unwrap_or(0);
        let line = format!(
            "{}-{} {}{sharing} {offset:08x} {dev} {inode} {}",
            bare("start"),
            bare("end"),
            word("prot"),
            word("name")
        );
        line.trim_end().to_owned()
    };
    shown["vmas"].as_array().unwrap().iter().map(row).collect()
}

fn squeezed(maps: &str) -> Vec<String> {
    maps.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// Prints its own map, and ends without another memory call.
const OWN_MAP: &str = "
import mmap, os
shared = mmap.mmap(-1, 5 << 20)
block = mmap.mmap(-1, 64 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
child = os.fork()
if child == 0:
    more = mmap.mmap(-1, 0x773000)
    os._exit(0)
os.waitpid(child, 0)
os.write(1, b'%d\\n' % child)
view = memoryview(bytearray(1 << 20))
fd = os.open('/proc/self/maps', os.O_RDONLY)
for _ in range(3):
    os.lseek(fd, 0, 0)
    n = 0
    while True:
        k = os.readv(fd, [view[n:]])
        n += k
        if k == 0:
            break
os.write(1, view[:n])
os._exit(0)
";

/// Checks that a recording's last state is the map that the process read of itself, and that other moments are others.
#[test]
fn the_last_state_is_the_map_that_the_process_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a@b:1");
    let Some(own) = record(&path, OWN_MAP) else { return };
    let (child, own) = own.split_once('\n').unwrap();
    let at_exit = show(&path, "");
    assert_eq!(lines(&at_exit), squeezed(own));
    assert_eq!(lines(&show(&path, "@exit")), lines(&at_exit));
    let process = &at_exit["process"];
    assert_eq!(process["source"]["type"], "recording");
    assert!(process["exe"].as_str().unwrap().contains("python3"), "{process}");
    assert_eq!(
        (&at_exit["vmas"][0]["resident_why"], &process["source"]["ended"]),
        (&"not-recorded".into(), &true.into())
    );
    let size = |moment: &str| show(&path, moment)["process"]["virtual"].as_u64().unwrap();
    let (exec, peak, exit) = (size("@exec"), size("@peak"), size("@exit"));
    assert!(exec + (69 << 20) < exit && exit <= peak, "{exec} {exit} {peak}");
    let seq = process["source"]["event"].as_u64().unwrap();
    assert_eq!(lines(&show(&path, &format!("@{seq}"))), lines(&at_exit));
    let before = show(&path, &format!("@{}", seq / 2));
    let time = before["process"]["source"]["time"].as_f64().unwrap();
    assert!(time > 0.0 && time < process["source"]["time"].as_f64().unwrap());
    let near = show(&path, &format!("@{:.9}s", time + 1e-8));
    assert_eq!(lines(&near), lines(&before));
    // The child has all that its parent had, and what it made itself.
    let pid: i32 = child.parse().unwrap();
    let child = show(&path, &format!(":{pid}"));
    assert_eq!(child["process"]["pid"], pid);
    assert_eq!(child["process"]["exe"], process["exe"]);
    let has = |shown: &Value, size: u64| shown["vmas"].as_array().unwrap().iter().any(|v| v["size"] == size);
    assert!(has(&child, 0x77_3000) && has(&child, 5 << 20) && !has(&at_exit, 0x77_3000));
}

/// Checks that moments and options that a recording does not have are refused with what there is.
#[test]
fn what_is_not_there_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r");
    if record(&path, "pass").is_none() {
        return;
    }
    let target = |part: &str| format!("{}{part}", path.display());
    assert!(refused(&["show", &target("@nonsense")]).contains("no marks"));
    assert!(refused(&["show", &target("@exec:99")]).contains("no moment 'exec:99'"));
    let error = refused(&["show", &target(":1@exit")]);
    assert!(error.contains("process 1 is not in") && error.contains("its processes are"), "{error}");
    assert!(refused(&["show", &target("@end")]).contains("has no memory"));
    assert!(refused(&["show", &target(""), "--smaps"]).contains("--smaps"));
    assert!(refused(&["show", &target(""), "--method", "smaps"]).contains("--method"));
    assert!(refused(&["rss", &target("")]).contains("no resident sizes"));
    assert!(refused(&["why", &target(""), "xyz"]).contains("hexadecimal"));
    for words in [["--summary", "--why-kind"], ["--kind", "heap"], ["--sort", "size"], ["--columns", "all"]] {
        let output = vmatlas(&[&["show", &target("@5ms")], words.as_slice()].concat());
        assert!(output.status.success(), "{words:?}: {}", text(&output.stderr));
        assert!(text(&output.stdout).contains("after event"));
    }
    let picture = folder.path().join("p.svg");
    let output = vmatlas(&["show", &target("@exec"), "--svg", picture.to_str().unwrap(), "--lang", "ja"]);
    assert!(output.status.success() && fs::read_to_string(&picture).unwrap().contains("<svg"));
    assert!(vmatlas(&["show", &target(""), "--map-count"]).status.success());
}

/// Checks that a whole recording is sound, and that one flipped bit in any file is found and told.
#[test]
fn a_flipped_bit_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r");
    // Enough for a keyframe, which comes every 5,000 events.
    let script = "import mmap, os\nfor _ in range(4000): mmap.mmap(-1, 4096).close()\nif os.fork() == 0: os._exit(0)\nos.wait()";
    if record(&path, script).is_none() {
        return;
    }
    let name = path.to_str().unwrap();
    let sound = json(&["verify", name, "--json"]);
    assert_eq!(
        (&sound["sound"], &sound["differences"], &sound["drift"]),
        (&true.into(), &0.into(), &0.into())
    );
    assert!(
        sound["events"].as_u64().unwrap() > 50 && sound["keyframes"]["compared"].as_u64().unwrap() > 0,
        "{sound}"
    );
    let segment = path.join("seg-000001");
    let mut files: Vec<_> = fs::read_dir(&segment).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.push(path.join("meta.json"));
    for file in files {
        let whole = fs::read(&file).unwrap();
        let mut bytes = whole.clone();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
        fs::write(&file, &bytes).unwrap();
        let output = vmatlas(&["verify", name]);
        let said = text(&output.stdout);
        assert_eq!(output.status.code(), Some(3), "{file:?}: {said}{}", text(&output.stderr));
        assert!(said.contains("damaged: ") && said.contains("not sound"), "{file:?}: {said}");
        // Whatever is left of it is shown, or one line says why not.
        let output = vmatlas(&["show", name]);
        assert!(output.status.success() || text(&output.stderr).lines().count() == 1, "{file:?}");
        fs::write(&file, &whole).unwrap();
    }
    assert!(refused(&["verify", folder.path().to_str().unwrap()]).contains("is no recording"));
}

/// Checks that recordings of the past are sound, and that a torn one is shown as far as it goes and says so.
#[test]
fn golden_recordings_are_verified() {
    let folder = vmatlas_testkit::fixtures().join("recordings/v1");
    let sealed = folder.join("sealed");
    assert_eq!(json(&["verify", sealed.to_str().unwrap(), "--json"])["sound"], true);
    let torn = folder.join("torn");
    let output = vmatlas(&["verify", torn.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stdout).contains("tail-000001, byte"));
    let output = vmatlas(&["show", torn.to_str().unwrap()]);
    let said = text(&output.stdout);
    assert!(
        output.status.success() && said.contains("damaged: tail-000001") && said.contains("not ended"),
        "{said}"
    );
}

/// Maps a big block, changes its first page, and has a child that maps nothing.
const BLOCK: &str = "
import ctypes, mmap, os
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.mremap.restype = ctypes.c_void_p
libc.mremap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int, ctypes.c_void_p]
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
a = libc.mmap(None, 64 << 20, 3, 0x22, -1, 0)
b = libc.mmap(a + (1 << 20), 1 << 20, 3, 0x32, -1, 0)
libc.mprotect(a, 4096, 1)
c = libc.mmap(None, 8 << 20, 1, 0x22, -1, 0)
d = libc.mmap(None, 32 << 20, 0, 0x22, -1, 0)
libc.mremap(c, 8 << 20, 8 << 20, 3, d + (16 << 20))
child = os.fork()
if child == 0:
    os._exit(0)
os.waitpid(child, 0)
print(hex(a), hex(b), hex(c), hex(d + (16 << 20)), child, flush=True)
os._exit(0)
";

/// Checks that the call that mapped a block is found, what changed it since, neighbours apart, through moves and forks.
#[test]
fn who_mapped_it_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r");
    let Some(printed) = record(&path, BLOCK) else { return };
    let words: Vec<&str> = printed.split_ascii_whitespace().collect();
    let [a, b, c, moved, child] = words[..] else { panic!("{printed}") };
    let name = path.to_str().unwrap();
    let why = |target: &str, addr: &str| json(&["why", target, addr, "--json"]);
    let block = why(name, a);
    assert_eq!((&block["origin"]["call"], &block["origin"]["what"]), (&"mmap".into(), &"mapped".into()));
    assert_eq!(block["origin"]["args"]["length"], 64 << 20);
    let history = block["history"].as_array().unwrap();
    assert!(history.iter().any(|c| c["call"] == "mprotect" && c["what"] == "altered"), "{history:#?}");
    assert_eq!(block["complete"], true);
    // The second mapping replaced a part of the first, and the kernel made one VMA of both again.
    let inner = why(name, b);
    assert_eq!(
        (&inner["origin"]["args"]["length"], &inner["origin"]["args"]["addr"]),
        (&(1 << 20).into(), &b.into())
    );
    let origins: Vec<&Value> = inner["neighbours"].as_array().unwrap().iter().map(|n| &n["event"]).collect();
    assert!(
        origins.contains(&&block["origin"]["seq"]) && origins.contains(&&inner["origin"]["seq"]),
        "{inner:#}"
    );
    // Moved: the history is that of the pages, not of the place.
    let there = why(name, moved);
    assert_eq!(there["origin"]["args"]["length"], 8 << 20);
    assert!(there["history"].as_array().unwrap().iter().any(|h| h["what"] == "moved" && h["address"] == c));
    // A child has it from its parent.
    let copied = why(&format!("{name}:{child}"), a);
    assert_eq!(copied["origin"], block["origin"]);
    assert!(copied["history"].as_array().unwrap().iter().any(|c| c["what"] == "forked"), "{copied:#}");
    // As text the line is that of `log`.
    let said = text(&vmatlas(&["why", name, a]).stdout);
    let log = text(&vmatlas(&["log", name, "-e", "mmap"]).stdout);
    let line = log.lines().find(|line| line.contains("mmap(NULL, 64 MiB")).unwrap();
    let told = said.lines().skip_while(|line| *line != "Mapped by").nth(1).unwrap();
    assert!(told.ends_with(line.trim_start()), "{told}\n{line}");
    assert!(text(&vmatlas(&["why", name, "0x1"]).stdout).contains("nothing is mapped at 0x1"));
    assert!(text(&vmatlas(&["why", name, b, "--lang", "ja"]).stdout).contains("別々にマップされた"));
}

/// Checks that for a living process and for a saved map the evidence is told, and the command that would tell more.
#[test]
fn what_was_not_recorded_is_told_as_that() {
    let sleeper = Tracee::start(Command::new("sleep").arg("60").stdout(Stdio::null())).unwrap();
    let pid = sleeper.pid().to_string();
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let start = maps.split('-').next().unwrap();
    for words in [["why", &pid, start].as_slice(), &["why", "-p", &pid, start]] {
        let output = vmatlas(words);
        let said = text(&output.stdout);
        assert!(output.status.success() && said.contains("before we looked"), "{said}");
        assert!(said.contains(&format!("vmatlas attach {pid} -o REC")), "{said}");
    }
    let folder = tempfile::tempdir().unwrap();
    let saved = folder.path().join("maps@exit");
    fs::write(&saved, &maps).unwrap();
    let shown = json(&["why", saved.to_str().unwrap(), start, "--json"]);
    assert_eq!((&shown["origin"], &shown["origin_why"]), (&Value::Null, &"not-recorded".into()));
    assert_eq!(shown["schema"], "vmatlas/why/1");
}
