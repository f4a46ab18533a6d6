//! The choice that is left to us. docs/ARCHITECTURE.md tells why it is this one.

use super::reason::why_not;
use vmatlas_trace::TraceError;
use vmatlas_view::backend::{Choice, texts};

/// Whom a command watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whom {
    /// A program that we start: `run`.
    Ours,
    /// A process that was there before us: `attach`.
    Theirs,
}

impl Whom {
    const fn command(self) -> &'static str {
        match self {
            Whom::Ours => "run",
            Whom::Theirs => "attach",
        }
    }
}

/// What to watch with, and why: what `load` gave where it is BPF, `None` for ptrace. BPF is not loaded where it would not be
/// taken; `only_ptrace` is an option that needs tasks to be stopped.
pub(crate) fn choose<T>(
    whom: Whom,
    only_ptrace: Option<&'static str>,
    load: impl FnOnce() -> Result<T, TraceError>,
) -> (Option<T>, Choice) {
    let ptrace = |why, value: String| Choice { command: whom.command(), backend: "ptrace", why, value };
    match (whom, only_ptrace) {
        (_, Some(option)) => (None, ptrace(texts::OPTION_NEEDS_STOPS, option.to_owned())),
        (Whom::Ours, None) => (None, ptrace(texts::EACH_CALL_CONFIRMED, String::new())),
        (Whom::Theirs, None) => match load() {
            Ok(bpf) => {
                let why = texts::STOPS_NOTHING;
                let choice = Choice { command: whom.command(), backend: "bpf", why, value: String::new() };
                (Some(bpf), choice)
            }
            Err(error) => {
                let (why, value) = why_not(&error);
                (None, ptrace(why, value))
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmatlas_sys::bpf::BpfError;
    use vmatlas_view::Lang;

    fn chosen(whom: Whom, option: Option<&'static str>, loaded: Result<(), BpfError>) -> (bool, String) {
        let (bpf, choice) = choose(whom, option, || loaded.map_err(TraceError::Bpf));
        assert_eq!(bpf.is_some(), choice.backend == "bpf");
        (bpf.is_some(), choice.line(Lang::En))
    }

    /// Checks that `attach` takes BPF where it loads, that `run` does not, and that an option that needs stops decides.
    #[test]
    fn options_and_privileges_decide() {
        assert!(chosen(Whom::Theirs, None, Ok(())).0);
        assert!(!chosen(Whom::Ours, None, Ok(())).0);
        let (is_bpf, line) = chosen(Whom::Theirs, Some("--check"), Ok(()));
        assert!(!is_bpf && line.contains("ptrace: --check"), "{line}");
    }

    /// Checks that whatever keeps BPF from being loaded ends in ptrace, with the reason in one line.
    #[test]
    fn what_cannot_be_loaded_is_not_taken() {
        let other = |text: &str| BpfError::Other(text.to_owned());
        for (error, word) in [
            (BpfError::NotPermitted, "BPF"),
            (BpfError::NoBtf, "BTF"),
            (BpfError::Unsupported("no tracepoint x".to_owned()), "no tracepoint x"),
            (other("two\nlines"), "two"),
        ] {
            let (is_bpf, line) = chosen(Whom::Theirs, None, Err(error));
            assert!(!is_bpf && line.contains(word) && line.lines().count() == 1, "{line}");
        }
    }
}
