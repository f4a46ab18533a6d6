//! What tells of a program's calls: ptrace, which stops it, or BPF, which does not.

mod auto;
mod reason;

pub(crate) use auto::{Whom, choose};
pub(crate) use reason::{explain, why_not};

use crate::context::Context;
use crate::failure::Failure;
use crate::texts;
use anyhow::anyhow;
use clap::{Args, ValueEnum};
use vmatlas_trace::{Bpf, BpfOptions};
use vmatlas_view::backend::Choice;

/// What to watch with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Backend {
    /// 'run': ptrace; 'attach': bpf where that is permitted and no option needs stops, else ptrace
    Auto,
    /// Stops at each memory call ('attach': at each system call): needs no privileges
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
    /// The same where only BPF will do: what keeps it from being used is then told as that.
    pub(crate) fn or_bpf(self) -> BackendArgs {
        match self.backend {
            Backend::Auto => BackendArgs { backend: Backend::Bpf },
            _ => self,
        }
    }

    /// Chooses, and says why where it was left to us; `only_ptrace` is an option that needs tasks to be stopped, `options` what
    /// BPF programs are to tell of.
    pub(crate) fn choose(
        self,
        whom: Whom,
        only_ptrace: Option<&'static str>,
        options: BpfOptions,
        context: &Context,
    ) -> Result<(Chosen, Option<Choice>), Failure> {
        match (self.backend, only_ptrace) {
            (Backend::Ptrace, _) => Ok((Chosen::Ptrace, None)),
            (Backend::Auto, _) => {
                let (bpf, choice) = choose(whom, only_ptrace, || Bpf::with(options));
                Ok((bpf.map_or(Chosen::Ptrace, |bpf| Chosen::Bpf(Box::new(bpf))), Some(choice)))
            }
            (Backend::Bpf, Some(option)) => {
                Err(anyhow!(texts::BPF_NO_STOPS.fill(context.lang, &[("option", &option)])).into())
            }
            (Backend::Bpf, None) => match Bpf::with(options) {
                Ok(bpf) => Ok((Chosen::Bpf(Box::new(bpf)), None)),
                Err(error) => Err(Failure::of_trace(&error, context)),
            },
        }
    }
}
