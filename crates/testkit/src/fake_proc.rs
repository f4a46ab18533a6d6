//! A made-up /proc in a temporary folder, for readers that take the folder as an argument.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use vmatlas_event::{Addr, Pid, StartTime, Tid};

/// A folder laid out like /proc; it is removed when this is dropped.
#[derive(Debug)]
pub struct FakeProc {
    dir: TempDir,
}

impl FakeProc {
    /// Makes an empty one.
    ///
    /// # Errors
    /// When no temporary folder can be made.
    pub fn new() -> io::Result<FakeProc> {
        Ok(FakeProc { dir: tempfile::Builder::new().prefix("vmatlas-proc-").tempdir()? })
    }

    /// The folder, to be used in place of /proc.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Adds a process, or replaces files of one that is there.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn add(&self, process: &FakeProcess) -> io::Result<()> {
        process.write(&self.path().join(process.pid.to_string()))
    }

    /// Takes a process away, as if it had ended and had been reaped.
    ///
    /// # Errors
    /// When there is none.
    pub fn remove(&self, pid: Pid) -> io::Result<()> {
        fs::remove_dir_all(self.path().join(pid.to_string()))
    }

    /// Writes a setting below sys/, such as `vm/max_map_count`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn sysctl(&self, name: &str, value: impl std::fmt::Display) -> io::Result<()> {
        write_file(&self.path().join("sys").join(name), format!("{value}\n").as_bytes())
    }
}

/// A process of a made-up /proc: stat, status and comm are made to agree, everything else is as given.
#[derive(Clone, Debug)]
pub struct FakeProcess {
    pid: Pid,
    parent: Pid,
    comm: Vec<u8>,
    exe: Option<Vec<u8>>,
    state: char,
    flags: u64,
    started: StartTime,
    start_stack: Addr,
    start_brk: Addr,
    status_lines: Vec<(String, String)>,
    threads: Vec<FakeThread>,
    files: Vec<(PathBuf, Vec<u8>)>,
}

/// A further thread of a made-up process.
#[derive(Clone, Debug)]
pub struct FakeThread {
    tid: Tid,
    comm: Option<Vec<u8>>,
    state: char,
    stack_pointer: Option<Addr>,
}

impl FakeProcess {
    /// A sleeping process of one thread, with an empty map and no program.
    pub fn new(pid: i32) -> FakeProcess {
        FakeProcess {
            pid: Pid(pid),
            parent: Pid(1),
            comm: b"fake".to_vec(),
            exe: None,
            state: 'S',
            flags: 0x0040_0000,
            started: StartTime(1000),
            start_stack: Addr(0),
            start_brk: Addr(0),
            status_lines: Vec::new(),
            threads: Vec::new(),
            files: vec![(PathBuf::from("maps"), Vec::new())],
        }
    }

    /// Gives it a name, of which the kernel keeps 15 bytes.
    #[must_use]
    pub fn comm(mut self, name: impl AsRef<[u8]>) -> FakeProcess {
        self.comm = cut_comm(name.as_ref());
        self
    }

    /// Gives it a program: the text of the link `exe`, which need not exist.
    #[must_use]
    pub fn exe(mut self, path: impl AsRef<[u8]>) -> FakeProcess {
        self.exe = Some(path.as_ref().to_vec());
        self
    }

    /// Gives it a parent.
    #[must_use]
    pub fn parent(mut self, pid: i32) -> FakeProcess {
        self.parent = Pid(pid);
        self
    }

    /// Sets its state's letter, such as `Z` for a zombie.
    #[must_use]
    pub fn state(mut self, letter: char) -> FakeProcess {
        self.state = letter;
        self
    }

    /// Sets its PF_* flags.
    #[must_use]
    pub fn flags(mut self, flags: u64) -> FakeProcess {
        self.flags = flags;
        self
    }

    /// Sets when it started, in clock ticks since boot.
    #[must_use]
    pub fn started(mut self, ticks: u64) -> FakeProcess {
        self.started = StartTime(ticks);
        self
    }

    /// Sets where its stack starts; 0, as here before, is what one sees who may not know.
    #[must_use]
    pub fn start_stack(mut self, addr: u64) -> FakeProcess {
        self.start_stack = Addr(addr);
        self
    }

    /// Sets where its heap (brk) starts; 0, as here before, is what one sees who may not know.
    #[must_use]
    pub fn start_brk(mut self, addr: u64) -> FakeProcess {
        self.start_brk = Addr(addr);
        self
    }

    /// Sets the text of its maps.
    #[must_use]
    pub fn maps(self, text: impl AsRef<[u8]>) -> FakeProcess {
        self.file("maps", text)
    }

    /// Adds a line to its status, such as `("VmRSS", "1234 kB")`.
    #[must_use]
    pub fn status_line(mut self, name: &str, value: &str) -> FakeProcess {
        self.status_lines.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets any file of it (`smaps`, `status`, `task/43/syscall`), also instead of one that is made up here.
    #[must_use]
    pub fn file(mut self, name: &str, bytes: impl AsRef<[u8]>) -> FakeProcess {
        self.files.push((PathBuf::from(name), bytes.as_ref().to_vec()));
        self
    }

    /// Adds a thread besides the first.
    #[must_use]
    pub fn thread(mut self, thread: FakeThread) -> FakeProcess {
        self.threads.push(thread);
        self
    }

    fn write(&self, dir: &Path) -> io::Result<()> {
        let leader = FakeThread {
            tid: Tid(self.pid.0),
            comm: Some(self.comm.clone()),
            state: self.state,
            stack_pointer: None,
        };
        self.write_task(dir, &leader)?;
        for thread in std::iter::once(&leader).chain(&self.threads) {
            let task = dir.join("task").join(thread.tid.to_string());
            self.write_task(&task, thread)?;
            let syscall = match thread.stack_pointer {
                Some(sp) => format!("0 0x3 0x0 0x0 0x0 0x0 0x0 {:#x} 0x7f0000001000\n", sp.0),
                None => "running\n".to_owned(),
            };
            write_file(&task.join("syscall"), syscall.as_bytes())?;
        }
        if let Some(exe) = &self.exe {
            let link = dir.join("exe");
            match fs::remove_file(&link) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => symlink(OsString::from_vec(exe.clone()), link)?,
            }
        }
        for (name, bytes) in &self.files {
            write_file(&dir.join(name), bytes)?;
        }
        Ok(())
    }

    fn write_task(&self, dir: &Path, task: &FakeThread) -> io::Result<()> {
        let comm = task.comm.as_ref().unwrap_or(&self.comm);
        write_file(&dir.join("comm"), &[comm, &b"\n"[..]].concat())?;
        write_file(&dir.join("stat"), &self.stat(comm, task))?;
        write_file(&dir.join("status"), &self.status(comm, task))
    }

    /// The 52 fields of proc_pid_stat(5); those nobody set are those of a small quiet process.
    fn stat(&self, comm: &[u8], task: &FakeThread) -> Vec<u8> {
        let (pid, threads) = (self.pid, 1 + self.threads.len());
        let before = format!("{} (", task.tid);
        let after = format!(
            ") {} {} {pid} {pid} 0 -1 {} 100 0 0 0 1 1 0 0 20 0 {threads} 0 {} 10000000 500 18446744073709551615 \
             4194304 4198400 {} 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 4202496 4206592 {} 0 0 0 0 0\n",
            task.state, self.parent, self.flags, self.started, self.start_stack.0, self.start_brk.0,
        );
        [before.as_bytes(), comm, after.as_bytes()].concat()
    }

    fn status(&self, comm: &[u8], task: &FakeThread) -> Vec<u8> {
        let mut text = b"Name:\t".to_vec();
        for byte in comm {
            // proc_task_name() of the kernel's fs/proc/array.c escapes these two.
            match byte {
                b'\n' => text.extend(b"\\n"),
                b'\\' => text.extend(b"\\\\"),
                other => text.push(*other),
            }
        }
        let state = match task.state {
            'R' => "R (running)",
            'S' => "S (sleeping)",
            'D' => "D (disk sleep)",
            'T' => "T (stopped)",
            't' => "t (tracing stop)",
            'Z' => "Z (zombie)",
            _ => "X (dead)",
        };
        let rest = format!(
            "\nState:\t{state}\nTgid:\t{}\nNgid:\t0\nPid:\t{}\nPPid:\t{}\nTracerPid:\t0\nUid:\t1000\t1000\t1000\t1000\n\
             Gid:\t1000\t1000\t1000\t1000\nNSpid:\t{}\nThreads:\t{}\n",
            self.pid,
            task.tid,
            self.parent,
            task.tid,
            1 + self.threads.len(),
        );
        text.extend(rest.as_bytes());
        for (name, value) in &self.status_lines {
            text.extend(format!("{name}:\t{value}\n").as_bytes());
        }
        text
    }
}

impl FakeThread {
    /// A sleeping thread with the name of its process and a stack pointer that nobody may know.
    pub fn new(tid: i32) -> FakeThread {
        FakeThread { tid: Tid(tid), comm: None, state: 'S', stack_pointer: None }
    }

    /// Gives it a name of its own.
    #[must_use]
    pub fn comm(mut self, name: impl AsRef<[u8]>) -> FakeThread {
        self.comm = Some(cut_comm(name.as_ref()));
        self
    }

    /// Sets its state's letter.
    #[must_use]
    pub fn state(mut self, letter: char) -> FakeThread {
        self.state = letter;
        self
    }

    /// Puts it to sleep in a read(2) with this stack pointer.
    #[must_use]
    pub fn stack_pointer(mut self, addr: u64) -> FakeThread {
        self.stack_pointer = Some(Addr(addr));
        self
    }
}

fn cut_comm(name: &[u8]) -> Vec<u8> {
    const COMM_MAX: usize = 15;
    name[..name.len().min(COMM_MAX)].to_vec()
}

fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that stat has the kernel's 52 fields and that each value is in the place of proc_pid_stat(5).
    #[test]
    fn stat_has_its_fields_in_their_places() {
        let proc = FakeProc::new().unwrap();
        let process = FakeProcess::new(42)
            .comm("a name that is too long")
            .parent(7)
            .flags(64)
            .started(555)
            .start_stack(0x7ffc_0000)
            .start_brk(0x5000)
            .thread(FakeThread::new(43));
        proc.add(&process).unwrap();
        let stat = fs::read_to_string(proc.path().join("42/stat")).unwrap();
        let (name, rest) = stat.rsplit_once(") ").unwrap();
        assert_eq!(name, "42 (a name that is ");
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let field = |n: usize| fields[n - 3];
        assert_eq!(fields.len() + 2, 52);
        assert_eq!([field(3), field(4), field(9), field(20), field(22)], ["S", "7", "64", "2", "555"]);
        assert_eq!(field(28), 0x7ffc_0000_u64.to_string());
        assert_eq!(field(47), 0x5000.to_string());
    }

    /// Checks that the real stat of this process has as many fields as the made-up one.
    #[test]
    fn stat_is_shaped_like_the_real_one() {
        let real = fs::read_to_string("/proc/self/stat").unwrap();
        assert_eq!(real.rsplit_once(") ").unwrap().1.split_whitespace().count() + 2, 52);
    }

    /// Checks that every thread has a folder, with its own name and stack pointer.
    #[test]
    fn threads_have_folders() {
        let proc = FakeProc::new().unwrap();
        let worker = FakeThread::new(43).comm("worker").stack_pointer(0x7000);
        proc.add(&FakeProcess::new(42).comm("main").thread(worker)).unwrap();
        let read = |name: &str| fs::read_to_string(proc.path().join(name)).unwrap();
        assert_eq!(read("42/task/42/comm"), "main\n");
        assert_eq!(read("42/task/42/syscall"), "running\n");
        assert_eq!(read("42/task/43/comm"), "worker\n");
        assert!(read("42/task/43/syscall").contains(" 0x7000 "));
        assert!(read("42/task/43/status").contains("Tgid:\t42\n"));
        assert!(read("42/status").contains("Threads:\t2\n"));
    }

    /// Checks that the link, the map, settings and any other file come out as given, and that a process can end.
    #[test]
    fn files_come_out_as_given() {
        let proc = FakeProc::new().unwrap();
        let line = "00400000-00401000 r-xp 00000000 fe:00 7 /bin/x\n";
        let process = FakeProcess::new(42).exe("/bin/x (deleted)").maps(line).file("cgroup", "0::/\n");
        proc.add(&process).unwrap();
        proc.add(&process.status_line("VmRSS", "12 kB")).unwrap();
        proc.sysctl("vm/max_map_count", 65530).unwrap();
        let read = |name: &str| fs::read_to_string(proc.path().join(name)).unwrap();
        assert_eq!(fs::read_link(proc.path().join("42/exe")).unwrap(), Path::new("/bin/x (deleted)"));
        assert_eq!(read("42/maps"), line);
        assert_eq!(read("42/cgroup"), "0::/\n");
        assert!(read("42/status").ends_with("VmRSS:\t12 kB\n"));
        assert_eq!(read("sys/vm/max_map_count"), "65530\n");
        proc.remove(Pid(42)).unwrap();
        assert!(!proc.path().join("42").exists());
    }
}
