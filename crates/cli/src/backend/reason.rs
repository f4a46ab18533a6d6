//! Why BPF programs cannot be used: in short for who gets ptrace instead, and with what grants it for who asked for them.

use crate::context::Context;
use crate::texts;
use vmatlas_sys::bpf::BpfError;
use vmatlas_trace::TraceError;
use vmatlas_view::{Text, backend, escape};

/// A reason that a person can do something about, or not.
enum Reason<'a> {
    LockedDown,
    /// Root, and yet not permitted: a container.
    Container,
    NotPermitted,
    NoBtf,
    Other(&'a str),
}

impl Reason<'_> {
    fn of(error: &BpfError) -> Reason<'_> {
        match error {
            // Programs that read the kernel are then refused one way or the other (`security_locked_down()`).
            BpfError::NotPermitted | BpfError::Unsupported(_) if is_locked_down() => Reason::LockedDown,
            BpfError::NotPermitted if vmatlas_sys::effective_uid() == 0 => Reason::Container,
            BpfError::NotPermitted => Reason::NotPermitted,
            BpfError::NoBtf => Reason::NoBtf,
            BpfError::Unsupported(what) | BpfError::Other(what) => Reason::Other(what),
        }
    }
}

fn is_locked_down() -> bool {
    let lockdown = std::fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default();
    lockdown.contains("[confidentiality]")
}

/// Why not, and what grants it.
pub(crate) fn explain(error: &BpfError, context: &Context) -> String {
    let lang = context.lang;
    match Reason::of(error) {
        Reason::LockedDown => texts::BPF_LOCKED_DOWN.get(lang).to_owned(),
        Reason::Container => texts::BPF_CONTAINER.get(lang).to_owned(),
        Reason::NotPermitted => texts::BPF_NOT_PERMITTED.get(lang).to_owned(),
        Reason::NoBtf => texts::BPF_NO_BTF.get(lang).to_owned(),
        Reason::Other(why) => texts::BPF_OTHER.fill(lang, &[("why", &why)]),
    }
}

/// Why not, in a few words, and the value that belongs into them.
pub(crate) fn why_not(error: &TraceError) -> (Text, String) {
    use backend::texts;
    let none = String::new();
    match error {
        TraceError::Bpf(error) => match Reason::of(error) {
            Reason::LockedDown => (texts::LOCKED_DOWN, none),
            Reason::Container => (texts::NOT_PERMITTED_ROOT, none),
            Reason::NotPermitted => (texts::NOT_PERMITTED, none),
            Reason::NoBtf => (texts::NO_BTF, none),
            Reason::Other(why) => (texts::CANNOT_LOAD, in_one_line(why)),
        },
        error => (texts::CANNOT_LOAD, in_one_line(&error.to_string())),
    }
}

fn in_one_line(text: &str) -> String {
    escape::terminal(text.replace('\n', " ").as_bytes())
}
