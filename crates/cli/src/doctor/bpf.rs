//! What BPF rests on, and whether its programs can be loaded: they are, and watch nothing.

use super::{errno_of, has, setcap, setting, sysctl, tried};
use crate::backend::why_not;
use std::fs;
use vmatlas_event::Errno;
use vmatlas_sys::bpf::BpfError;
use vmatlas_sys::privilege::Cap;
use vmatlas_sys::probe;
use vmatlas_trace::TraceError;
use vmatlas_view::doctor::{Finding, Item, State, texts};
use vmatlas_view::escape;

const EPERM: Errno = Errno(1);

/// `refused` is why they could not be loaded.
pub(super) fn look(refused: Option<&TraceError>) -> Vec<Finding> {
    let is_mighty = has(Cap::SysAdmin) || has(Cap::Bpf) && has(Cap::Perfmon);
    let backend = match refused {
        None => Finding::new(Item::Bpf, State::Works),
        Some(TraceError::Bpf(BpfError::NotPermitted)) if !is_mighty => {
            tried(Item::Bpf, Err(EPERM)).granted_by(setcap("cap_bpf,cap_perfmon,cap_sys_ptrace"))
        }
        Some(error) => {
            let (note, value) = why_not(error);
            Finding::new(Item::Bpf, State::Missing).because(note, value)
        }
    };
    vec![backend, btf(), fault_begins(), unprivileged(), jit(), lockdown(), tracefs(), userfaultfd()]
}

fn btf() -> Finding {
    const PATH: &str = "/sys/kernel/btf/vmlinux";
    /// Its first two bytes (`include/uapi/linux/btf.h`).
    const MAGIC: u16 = 0xeb9f;
    use std::io::Read;
    let mut magic = [0; 2];
    match fs::File::open(PATH).and_then(|mut file| file.read_exact(&mut magic)) {
        Ok(()) if u16::from_ne_bytes(magic) == MAGIC => Finding::new(Item::Btf, State::Works),
        Ok(()) => Finding::new(Item::Btf, State::Missing).because(texts::NO_FILE, PATH),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Finding::new(Item::Btf, State::Missing).because(texts::NO_FILE, PATH)
        }
        Err(error) => tried(Item::Btf, Err(errno_of(&error))),
    }
}

/// Which way page faults are told.
fn fault_begins() -> Finding {
    match vmatlas_sys::bpf::missing_of_faults() {
        None => Finding::new(Item::FaultBegins, State::Works),
        Some(name) => {
            Finding::new(Item::FaultBegins, State::InPart).because(texts::FAULTS_BY_EVENTS, name.to_owned())
        }
    }
}

/// Whether everybody may load some BPF: told, for it decides nothing here.
fn unprivileged() -> Finding {
    match setting("kernel.unprivileged_bpf_disabled").as_deref() {
        Some("0") => Finding::new(Item::UnprivilegedBpf, State::Works),
        Some(level) => {
            let text = format!("kernel.unprivileged_bpf_disabled = {level}");
            Finding::new(Item::UnprivilegedBpf, State::Missing).because(texts::SETTING, text)
        }
        None => hidden(Item::UnprivilegedBpf, "kernel.unprivileged_bpf_disabled"),
    }
}

fn jit() -> Finding {
    const NAME: &str = "net.core.bpf_jit_enable";
    match setting(NAME).as_deref() {
        Some("0") => Finding::new(Item::Jit, State::Missing)
            .because(texts::SWITCHED_OFF, NAME)
            .granted_by(sysctl(NAME, "1")),
        Some(_) => Finding::new(Item::Jit, State::Works),
        None => hidden(Item::Jit, NAME),
    }
}

/// A setting that is not there, or not for us to read.
fn hidden(item: Item, name: &str) -> Finding {
    let path = format!("/proc/sys/{}", name.replace('.', "/"));
    match fs::read(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Finding { state: State::Unknown, ..tried(item, Err(errno_of(&error))) }
        }
        _ => Finding::new(item, State::Unknown).because(texts::NO_FILE, path),
    }
}

fn lockdown() -> Finding {
    const PATH: &str = "/sys/kernel/security/lockdown";
    let text = match fs::read(PATH) {
        Ok(text) => escape::terminal(text.trim_ascii()),
        // Without that part of the kernel, or without its file system, nothing is locked.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Finding::new(Item::Lockdown, State::Works).because(texts::NO_FILE, PATH);
        }
        Err(error) => {
            return Finding { state: State::Unknown, ..tried(Item::Lockdown, Err(errno_of(&error))) };
        }
    };
    let state = if text.contains("[confidentiality]") { State::Missing } else { State::Works };
    Finding::new(Item::Lockdown, state).because(texts::SETTING, text)
}

fn tracefs() -> Finding {
    const PATHS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];
    if PATHS.iter().any(|path| fs::read_dir(format!("{path}/events")).is_ok()) {
        return Finding::new(Item::Tracefs, State::Works);
    }
    let is_mounted = fs::read("/proc/self/mounts")
        .is_ok_and(|text| text.split(|b| *b == b'\n').any(|line| line.starts_with(b"tracefs ")));
    let command = match is_mounted {
        true => "sudo mount -o remount,mode=755 /sys/kernel/tracing",
        false => "sudo mount -t tracefs tracefs /sys/kernel/tracing",
    };
    Finding::new(Item::Tracefs, State::Missing).because(texts::NOT_MOUNTED, PATHS[0]).granted_by(command)
}

fn userfaultfd() -> Finding {
    const NAME: &str = "vm.unprivileged_userfaultfd";
    match probe::can_handle_faults() {
        Err(errno) if setting(NAME).as_deref() == Some("0") => {
            tried(Item::Userfaultfd, Err(errno)).granted_by(sysctl(NAME, "1"))
        }
        answer => tried(Item::Userfaultfd, answer),
    }
}
