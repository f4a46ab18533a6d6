//! Who runs the tests, and what they may do.

use anyhow::{Context, Result};
use std::fs;

/// The user and the capabilities of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Powers {
    effective_uid: u32,
    effective_capabilities: u64,
}

impl Powers {
    /// Reads them from /proc, since this crate has no system calls of its own.
    pub(crate) fn now() -> Result<Powers> {
        let status = fs::read_to_string("/proc/self/status").context("/proc/self/status")?;
        Powers::of(&status).context("/proc/self/status: no Uid or CapEff")
    }

    fn of(status: &str) -> Option<Powers> {
        let field = |name: &str, n: usize| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            line.split_whitespace().nth(n)
        };
        Some(Powers {
            effective_uid: field("Uid", 1)?.parse().ok()?,
            effective_capabilities: u64::from_str_radix(field("CapEff", 0)?, 16).ok()?,
        })
    }

    /// Whether we are root, with however few capabilities.
    pub(crate) fn is_root(self) -> bool {
        self.effective_uid == 0
    }

    /// Whether we are a root who may read page frames and trace: without these a root test cannot succeed.
    pub(crate) fn can_run_root_tests(self) -> bool {
        const CAP_SYS_PTRACE: u32 = 19;
        const CAP_SYS_ADMIN: u32 = 21;
        let has = |capability: u32| self.effective_capabilities & (1 << capability) != 0;
        self.is_root() && has(CAP_SYS_PTRACE) && has(CAP_SYS_ADMIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn powers(uid: u32, capabilities: &str) -> Powers {
        let status = format!("Name:\tx\nUid:\t1000\t{uid}\t0\t0\nCapInh:\t0\nCapEff:\t{capabilities}\n");
        Powers::of(&status).unwrap()
    }

    /// Checks that the effective user counts, and that a root without its capabilities is told from a full one.
    #[test]
    fn roots_are_told_apart() {
        assert!(powers(0, "000001ffffffffff").can_run_root_tests());
        // What container engines leave to root by default.
        let contained = powers(0, "00000000a80425fb");
        assert!(contained.is_root() && !contained.can_run_root_tests());
        assert!(!powers(1000, "000001ffffffffff").can_run_root_tests());
        assert!(!powers(1000, "0000000000000000").is_root());
    }

    /// Checks that the status of this process can be read.
    #[test]
    fn our_own_powers_are_read() {
        Powers::now().unwrap();
        assert_eq!(Powers::of("Name:\tx\n"), None);
    }
}
