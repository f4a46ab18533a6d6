//! What a program is made of.

/// Where: a page of the playground, or of what the kernel placed elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// This page of the playground.
    Page(u32),
    /// This page of what is in the slot.
    Slot(u8, u32),
    /// So many pages above the break at the start: a hint for mmap, which nothing is taken from.
    Break(u32),
    /// Address 0: where the kernel likes.
    Null,
}

/// How long, in bytes: whole pages mostly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Length(pub u64);

/// The size that one page has in programs; a machine with larger pages plays them all the same.
pub(super) const PAGE: u64 = 4096;

impl Length {
    /// So many pages.
    pub const fn pages(n: u64) -> Length {
        Length(n * PAGE)
    }
}

/// What is mapped: nothing but memory, or a file from some page on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// MAP_ANONYMOUS.
    Anonymous,
    /// The file in memory.
    File,
    /// The same file, opened once more.
    Again,
    /// The same open file by another descriptor.
    Dup,
    /// The same file, opened for reading alone.
    ReadOnly,
    /// A file in memory that is sealed against writing.
    Sealed,
    /// /dev/zero.
    Zero,
    /// A performance counter, which refuses most sizes.
    Perf,
}

/// The step's arguments are those of its man page, in its order; PROT_*, MAP_* and the like are the plain numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the call of its name, each field the argument of its name")]
pub enum Step {
    Mmap {
        at: Place,
        len: Length,
        prot: u64,
        flags: u64,
        source: Source,
        page: u32,
        slot: u8,
    },
    Munmap {
        at: Place,
        len: Length,
    },
    Mprotect {
        at: Place,
        len: Length,
        prot: u64,
    },
    PkeyMprotect {
        at: Place,
        len: Length,
        prot: u64,
        key: i32,
    },
    /// With MREMAP_FIXED it goes to `to`, otherwise into the slot where it moves.
    Mremap {
        at: Place,
        len: Length,
        new: Length,
        flags: u64,
        to: Place,
        slot: u8,
    },
    /// Pages above the break at the start.
    Brk {
        pages: u32,
    },
    Madvise {
        at: Place,
        len: Length,
        advice: i32,
    },
    ProcessMadvise {
        at: Place,
        len: Length,
        advice: i32,
    },
    Mlock {
        at: Place,
        len: Length,
    },
    MlockOnFault {
        at: Place,
        len: Length,
    },
    Munlock {
        at: Place,
        len: Length,
    },
    Mlockall {
        flags: i32,
    },
    Munlockall,
    /// Only in a forked child: nothing unseals.
    Mseal {
        at: Place,
        len: Length,
    },
    Mbind {
        at: Place,
        len: Length,
        policy: i32,
    },
    HomeNode {
        at: Place,
        len: Length,
    },
    RemapFilePages {
        at: Place,
        len: Length,
        page: u32,
    },
    /// PR_SET_VMA_ANON_NAME; 0 takes the name away.
    Name {
        at: Place,
        len: Length,
        name: u8,
    },
    Shmat {
        at: Place,
        flags: i32,
        slot: u8,
    },
    Shmdt {
        at: Place,
    },
    IoSetup {
        ring: u8,
    },
    IoDestroy {
        ring: u8,
    },
    /// UFFDIO_REGISTER; `write_protect` instead of missing pages.
    UffdRegister {
        at: Place,
        len: Length,
        write_protect: bool,
    },
    UffdUnregister {
        at: Place,
        len: Length,
    },
    /// Closes the descriptor, which unregisters everything.
    UffdClose,
    /// One byte of each page that is mapped.
    Touch {
        at: Place,
        len: Length,
        write: bool,
    },
    /// Writes one byte where perhaps nothing is mapped: what lies above with MAP_GROWSDOWN grows down to it.
    Grow {
        at: Place,
    },
    /// A child does the steps up to its `end` in a copy of the address space.
    Fork,
    /// A child does the steps up to its `end` in this address space.
    Vfork,
    End,
    /// A child that executes a program at once.
    Spawn,
    /// As at the start of an epoch: everything is unmapped.
    Reset,
}

/// The name of a step without its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the step of its name")]
pub enum StepKind {
    Mmap,
    Munmap,
    Mprotect,
    PkeyMprotect,
    Mremap,
    Brk,
    Madvise,
    ProcessMadvise,
    Mlock,
    MlockOnFault,
    Munlock,
    Mlockall,
    Munlockall,
    Mseal,
    Mbind,
    HomeNode,
    RemapFilePages,
    Name,
    Shmat,
    Shmdt,
    IoSetup,
    IoDestroy,
    UffdRegister,
    UffdUnregister,
    UffdClose,
    Touch,
    Grow,
    Fork,
    Vfork,
    End,
    Spawn,
    Reset,
}

impl StepKind {
    /// Every one with its word in the text form, in the order of the numbers.
    pub const ALL: [(StepKind, &'static str); 32] = [
        (StepKind::Mmap, "mmap"),
        (StepKind::Munmap, "munmap"),
        (StepKind::Mprotect, "mprotect"),
        (StepKind::PkeyMprotect, "pkey_mprotect"),
        (StepKind::Mremap, "mremap"),
        (StepKind::Brk, "brk"),
        (StepKind::Madvise, "madvise"),
        (StepKind::ProcessMadvise, "process_madvise"),
        (StepKind::Mlock, "mlock"),
        (StepKind::MlockOnFault, "mlock2"),
        (StepKind::Munlock, "munlock"),
        (StepKind::Mlockall, "mlockall"),
        (StepKind::Munlockall, "munlockall"),
        (StepKind::Mseal, "mseal"),
        (StepKind::Mbind, "mbind"),
        (StepKind::HomeNode, "set_mempolicy_home_node"),
        (StepKind::RemapFilePages, "remap_file_pages"),
        (StepKind::Name, "name"),
        (StepKind::Shmat, "shmat"),
        (StepKind::Shmdt, "shmdt"),
        (StepKind::IoSetup, "io_setup"),
        (StepKind::IoDestroy, "io_destroy"),
        (StepKind::UffdRegister, "uffd_register"),
        (StepKind::UffdUnregister, "uffd_unregister"),
        (StepKind::UffdClose, "uffd_close"),
        (StepKind::Touch, "touch"),
        (StepKind::Grow, "grow"),
        (StepKind::Fork, "fork"),
        (StepKind::Vfork, "vfork"),
        (StepKind::End, "end"),
        (StepKind::Spawn, "spawn"),
        (StepKind::Reset, "reset"),
    ];

    /// Its word.
    pub fn word(self) -> &'static str {
        StepKind::ALL[self as usize].1
    }

    /// The step of this word.
    pub fn from_word(word: &str) -> Option<StepKind> {
        StepKind::ALL.iter().find(|(_, known)| *known == word).map(|(kind, _)| *kind)
    }

    /// Whether it is a call that can change the map, by its man page or by experience.
    pub fn is_call(self) -> bool {
        !matches!(
            self,
            StepKind::Touch
                | StepKind::Grow
                | StepKind::Fork
                | StepKind::Vfork
                | StepKind::End
                | StepKind::Spawn
                | StepKind::Reset
                | StepKind::UffdClose
        )
    }
}

impl Step {
    /// Its name.
    pub fn kind(&self) -> StepKind {
        match self {
            Step::Mmap { .. } => StepKind::Mmap,
            Step::Munmap { .. } => StepKind::Munmap,
            Step::Mprotect { .. } => StepKind::Mprotect,
            Step::PkeyMprotect { .. } => StepKind::PkeyMprotect,
            Step::Mremap { .. } => StepKind::Mremap,
            Step::Brk { .. } => StepKind::Brk,
            Step::Madvise { .. } => StepKind::Madvise,
            Step::ProcessMadvise { .. } => StepKind::ProcessMadvise,
            Step::Mlock { .. } => StepKind::Mlock,
            Step::MlockOnFault { .. } => StepKind::MlockOnFault,
            Step::Munlock { .. } => StepKind::Munlock,
            Step::Mlockall { .. } => StepKind::Mlockall,
            Step::Munlockall => StepKind::Munlockall,
            Step::Mseal { .. } => StepKind::Mseal,
            Step::Mbind { .. } => StepKind::Mbind,
            Step::HomeNode { .. } => StepKind::HomeNode,
            Step::RemapFilePages { .. } => StepKind::RemapFilePages,
            Step::Name { .. } => StepKind::Name,
            Step::Shmat { .. } => StepKind::Shmat,
            Step::Shmdt { .. } => StepKind::Shmdt,
            Step::IoSetup { .. } => StepKind::IoSetup,
            Step::IoDestroy { .. } => StepKind::IoDestroy,
            Step::UffdRegister { .. } => StepKind::UffdRegister,
            Step::UffdUnregister { .. } => StepKind::UffdUnregister,
            Step::UffdClose => StepKind::UffdClose,
            Step::Touch { .. } => StepKind::Touch,
            Step::Grow { .. } => StepKind::Grow,
            Step::Fork => StepKind::Fork,
            Step::Vfork => StepKind::Vfork,
            Step::End => StepKind::End,
            Step::Spawn => StepKind::Spawn,
            Step::Reset => StepKind::Reset,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that the table of words is in the order of the numbers, so that a word is found by its number.
    #[test]
    fn every_kind_has_its_own_word() {
        for (index, (kind, word)) in StepKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index, "{word}");
            assert_eq!((kind.word(), StepKind::from_word(word)), (word, Some(kind)));
        }
    }
}
