//! The programs, each brought to a state with memory worth reading.

use super::family::Family;
use anyhow::{Context, Result, bail};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A program, or why it is not there.
pub(super) enum Started {
    Family(Family),
    Skipped(String),
}

pub(super) struct Program {
    pub(super) name: &'static str,
    pub(super) start: fn(&Path) -> Result<Started>,
    /// Only where it is named: it changes the machine.
    pub(super) by_name: bool,
}

const fn program(name: &'static str, start: fn(&Path) -> Result<Started>) -> Program {
    Program { name, start, by_name: false }
}

pub(super) const PROGRAMS: &[Program] = &[
    program("python3", python),
    program("jvm", jvm),
    program("node", node),
    program("go", go),
    program("c-threads", |folder| hold(folder, "threads")),
    program("thp", |folder| hold(folder, "thp")),
    program("shared", |folder| hold(folder, "shared")),
    program("nginx", nginx),
    program("postgres", postgres),
    program("redis", redis),
    Program { name: "swap", start: swap, by_name: true },
];

/// Where a program is, by $PATH or in a folder of its own.
fn find(name: &str, further: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> =
        std::env::split_paths(&path).chain(further.iter().map(PathBuf::from)).collect();
    folders.into_iter().map(|folder| folder.join(name)).find(|file| file.is_file())
}

fn missing(name: &str, package: &str) -> Result<Started> {
    Ok(Started::Skipped(format!("{name} is missing: apt-get install {package}")))
}

fn python(_: &Path) -> Result<Started> {
    const SCRIPT: &str = "
import json, os, sys, threading
data = [{str(i): [i] * 10} for i in range(50000)]
text = json.dumps(data)
threading.Thread(target=sys.stdin.read, daemon=True).start()
r, w = os.pipe()
if os.fork() == 0:
    data[0:20000] = []
    os.write(w, b'x'); sys.stdin.read()
os.read(r, 1)
print('ready', flush=True)
sys.stdin.read()";
    let Some(python) = find("python3", &[]) else { return missing("python3", "python3") };
    Ok(Started::Family(Family::start_and_hear(Command::new(python).args(["-c", SCRIPT]))?))
}

fn jvm(folder: &Path) -> Result<Started> {
    const SOURCE: &str = "
import java.util.*;
class Hold {
    public static void main(String[] args) throws Exception {
        List<byte[]> list = new ArrayList<>();
        for (int i = 0; i < 100000; i++) { list.add(new byte[1000]); if (i % 3 == 0) list.set(i / 2, null); }
        System.gc();
        System.out.println(\"ready\");
        while (System.in.read() >= 0) {}
    }
}";
    let Some(java) = find("java", &[]) else { return missing("java", "default-jre-headless") };
    fs::write(folder.join("Hold.java"), SOURCE)?;
    let mut command = Command::new(java);
    command.args(["-Xmx512m", "Hold.java"]).current_dir(folder);
    Ok(Started::Family(Family::start_and_hear(&mut command)?))
}

fn node(_: &Path) -> Result<Started> {
    const SCRIPT: &str = "
const list = []; for (let i = 0; i < 200000; i++) list.push({ i, text: 'x'.repeat(i % 50) + i });
const buffer = Buffer.alloc(8 << 20, 1);
console.log('ready'); process.stdin.resume(); setInterval(() => list.length + buffer.length, 1000);";
    let Some(node) = find("node", &[]) else { return missing("node", "nodejs") };
    Ok(Started::Family(Family::start_and_hear(Command::new(node).args(["-e", SCRIPT]))?))
}

fn go(folder: &Path) -> Result<Started> {
    const SOURCE: &str = "package main

import (\"fmt\"; \"io\"; \"os\")

func main() {
	all := map[int][]byte{}
	for i := 0; i < 100000; i++ { all[i] = make([]byte, 500+i%500) }
	for i := 0; i < 100000; i += 3 { delete(all, i) }
	for i := 0; i < 100; i++ { go func() { select {} }() }
	fmt.Println(\"ready\")
	io.Copy(io.Discard, os.Stdin)
	fmt.Fprintln(os.Stderr, len(all))
}
";
    let Some(go) = find("go", &[]) else { return missing("go", "golang") };
    fs::write(folder.join("hold.go"), SOURCE)?;
    let built = Command::new(go)
        .args(["build", "-o", "hold", "hold.go"])
        .current_dir(folder)
        .env("GOCACHE", folder.join("cache"))
        .env("GO111MODULE", "off")
        .status()?;
    if !built.success() {
        bail!("go build failed");
    }
    Ok(Started::Family(Family::start_and_hear(&mut Command::new(folder.join("hold")))?))
}

fn hold(folder: &Path, what: &str) -> Result<Started> {
    let Some(gcc) = find("gcc", &[]) else { return missing("gcc", "gcc libc6-dev") };
    let (source, program) = (folder.join("hold.c"), folder.join("hold"));
    fs::write(&source, include_str!("hold.c"))?;
    if !Command::new(gcc).arg("-O1").arg("-o").arg(&program).arg(&source).arg("-lpthread").status()?.success()
    {
        bail!("gcc failed");
    }
    Ok(Started::Family(Family::start_and_hear(Command::new(program).arg(what))?))
}

fn nginx(folder: &Path) -> Result<Started> {
    let Some(nginx) = find("nginx", &["/usr/sbin"]) else { return missing("nginx", "nginx-light") };
    let path = folder.display();
    let config = format!(
        "daemon off; master_process on; worker_processes 3; pid {path}/pid; error_log {path}/error;\n\
         events {{ worker_connections 64; }}\n\
         http {{ access_log off; client_body_temp_path {path}/a; proxy_temp_path {path}/b;\n\
         fastcgi_temp_path {path}/c; uwsgi_temp_path {path}/d; scgi_temp_path {path}/e;\n\
         limit_req_zone $binary_remote_addr zone=one:4m rate=1r/s;\n\
         server {{ listen unix:{path}/socket; location / {{ return 200 x; }} }} }}\n"
    );
    fs::write(folder.join("conf"), config)?;
    let mut command = Command::new(nginx);
    command.arg("-e").arg(folder.join("error")).arg("-c").arg(folder.join("conf")).stdout(Stdio::null());
    let mut family = Family::start(&mut command)?;
    let socket = folder.join("socket");
    family.wait_for("socket of nginx", || socket.exists())?;
    // The master and its three workers.
    while family.pids().len() < 4 {
        family.wait_for("next look", || true)?;
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    std::thread::sleep(std::time::Duration::from_millis(300));
    Ok(Started::Family(family))
}

fn postgres(folder: &Path) -> Result<Started> {
    let versions = ["17", "16", "15", "14", "13"].map(|version| format!("/usr/lib/postgresql/{version}/bin"));
    let folders: Vec<&str> = versions.iter().map(String::as_str).collect();
    let (Some(initdb), Some(postgres), Some(psql)) =
        (find("initdb", &folders), find("postgres", &folders), find("psql", &folders))
    else {
        return missing("postgres", "postgresql");
    };
    let data = folder.join("data");
    // It refuses to run as root.
    let is_root = fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0);
    fs::set_permissions(folder, fs::Permissions::from_mode(0o777))?;
    let as_user = |program: &Path| {
        let mut command = match is_root {
            true => Command::new("setpriv"),
            false => Command::new(program),
        };
        if is_root {
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program);
        }
        command.current_dir(folder).env("HOME", folder);
        command
    };
    let made = as_user(&initdb)
        .args(["--auth=trust", "--no-sync", "--no-locale", "--username=vmatlas", "-D"])
        .arg(&data)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    if !made.success() {
        return Ok(Started::Skipped("initdb failed".to_owned()));
    }
    let mut command = as_user(&postgres);
    command.arg("-D").arg(&data).arg("-k").arg(folder);
    command.args(["-c", "listen_addresses=", "-c", "shared_buffers=64MB", "-c", "fsync=off"]);
    let mut family = Family::start(command.stdout(Stdio::null()))?;
    let socket = folder.join(".s.PGSQL.5432");
    family.wait_for("socket of postgres", || socket.exists())?;
    let fill = || {
        let mut client = as_user(&psql);
        client.arg("-h").arg(folder).args(["-U", "vmatlas", "-q", "-c"]);
        client
            .arg("create table if not exists t as select n, md5(n::text) from generate_series(1, 200000) n");
        client.arg("postgres").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
    };
    family.wait_for("answer of postgres", fill)?;
    Ok(Started::Family(family))
}

fn redis(folder: &Path) -> Result<Started> {
    let (Some(server), Some(client)) = (find("redis-server", &[]), find("redis-cli", &[])) else {
        return missing("redis-server", "redis-server");
    };
    let socket = folder.join("socket");
    let mut command = Command::new(server);
    command.args(["--port", "0", "--save", "", "--rdb-key-save-delay", "1000", "--unixsocket"]).arg(&socket);
    command.current_dir(folder);
    let mut family = Family::start(command.stdout(Stdio::null()))?;
    family.wait_for("socket of redis", || socket.exists())?;
    let ask = |words: &[&str]| -> Result<()> {
        let output = Command::new(&client).arg("-s").arg(&socket).args(words).output()?;
        let answer = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() || answer.contains("ERR") {
            bail!("redis-cli {words:?}: {answer}");
        }
        Ok(())
    };
    let set = |to: &str, value: &str| {
        format!("for i = 1, {to} do redis.call('set', 'key' .. i, string.rep('{value}', 200)) end")
    };
    ask(&["eval", &set("100000", "x"), "0"])?;
    ask(&["bgsave"])?;
    family.wait_for("child of redis", || true)?;
    while family.pids().len() < 2 {
        family.wait_for("next look", || true)?;
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    // While the child saves, the server writes: pages that both had become copies.
    ask(&["eval", &set("30000", "y"), "0"])?;
    Ok(Started::Family(family))
}

/// Memory in swap, in a swap file of its own where the machine has no swap.
fn swap(folder: &Path) -> Result<Started> {
    let has_swap = fs::read_to_string("/proc/swaps")?.lines().count() > 1;
    let file = folder.join("swap");
    if !has_swap {
        fs::write(&file, vec![0; 64 << 20]).context("a swap file")?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
        for tool in ["mkswap", "swapon"] {
            let Some(tool) = find(tool, &["/usr/sbin", "/sbin"]) else { return missing(tool, "util-linux") };
            let output = Command::new(tool).arg(&file).output()?;
            if !output.status.success() {
                let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                return Ok(Started::Skipped(format!("no swap, and none can be made: {why}")));
            }
        }
    }
    match hold(folder, "swap") {
        Ok(Started::Family(mut family)) => {
            family.swap_file = (!has_swap).then_some(file);
            Ok(Started::Family(family))
        }
        other => {
            if !has_swap {
                Command::new("swapoff").arg(&file).status()?;
            }
            other
        }
    }
}
