//! Looks at a running process, as a user makes and reads them.

#![expect(clippy::unwrap_used, reason = "a test binary")]

use serde_json::Value;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use vmatlas_event::{Extent, Look};
use vmatlas_record::Reader;
use vmatlas_testkit::{Tracee, vmatlas_command, wait_until};

const SIGINT: i32 = 2;
const SIGKILL: i32 = 9;
const SIGUSR1: i32 = 10;
const SIGTERM: i32 = 15;
const SIGCONT: i32 = 18;
const SIGSTOP: i32 = 19;
const LIMIT: Duration = Duration::from_secs(30);

fn vmatlas() -> Command {
    vmatlas_command(env!("CARGO_BIN_EXE_vmatlas"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn run(words: &[&str]) -> Output {
    vmatlas().args(words).output().unwrap()
}

/// What a command writes that must succeed.
fn told(words: &[&str]) -> String {
    let output = run(words);
    assert!(output.status.success(), "{words:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

fn json(words: &[&str]) -> Value {
    serde_json::from_str(&told(words)).unwrap()
}

/// A shell that does what is written to it, and says when it is done.
fn shell() -> Tracee {
    let mut command = Command::new("sh");
    command.args(["-c", "echo ready; while read line; do eval \"$line\"; echo done; done"]);
    let mut shell = Tracee::start(command.stdin(Stdio::piped()).stdout(Stdio::piped())).unwrap();
    shell.read_line().unwrap();
    shell
}

/// A watcher, its recording, and the file with what it writes to standard error.
struct Watcher {
    process: Tracee,
    path: PathBuf,
    lines: PathBuf,
}

impl Watcher {
    fn start(folder: &Path, pid: &str, options: &[&str]) -> Watcher {
        let (path, lines) = (folder.join("r"), folder.join("lines"));
        let mut command = vmatlas();
        command.args(["watch", pid, "-o"]).arg(&path).args(options).stderr(File::create(&lines).unwrap());
        let watcher = Watcher { process: Tracee::start(&mut command).unwrap(), path, lines };
        assert!(wait_until(|| watcher.path.join("tail-000001").exists(), LIMIT), "{}", watcher.told());
        watcher
    }

    fn told(&self) -> String {
        fs::read_to_string(&self.lines).unwrap()
    }

    /// Waits until so many looks are told (with `-v`), the headings not counted.
    fn wait_for_looks(&self, n: usize) {
        assert!(wait_until(|| self.told().lines().count() > n, LIMIT), "{}", self.told());
    }

    fn name(&self) -> &str {
        self.path.to_str().unwrap()
    }

    fn at(&self, moment: &str) -> String {
        format!("{}@{moment}", self.name())
    }

    fn looks(&self) -> Vec<Look> {
        let mut looks = Vec::new();
        Reader::open(&self.path).unwrap().looks(&mut looks).unwrap();
        looks
    }
}

/// All that `show --json` says of VMAs, but what they are for: where threads' stacks lie is not recorded.
fn vmas(show: &Value) -> Vec<Value> {
    let mut vmas = show["vmas"].as_array().unwrap().clone();
    for vma in &mut vmas {
        let vma = vma.as_object_mut().unwrap();
        ["kind", "confidence", "why_kind"].iter().for_each(|key| drop(vma.remove(*key)));
    }
    vmas
}

/// Checks that the map and the pages at each look are those that `show` reads of the process at that moment, while it
/// maps, touches and gives back memory between looks.
#[test]
fn a_look_is_what_show_shows() {
    let folder = tempfile::tempdir().unwrap();
    let mut shell = shell();
    let pid = shell.pid().to_string();
    let mut watcher = Watcher::start(folder.path(), &pid, &["-i", "1h", "-v"]);
    watcher.wait_for_looks(1);
    let grow = "x=0123456789abcdef; i=0; while [ $i -lt 16 ]; do x=$x$x; i=$((i+1)); done";
    let mut wanted = vec![json(&["show", &pid, "--json"])];
    for command in [grow, "y=$x$x$x", ":", "x=", "cd /; z=$y", "y=; z="] {
        shell.write_line(command).unwrap();
        shell.read_line().unwrap();
        shell.signal(SIGSTOP).unwrap();
        watcher.process.signal(SIGUSR1).unwrap();
        watcher.wait_for_looks(wanted.len() + 1);
        wanted.push(json(&["show", &pid, "--json"]));
        shell.signal(SIGCONT).unwrap();
    }
    watcher.process.signal(SIGTERM).unwrap();
    assert_eq!(watcher.process.wait().unwrap().code(), Some(0), "{}", watcher.told());
    let looks = watcher.looks();
    assert_eq!(looks.len(), wanted.len());
    let mut changed = 0;
    for (look, wanted) in looks.iter().zip(&wanted) {
        let found = json(&["show", &watcher.at(&look.seq.to_string()), "--json"]);
        assert_eq!(vmas(&found), vmas(wanted), "look at event {}", look.seq);
        assert_eq!(found["process"]["source"]["look"]["exact"], true);
        assert_eq!(found["process"]["resident"].as_u64(), look.resident.map(|b| b.0));
        let since = look.at.0 - looks[0].at.0;
        let by_time = json(&["show", &watcher.at(&format!("{since}ns")), "--json"]);
        assert_eq!(by_time["vmas"], found["vmas"]);
        if look.extent == Extent::Changed {
            changed += 1;
            assert!(look.rows < look.vmas / 2, "{look:?}");
        }
    }
    assert!(changed >= 5, "{looks:?}");
    // Nothing happened before the third.
    assert_eq!((looks[3].first, looks[3].rows), (looks[3].seq, 0));
    let peak = json(&["show", &watcher.at("peak"), "--json"]);
    let size = |show: &Value| show["process"]["virtual"].as_u64().unwrap();
    assert_eq!(size(&peak), looks.iter().map(|look| look.size.0).max().unwrap());
    let verified = json(&["verify", watcher.name(), "--json"]);
    assert_eq!(
        (&verified["sound"], &verified["looks"]["different"]),
        (&true.into(), &0.into()),
        "{verified}"
    );
    assert_eq!(verified["looks"]["compared"], looks.len());
    let diff = json(&["diff", &watcher.at("0"), &watcher.at(&looks[1].seq.to_string()), "--json"]);
    assert_eq!(diff["schema"], "vmatlas/diff/1");
}

/// Checks that pages between two looks are unknown, with the looks that know them, for every command that shows them.
#[test]
fn between_looks_pages_are_unknown() {
    let folder = tempfile::tempdir().unwrap();
    let shell = shell();
    let mut watcher = Watcher::start(folder.path(), &shell.pid().to_string(), &["-i", "400ms"]);
    assert!(wait_until(|| watcher.looks().len() > 2, LIMIT));
    watcher.process.signal(SIGINT).unwrap();
    assert_eq!(watcher.process.wait().unwrap().code(), Some(0), "{}", watcher.told());
    let looks = watcher.looks();
    let since = |at: u64| at - looks[0].at.0;
    let (first, second) = (since(looks[0].end().0), since(looks[1].at.0));
    let between = watcher.at(&format!("{}ns", second - (second - first) / 4));
    let shown = json(&["show", &between, "--json"]);
    let vma = &shown["vmas"][0];
    assert_eq!((&vma["resident"], &vma["resident_why"]), (&Value::Null, &"unknown".into()));
    let place = &shown["process"]["source"]["look"];
    assert_eq!((&place["exact"], &place["time"], &place["event"]), (&false.into(), &0.0.into(), &0.into()));
    let (hint, next) = (watcher.at("0.000s"), watcher.at(&vmatlas_time(second)));
    let shown = told(&["show", &between]);
    assert!(shown.contains(&hint) && shown.contains(&next), "{shown}");
    assert!(!shown.contains("RESIDENT"), "{shown}");
    let output = run(&["rss", &between]);
    let stderr = text(&output.stderr);
    assert!(
        output.status.code() == Some(1) && stderr.contains(&next) && stderr.lines().count() == 1,
        "{stderr}"
    );
    for exact in [&hint, &next, &watcher.at("400ms"), &watcher.at("exit"), &watcher.name().to_owned()] {
        assert!(told(&["show", exact]).contains("RESIDENT"), "{exact}");
        let sheet = json(&["rss", exact, "--json"]);
        assert!(sheet["lines"].as_array().unwrap().len() > 2, "{sheet}");
    }
}

fn vmatlas_time(ns: u64) -> String {
    format!("{}.{:03}s", ns / 1_000_000_000, ns / 1_000_000 % 1000)
}

/// Checks that an exec between looks is a new address space, and the end of the process the end of the recording.
#[test]
fn exec_and_exit_are_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let mut shell = shell();
    let mut watcher = Watcher::start(folder.path(), &shell.pid().to_string(), &["-i", "50ms"]);
    assert!(wait_until(|| watcher.looks().len() > 2, LIMIT));
    shell.write_line("exec sleep 1").unwrap();
    shell.wait().unwrap();
    assert!(wait_until(|| watcher.process.has_ended(), LIMIT));
    assert_eq!(watcher.process.wait().unwrap().code(), Some(0), "{}", watcher.told());
    let info = json(&["info", watcher.name(), "--json"]);
    assert_eq!(
        (&info["kinds"]["exec"]["count"], &info["kinds"]["exit"]["count"]),
        (&1.into(), &1.into()),
        "{info}"
    );
    assert_eq!((&info["recording"]["ended"], &info["recording"]["status"]), (&true.into(), &Value::Null));
    assert_eq!(info["recording"]["looks"]["count"], watcher.looks().len());
    let programs = info["processes"][0]["programs"].as_array().unwrap();
    assert!(programs.len() == 2 && programs[1].as_str().unwrap().contains("sleep"), "{programs:?}");
    assert!(told(&["info", watcher.name()]).contains("how is not known"));
    let exec = json(&["show", &watcher.at("exec"), "--json"]);
    assert!(exec["process"]["exe"].as_str().unwrap().contains("sleep"), "{}", exec["process"]);
    assert!(exec["vmas"][0]["resident"].is_u64());
    // The default moment is the last state alive; after the end there is no memory.
    assert!(json(&["show", watcher.name(), "--json"])["vmas"][0]["resident"].is_u64());
    assert_eq!(run(&["show", &watcher.at("end")]).status.code(), Some(1));
    assert!(told(&["verify", watcher.name()]).contains("sound"));
    let log = told(&["log", watcher.name()]);
    assert!(log.contains("another program was executed") && log.contains("has ended"), "{log}");
    let lines: Vec<Value> = told(&["log", watcher.name(), "--jsonl"])
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let looks = lines.iter().filter(|line| line["schema"] == "vmatlas/look/1").count();
    assert_eq!((looks, lines.last().unwrap()["call"].as_str()), (watcher.looks().len(), Some("exit")));
}

/// Checks that a watcher that is killed leaves a recording that opens, up to its last flush.
#[test]
fn a_killed_watcher_leaves_a_recording() {
    let folder = tempfile::tempdir().unwrap();
    let shell = shell();
    let mut watcher = Watcher::start(folder.path(), &shell.pid().to_string(), &["-i", "20ms"]);
    assert!(wait_until(|| watcher.looks().len() > 10, LIMIT));
    watcher.process.signal(SIGKILL).unwrap();
    watcher.process.wait().unwrap();
    assert!(told(&["info", watcher.name()]).contains("not ended"));
    let shown = told(&["show", watcher.name()]);
    assert!(shown.contains("RESIDENT") && shown.contains("was not ended"), "{shown}");
    assert!(told(&["verify", watcher.name()]).contains("sound"));
}

/// Checks that --duration ends it, that each look that was due is there or counted, that nothing is written where nothing
/// changed, and that marks name moments.
#[test]
fn it_ends_in_time_and_writes_changes_only() {
    let folder = tempfile::tempdir().unwrap();
    let shell = shell();
    let pid = shell.pid().to_string();
    let mut watcher = Watcher::start(folder.path(), &pid, &["-i", "100ms", "--duration", "1s"]);
    told(&["mark", watcher.name(), "here"]);
    assert!(wait_until(|| watcher.process.has_ended(), LIMIT));
    assert_eq!(watcher.process.wait().unwrap().code(), Some(0), "{}", watcher.told());
    // Quiet, but for looks that a busy machine made us leave out.
    assert!(watcher.told().lines().all(|line| line.contains("left out")), "{}", watcher.told());
    let looks = watcher.looks();
    let late: u64 = looks.iter().map(|look| look.late).sum();
    assert!(looks.len() as u64 + late >= 10 && looks.len() <= 11, "{} and {late}", looks.len());
    assert!(looks.iter().skip(1).all(|look| look.rows == 0 && look.first == look.seq), "{looks:?}");
    let info = json(&["info", watcher.name(), "--json"]);
    assert_eq!(info["recording"]["how"], "watch");
    assert!(info["recording"]["looks"]["cpu"].as_f64().unwrap() > 0.0);
    assert_eq!(info["marks"][0]["name"], "here");
    assert!(told(&["show", &watcher.at("here")]).contains("VMAs"));
    assert!(told(&["log", watcher.name()]).contains("mark: here"));
    let meta: Value = serde_json::from_slice(&fs::read(watcher.path.join("meta.json")).unwrap()).unwrap();
    assert_eq!((&meta["backend"], &meta["interval"]), (&"none".into(), &100_000_000.into()));
}

/// Checks that `why` names looks and never a call.
#[test]
fn why_names_looks() {
    let folder = tempfile::tempdir().unwrap();
    let mut shell = shell();
    let mut watcher = Watcher::start(folder.path(), &shell.pid().to_string(), &["-i", "1h", "-v"]);
    watcher.wait_for_looks(1);
    shell.write_line("x=0123456789abcdef; i=0; while [ $i -lt 16 ]; do x=$x$x; i=$((i+1)); done").unwrap();
    shell.read_line().unwrap();
    watcher.process.signal(SIGUSR1).unwrap();
    watcher.wait_for_looks(2);
    watcher.process.signal(SIGINT).unwrap();
    assert_eq!(watcher.process.wait().unwrap().code(), Some(0));
    let show = json(&["show", watcher.name(), "--json"]);
    let last = watcher.looks()[1];
    let mut origins = Vec::new();
    for vma in show["vmas"].as_array().unwrap() {
        let addr = vma["start"].as_str().unwrap();
        if vma["name"] == "[vsyscall]" {
            continue;
        }
        let why = json(&["why", watcher.name(), addr, "--json"]);
        assert_eq!(why["origin"]["found"], "observed", "{why}");
        origins.push(why["origin"]["look"]["before"].clone());
        let told = told(&["why", watcher.name(), addr]);
        assert!(told.contains("no call was watched"), "{told}");
    }
    assert!(origins.iter().filter(|before| before.is_null()).count() > 10);
    let is_new = origins.iter().any(|before| *before == 0.0);
    assert!(is_new || last.first == last.seq, "{origins:?}");
}

/// Checks what is refused, in one line, before anything is made.
#[test]
fn what_cannot_be_watched_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r");
    let name = path.to_str().unwrap();
    let me = std::process::id().to_string();
    for (words, code) in [
        (vec!["watch", "2147483647", "-o", name], 1),
        (vec!["watch", "no-such-name-at-all", "-o", name], 1),
        (vec!["watch", &me, "-o", name, "-i", "1ms"], 2),
        (vec!["watch", &me], 2),
        (vec!["watch", &me, "-o", "/proc/r"], 1),
    ] {
        let output = run(&words);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {}", text(&output.stderr));
        assert!(!path.exists());
    }
    fs::create_dir(&path).unwrap();
    let output = run(&["watch", &me, "-o", name, "--duration", "10ms"]);
    assert!(output.status.code() == Some(1) && text(&output.stderr).contains("exists already"));
    fs::remove_dir(&path).unwrap();
    for force in [&[][..], &["--force"]] {
        let words = [&["watch", &me, "-o", name, "--duration", "10ms"], force].concat();
        assert_eq!(run(&words).status.code(), Some(0));
    }
}
