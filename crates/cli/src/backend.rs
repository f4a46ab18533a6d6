//! What tells of a program's calls: ptrace, which stops it, or BPF, which does not.

use crate::context::Context;
use crate::texts;
use crate::watcher::Failure;
use anyhow::anyhow;
use clap::{Args, ValueEnum};
use vmatlas_sys::bpf::BpfError;
use vmatlas_trace::Bpf;

/// What to watch with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Backend {
    /// ptrace, for now
    Auto,
    /// Stops at each memory call: needs no privileges
    Ptrace,
    /// Programs in the kernel, no stops: needs root, or CAP_BPF, CAP_PERFMON and CAP_SYS_PTRACE
    Bpf,
}

#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct BackendArgs {
    /// What tells of the calls
    #[arg(long, value_name = "BACKEND", default_value = "auto")]
    backend: Backend,
}

/// The choice, ready for use.
pub(crate) enum Chosen {
    Ptrace,
    Bpf(Box<Bpf>),
}

impl Chosen {
    /// As a recording has it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Chosen::Ptrace => "ptrace",
            Chosen::Bpf(_) => "bpf",
        }
    }
}

impl BackendArgs {
    /// Chooses; `only_ptrace` is an option that needs tasks to be stopped, `cgroup` the inode of one whose processes are watched.
    pub(crate) fn choose(
        self,
        only_ptrace: Option<&str>,
        cgroup: Option<u64>,
        context: &Context,
    ) -> Result<Chosen, Failure> {
        match (self.backend, only_ptrace) {
            // What ptrace shows is confirmed call by call; BPF is younger, and is to be asked for.
            (Backend::Auto | Backend::Ptrace, _) => Ok(Chosen::Ptrace),
            (Backend::Bpf, Some(option)) => {
                Err(anyhow!(texts::BPF_NO_STOPS.fill(context.lang, &[("option", &option)])).into())
            }
            (Backend::Bpf, None) => match cgroup.map_or_else(Bpf::load, Bpf::of_cgroup) {
                Ok(bpf) => Ok(Chosen::Bpf(Box::new(bpf))),
                Err(error) => Err(Failure::of_trace(&error, context)),
            },
        }
    }
}

/// Why not, and what grants it.
pub(crate) fn explain(error: &BpfError, context: &Context) -> String {
    let lang = context.lang;
    match error {
        BpfError::NotPermitted => {
            let lockdown = std::fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default();
            let is_locked_down = lockdown.contains("[confidentiality]");
            match (vmatlas_sys::effective_uid(), is_locked_down) {
                (_, true) => texts::BPF_LOCKED_DOWN.get(lang).to_owned(),
                // A root without the capability: a container.
                (0, _) => texts::BPF_CONTAINER.get(lang).to_owned(),
                _ => texts::BPF_NOT_PERMITTED.get(lang).to_owned(),
            }
        }
        BpfError::NoBtf => texts::BPF_NO_BTF.get(lang).to_owned(),
        BpfError::Unsupported(what) | BpfError::Other(what) => texts::BPF_OTHER.fill(lang, &[("why", what)]),
    }
}
