//! The names of calls and events without their arguments, for filters and counts.

/// The name of an [`Op`](crate::Op) without its arguments, for filters and counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "each is the call of its name")]
pub enum OpKind {
    Mmap,
    Munmap,
    Mremap,
    Mprotect,
    PkeyMprotect,
    Brk,
    Madvise,
    Shmat,
    Shmdt,
    Mlock,
    Mlock2,
    Munlock,
    Mlockall,
    Munlockall,
    Mseal,
    Mbind,
    SetMempolicyHomeNode,
    RemapFilePages,
    Prctl,
    ArchPrctl,
    MapShadowStack,
    IoSetup,
    IoDestroy,
    Ioctl,
    ProcessMadvise,
    Personality,
    Other,
    Seccomp,
    Joined,
    Fork,
    Exec,
    Exit,
    Fault,
    Snapshot,
    Observed,
    Lost,
    Mark,
}

impl OpKind {
    /// Every kind, in the order of their values.
    pub const ALL: &[OpKind] = &[
        OpKind::Mmap,
        OpKind::Munmap,
        OpKind::Mremap,
        OpKind::Mprotect,
        OpKind::PkeyMprotect,
        OpKind::Brk,
        OpKind::Madvise,
        OpKind::Shmat,
        OpKind::Shmdt,
        OpKind::Mlock,
        OpKind::Mlock2,
        OpKind::Munlock,
        OpKind::Mlockall,
        OpKind::Munlockall,
        OpKind::Mseal,
        OpKind::Mbind,
        OpKind::SetMempolicyHomeNode,
        OpKind::RemapFilePages,
        OpKind::Prctl,
        OpKind::ArchPrctl,
        OpKind::MapShadowStack,
        OpKind::IoSetup,
        OpKind::IoDestroy,
        OpKind::Ioctl,
        OpKind::ProcessMadvise,
        OpKind::Personality,
        OpKind::Other,
        OpKind::Seccomp,
        OpKind::Joined,
        OpKind::Fork,
        OpKind::Exec,
        OpKind::Exit,
        OpKind::Fault,
        OpKind::Snapshot,
        OpKind::Observed,
        OpKind::Lost,
        OpKind::Mark,
    ];

    /// The memory calls a person can select, in the order of the man pages.
    pub const CALLS: &[OpKind] = OpKind::ALL.split_at(OpKind::Other as usize).0;

    /// The kind of a name.
    pub fn from_name(name: &str) -> Option<OpKind> {
        OpKind::ALL.iter().copied().find(|kind| kind.name() == name)
    }

    /// The system call's name, or a word in the same style.
    pub const fn name(self) -> &'static str {
        match self {
            OpKind::Mmap => "mmap",
            OpKind::Munmap => "munmap",
            OpKind::Mremap => "mremap",
            OpKind::Mprotect => "mprotect",
            OpKind::PkeyMprotect => "pkey_mprotect",
            OpKind::Brk => "brk",
            OpKind::Madvise => "madvise",
            OpKind::Shmat => "shmat",
            OpKind::Shmdt => "shmdt",
            OpKind::Mlock => "mlock",
            OpKind::Mlock2 => "mlock2",
            OpKind::Munlock => "munlock",
            OpKind::Mlockall => "mlockall",
            OpKind::Munlockall => "munlockall",
            OpKind::Mseal => "mseal",
            OpKind::Mbind => "mbind",
            OpKind::SetMempolicyHomeNode => "set_mempolicy_home_node",
            OpKind::RemapFilePages => "remap_file_pages",
            OpKind::Prctl => "prctl",
            OpKind::ArchPrctl => "arch_prctl",
            OpKind::MapShadowStack => "map_shadow_stack",
            OpKind::IoSetup => "io_setup",
            OpKind::IoDestroy => "io_destroy",
            OpKind::Ioctl => "ioctl",
            OpKind::ProcessMadvise => "process_madvise",
            OpKind::Personality => "personality",
            OpKind::Other => "other",
            OpKind::Seccomp => "seccomp",
            OpKind::Joined => "joined",
            OpKind::Fork => "fork",
            OpKind::Exec => "exec",
            OpKind::Exit => "exit",
            OpKind::Fault => "fault",
            OpKind::Snapshot => "snapshot",
            OpKind::Observed => "observed",
            OpKind::Lost => "lost",
            OpKind::Mark => "mark",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MmId, Op};

    /// Checks that each kind is there once, at the place of its value, and is found by its name.
    #[test]
    fn all_kinds_are_there() {
        for (index, kind) in OpKind::ALL.iter().enumerate() {
            assert_eq!((*kind as usize, OpKind::from_name(kind.name())), (index, Some(*kind)));
        }
        assert_eq!(OpKind::ALL.last(), Some(&OpKind::Mark));
    }

    /// Checks that calls come before everything else in the order of kinds, and that a person can name each.
    #[test]
    fn calls_come_first() {
        assert!(OpKind::CALLS.iter().all(|kind| *kind < OpKind::Other));
        assert_eq!(OpKind::CALLS.len(), OpKind::Other as usize);
        assert!(OpKind::CALLS.is_sorted());
        assert!(Op::Munlockall.is_call() && !Op::Exec { old_mm: MmId(1) }.is_call());
    }
}
