//! What tells of a program's calls: ptrace, which stops it, or BPF, which does not.

use crate::complain;
use crate::context::Context;
use crate::texts;
use crate::watcher::Failure;
use anyhow::anyhow;
use clap::{Args, ValueEnum};
use vmatlas_sys::bpf::BpfError;
use vmatlas_trace::{Bpf, TraceError};

/// What to watch with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Backend {
    /// The cheapest that works
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
    /// Chooses; `only_ptrace` is an option that needs tasks to be stopped. What auto came to is said, unless `is_quiet`.
    pub(crate) fn choose(
        self,
        only_ptrace: Option<&str>,
        is_quiet: bool,
        context: &Context,
    ) -> Result<Chosen, Failure> {
        match (self.backend, only_ptrace) {
            (Backend::Ptrace, _) | (Backend::Auto, Some(_)) => Ok(Chosen::Ptrace),
            (Backend::Bpf, Some(option)) => {
                Err(anyhow!(texts::BPF_NO_STOPS.fill(context.lang, &[("option", &option)])).into())
            }
            (Backend::Bpf, None) => match Bpf::load() {
                Ok(bpf) => Ok(Chosen::Bpf(Box::new(bpf))),
                Err(error) => Err(Failure::of_trace(&error, context)),
            },
            (Backend::Auto, None) => {
                let (chosen, text) = match Bpf::load() {
                    Ok(bpf) => (Chosen::Bpf(Box::new(bpf)), texts::AUTO_BPF.get(context.lang).to_owned()),
                    Err(TraceError::Bpf(why)) => {
                        let why = short(&why, context);
                        (Chosen::Ptrace, texts::AUTO_PTRACE.fill(context.lang, &[("why", &why)]))
                    }
                    Err(error) => return Err(Failure::of_trace(&error, context)),
                };
                if !is_quiet {
                    complain(context, &text);
                }
                Ok(chosen)
            }
        }
    }
}

/// Why not, in a few words.
fn short(error: &BpfError, context: &Context) -> String {
    match error {
        BpfError::NotPermitted => texts::BPF_SHORT_NOT_PERMITTED.get(context.lang).to_owned(),
        BpfError::NoBtf => texts::BPF_SHORT_NO_BTF.get(context.lang).to_owned(),
        BpfError::Unsupported(what) | BpfError::Other(what) => what.clone(),
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
