//! Programs as text: one step per line, in the words of the man pages, in pages rather than bytes.
//!
//! ```text
//! mmap 12 3 rw private fixed            # pages 12-14 of the playground
//! mmap null 4 r shared file+2 to s1     # where the kernel likes, then known as slot 1; the file from its page 2 on
//! mprotect s1+1 1 rw
//! mremap 12 3 3 maymove fixed 40
//! touch 40 1 write
//! fork                                  # the child does what follows, up to its end
//!   munmap 40 1
//! end
//! ```
//!
//! A place is a page of the playground (`12`), a page of a slot (`s1`, `s1+2`), a page above the break at the start
//! (`b3`, a hint for mmap) or `null`; a length is in pages, or in bytes when a `b` follows. What stands after `#` is a remark.

mod parse;
mod print;
mod words;

pub use parse::parse;
pub use print::print;

#[cfg(test)]
mod tests {
    use super::super::{StepKind, Without, program};
    use super::*;

    /// Checks that printed programs of many seeds are understood as the very same steps, with one thread and more.
    #[test]
    fn what_is_printed_is_understood() {
        let mut kinds = std::collections::BTreeSet::new();
        for seed in 0..400 {
            let steps = program(seed, seed * 7, seed % 3, &Without::default());
            assert_eq!(parse(&print(&steps)).as_ref(), Ok(&steps), "seed {seed}");
            kinds.extend(steps.iter().map(|step| step.kind().word()));
        }
        let all: std::collections::BTreeSet<_> = StepKind::ALL.iter().map(|(_, word)| *word).collect();
        let never: Vec<_> = all.difference(&kinds).collect();
        assert_eq!(never, [&"reset"], "every other kind of step is made");
    }

    /// Checks the example of the module's page.
    #[test]
    fn a_person_can_write_one() {
        let text = "mmap 12 3 rw private fixed # three pages\n\nmmap null 12289b r shared file+2 to s1\n  \
                    mprotect s1+1 1 rw,growsdown\nfork\nmremap 12 3 3 maymove fixed 40\n";
        let steps = parse(text).unwrap();
        assert_eq!(steps.len(), 5);
        assert_eq!(steps[2].to_string(), "mprotect s1+1 1 rw,growsdown");
        assert_eq!(steps[1].to_string(), "mmap null 12289b r shared file+2 to s1");
    }

    /// Checks that a fault names its line, for a word too few, too many, or unknown.
    #[test]
    fn a_fault_names_its_line() {
        for bad in ["munmap 3", "munmap 3 4 5", "mummap 3 4", "touch 3 1 look", "mmap 1 1 rw fixed", "brk -1"]
        {
            let error = parse(&format!("fork\n{bad}")).unwrap_err();
            assert_eq!(error, format!("line 2: not understood: {bad}"));
        }
    }
}
