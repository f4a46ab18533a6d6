//! Who a program runs as, whom files belong to, and what vmatlas itself gives up, as root started through sudo has it.

#![expect(clippy::unwrap_used, reason = "a test binary")]
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;
use vmatlas_testkit::{Capability, Tracee, left_off, need, need_root, vmatlas_command};

/// An ordinary user that each system has.
const NOBODY: &str = "nobody";

/// What the system says of that user.
struct Nobody {
    uid: u32,
    gid: u32,
    home: String,
}

/// Whether the tests can be made here, and as whom.
fn nobody() -> Option<Nobody> {
    if !need_root("becomes another user") {
        return None;
    }
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    let line = passwd.lines().find(|line| line.split(':').next() == Some(NOBODY));
    let Some(fields) = line.map(|line| line.split(':').collect::<Vec<_>>()) else {
        left_off("the user nobody");
        return None;
    };
    let number = |at: usize| fields[at].parse().unwrap();
    Some(Nobody { uid: number(2), gid: number(3), home: fields[5].to_owned() })
}

fn vmatlas(words: &[&str]) -> Command {
    let mut command = vmatlas_command(env!("CARGO_BIN_EXE_vmatlas"));
    command.args(words);
    command
}

/// As sudo sets the environment for a command of this user.
fn through_sudo(user: &Nobody, words: &[&str]) -> Command {
    let mut command = vmatlas(words);
    command.env("SUDO_UID", user.uid.to_string()).env("SUDO_GID", user.gid.to_string());
    command.env("SUDO_USER", NOBODY);
    command
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The backends that work here: ptrace must.
fn backends() -> Vec<&'static str> {
    let output = vmatlas(&["run", "--backend", "bpf", "-c", "--", "true"]).output().unwrap();
    if output.status.success() {
        return vec!["ptrace", "bpf"];
    }
    left_off(&format!("BPF ({})", err(&output).trim_end()));
    vec!["ptrace"]
}

/// A folder that the user may write to.
fn folder(user: &Nobody) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    chown(folder.path(), Some(user.uid), Some(user.gid)).unwrap();
    folder
}

fn path(folder: &TempDir, name: &str) -> String {
    folder.path().join(name).to_str().unwrap().to_owned()
}

/// Whom a file belongs to, and everything below it.
fn owners(path: &Path) -> Vec<u32> {
    let meta = fs::symlink_metadata(path).unwrap();
    let mut owners = vec![meta.uid()];
    if meta.is_dir() {
        let below: Vec<PathBuf> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        owners.extend(below.iter().flat_map(|path| self::owners(path)));
    }
    owners.sort_unstable();
    owners.dedup();
    owners
}

/// Checks that under sudo the program is the invoking user's with each backend: user, groups, environment, no capabilities,
/// free to use set-user-ID programs; and that one line says so.
#[test]
fn the_program_is_the_invoking_users() {
    let Some(user) = nobody() else { return };
    let groups = out(&Command::new("id").args(["-G", NOBODY]).output().unwrap());
    let script = "id -u; id -ru; id -G; echo \"$HOME $USER $LOGNAME $KEPT\"; grep -E 'CapPrm|NoNewPrivs' /proc/self/status";
    for backend in backends() {
        let words = ["run", "--backend", backend, "-c", "--", "sh", "-c", script];
        let output = through_sudo(&user, &words).env("KEPT", "kept").output().unwrap();
        let uid = user.uid;
        let expected = format!(
            "{uid}\n{uid}\n{groups}{} {NOBODY} {NOBODY} kept\nCapPrm:\t0000000000000000\nNoNewPrivs:\t0\n",
            user.home
        );
        assert_eq!(out(&output), expected, "{backend}: {}", err(&output));
        let first = err(&output).lines().next().unwrap().to_owned();
        assert!(
            first.contains("through sudo") && first.contains(NOBODY) && first.contains("--as-root"),
            "{first}"
        );
    }
}

/// Checks that a set-user-ID program gains under us what it gains without us.
#[test]
fn set_user_id_programs_gain() {
    let Some(user) = nobody() else { return };
    if !need(Capability::Tool("setpriv")) {
        return;
    }
    let folder = folder(&user);
    let program = path(&folder, "id");
    fs::copy("/usr/bin/id", &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).unwrap();
    let ids = [format!("--reuid={}", user.uid), format!("--regid={}", user.gid)];
    let alone = Command::new("setpriv").args(ids).args(["--clear-groups", &program, "-u"]).output().unwrap();
    if out(&alone) != "0\n" {
        left_off("a file system that set-user-ID programs gain on");
        return;
    }
    for backend in backends() {
        let words = ["run", "--backend", backend, "-c", "--", &program, "-u"];
        let output = through_sudo(&user, &words).output().unwrap();
        assert_eq!(out(&output), out(&alone), "{backend}: {}", err(&output));
    }
}

/// Checks that recordings, logs and lines of JSON are the invoking user's down to the last file, and that a recording is sound.
#[test]
fn files_are_the_invoking_users() {
    let Some(user) = nobody() else { return };
    let folder = folder(&user);
    for backend in backends() {
        let (rec, log, json) = (path(&folder, "rec"), path(&folder, "log"), path(&folder, "json"));
        let jsonl = format!("--jsonl={json}");
        for options in [&["-o", &rec, "--force"][..], &["--log", &log], &[&jsonl]] {
            let words = [&["run", "--backend", backend], options, &["--", "true"]].concat();
            let output = through_sudo(&user, &words).output().unwrap();
            assert!(output.status.success() && output.stderr.is_empty(), "{}", err(&output));
        }
        for path in [&rec, &log, &json] {
            assert_eq!(owners(Path::new(path)), [user.uid], "{backend}: {path}");
        }
        // What is told where lines go is not told where another program reads them.
        assert!(fs::read_to_string(&log).unwrap().starts_with("vmatlas: "));
        assert!(fs::read_to_string(&json).unwrap().starts_with('{'));
        let verified = vmatlas(&["verify", &rec]).output().unwrap();
        assert!(verified.status.success(), "{}", out(&verified));
    }
}

/// Checks that a recording of a process that was there is the invoking user's too, also when the process is another's.
#[test]
fn recordings_of_running_programs_are_too() {
    let Some(user) = nobody() else { return };
    let sleeper = Tracee::start(Command::new("sleep").arg("60").stdout(Stdio::null())).unwrap();
    let pid = sleeper.pid().to_string();
    let folder = folder(&user);
    for backend in backends() {
        let rec = path(&folder, backend);
        let words = ["attach", "--backend", backend, "--duration", "100ms", "-o", &rec, &pid];
        let output = through_sudo(&user, &words).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{backend}: {}", err(&output));
        assert_eq!(owners(Path::new(&rec)), [user.uid]);
    }
}

/// Checks that a link in the user's folder leads us nowhere that the user could not write.
#[test]
fn links_lead_nowhere_else() {
    let Some(user) = nobody() else { return };
    let (roots, users) = (tempfile::tempdir().unwrap(), folder(&user));
    fs::set_permissions(roots.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let target = path(&roots, "secret");
    fs::write(&target, "kept").unwrap();
    let link = path(&users, "link");
    symlink(&target, &link).unwrap();
    let folder_link = path(&users, "folder");
    symlink(roots.path(), &folder_link).unwrap();
    let inside = format!("{folder_link}/rec");
    for options in [["--log", &link], ["-o", &link], ["-o", &inside], ["--log", &inside]] {
        let words = [&["run"], &options[..], &["--", "true"]].concat();
        let output = through_sudo(&user, &words).output().unwrap();
        assert_eq!(output.status.code(), Some(125), "{options:?}: {}", err(&output));
    }
    assert_eq!(fs::read_to_string(&target).unwrap(), "kept");
    assert_eq!(fs::read_dir(roots.path()).unwrap().count(), 1);
}

/// Checks what of our own privileges is left while the program runs, in each of our threads: what reading needs, and nothing
/// that writes, loads or becomes; and that the user who owns us then cannot get at it.
#[test]
fn little_is_kept() {
    // DAC_READ_SEARCH, SYS_PTRACE, BPF (before Linux 5.19), CHECKPOINT_RESTORE.
    const KEPT: u64 = 1 << 2 | 1 << 19 | 1 << 39 | 1 << 40;
    // DAC_OVERRIDE, KILL.
    const ROOTS: u64 = 1 << 1 | 1 << 5;
    let Some(user) = nobody() else { return };
    let folder = folder(&user);
    // The lines of each of our threads; the owner of our files in /proc tells whether we are dumpable.
    let script = "cat /proc/$PPID/task/*/status | grep -E '^(Uid|Gid|Groups|CapInh|CapPrm|CapEff|CapAmb|NoNewPrivs)'; stat -c 'owner %u' /proc/$PPID/maps";
    for backend in backends() {
        for is_sudo in [true, false] {
            let rec = path(&folder, &format!("{backend}-{is_sudo}"));
            let words = ["run", "--backend", backend, "-o", &rec, "--", "sh", "-c", script];
            let output = match is_sudo {
                true => through_sudo(&user, &words).output().unwrap(),
                false => vmatlas(&words).output().unwrap(),
            };
            let text = out(&output);
            let uid = if is_sudo { user.uid } else { 0 };
            let mut threads = 0;
            for line in text.lines() {
                let (key, value) = line.split_once([':', ' ']).unwrap();
                let value = value.trim();
                match key {
                    "Uid" => {
                        threads += 1;
                        assert_eq!(value, [uid.to_string().as_str(); 4].join("\t"), "{text}");
                    }
                    "Gid" if is_sudo => {
                        assert_eq!(value, [user.gid.to_string().as_str(); 4].join("\t"), "{text}");
                    }
                    // Those of the user, of whom root's is none.
                    "Groups" if is_sudo => assert_eq!(value, user.gid.to_string(), "{text}"),
                    "Gid" | "Groups" => {}
                    "CapInh" | "CapAmb" => assert_eq!(u64::from_str_radix(value, 16), Ok(0), "{text}"),
                    "NoNewPrivs" => assert_eq!(value, "1", "{text}"),
                    "owner" => assert_eq!(value, "0", "{text}"),
                    _ => {
                        let caps = u64::from_str_radix(value, 16).unwrap();
                        let allowed = if is_sudo { KEPT } else { KEPT | ROOTS };
                        assert_eq!(caps & !allowed, 0, "{text}");
                    }
                }
            }
            // One for the recording at least.
            assert!(threads > 1, "{backend}: {text}{}", err(&output));
        }
    }
}

/// Checks that --as-root leaves the program and its files to root, and that nothing is said then.
#[test]
fn root_may_stay_root() {
    let Some(user) = nobody() else { return };
    let folder = folder(&user);
    let log = path(&folder, "log");
    let words = ["run", "--as-root", "--log", &log, "--", "sh", "-c", "id -u; echo $HOME"];
    let output = through_sudo(&user, &words).env("HOME", "/root").output().unwrap();
    assert_eq!(out(&output), "0\n/root\n");
    assert_eq!(owners(Path::new(&log)), [0]);
    assert!(!fs::read_to_string(&log).unwrap().contains("sudo"));
}

/// Checks that variables which say nothing useful end it with the way out, that root who went by sudo stays root, and that
/// doas and pkexec are understood.
#[test]
fn variables_are_weighed() {
    let Some(user) = nobody() else { return };
    let run = |variable: &str, value: &str| {
        vmatlas(&["run", "-c", "--", "id", "-u"]).env(variable, value).output().unwrap()
    };
    let uid = format!("{}\n", user.uid);
    for (variable, value, expected) in [
        ("SUDO_UID", "0", "0\n"),
        ("PKEXEC_UID", user.uid.to_string().as_str(), &uid),
        ("DOAS_USER", NOBODY, &uid),
        ("DOAS_USER", "root", "0\n"),
    ] {
        assert_eq!(out(&run(variable, value)), expected, "{variable}={value}");
    }
    for (variable, value) in [("SUDO_UID", "all"), ("SUDO_UID", "-1"), ("DOAS_USER", "no such user")] {
        let output = run(variable, value);
        assert_eq!((output.status.code(), out(&output).as_str()), (Some(125), ""));
        assert_eq!(err(&output).lines().count(), 1, "{}", err(&output));
    }
    assert!(err(&run("SUDO_UID", "all")).contains("--as-root"));
    // Lowered, whatever it is set to: a number that no user has is one all the same.
    assert_eq!(out(&run("SUDO_UID", "3999999999")), "3999999999\n");
}

/// Checks that root can name a user, whose program it is then while files stay root's, and that others cannot.
#[test]
fn root_can_name_a_user() {
    let words = ["run", "--user", NOBODY, "-c", "--", "id", "-u"];
    if vmatlas_sys::effective_uid() != 0 {
        let output = vmatlas(&words).output().unwrap();
        assert_eq!(output.status.code(), Some(125), "{}", err(&output));
        assert!(err(&output).contains("--user"), "{}", err(&output));
        return;
    }
    let Some(user) = nobody() else { return };
    let output = vmatlas(&words).output().unwrap();
    assert_eq!(out(&output), format!("{}\n", user.uid), "{}", err(&output));
    let output = vmatlas(&["run", "--user", "no such user", "--", "id"]).output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert!(err(&output).contains("no such user"), "{}", err(&output));
}
