//! The things that are looked at.

use super::texts;
use crate::lang::Text;

/// What things belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Ways to watch a program.
    Backends,
    /// Reading maps and pages.
    Reading,
    /// What tracing rests on.
    Tracing,
    /// What page-fault events rest on.
    Faults,
    /// What BPF rests on.
    Bpf,
    /// The rest of the system.
    System,
}

impl Group {
    /// As JSON says it.
    pub const fn id(self) -> &'static str {
        match self {
            Group::Backends => "backends",
            Group::Reading => "reading",
            Group::Tracing => "tracing",
            Group::Faults => "faults",
            Group::Bpf => "bpf",
            Group::System => "system",
        }
    }

    pub(super) const fn text(self) -> Text {
        match self {
            Group::Backends => texts::BACKENDS,
            Group::Reading => texts::READING,
            Group::Tracing => texts::TRACING,
            Group::Faults => texts::FAULTS,
            Group::Bpf => texts::BPF,
            Group::System => texts::SYSTEM,
        }
    }
}

macro_rules! items {
    ($($(#[$doc:meta])* $name:ident $group:ident $id:literal $used:literal $text:ident $purpose:ident;)+) => {
        /// One thing that is looked at.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Item {
            $($(#[$doc])* $name,)+
        }

        impl Item {
            /// All of them, in the order of the table.
            pub const ALL: &[Item] = &[$(Item::$name),+];

            /// As JSON says it.
            pub const fn id(self) -> &'static str {
                match self { $(Item::$name => $id,)+ }
            }

            /// Where it belongs.
            pub const fn group(self) -> Group {
                match self { $(Item::$name => Group::$group,)+ }
            }

            /// Whether this version makes use of it.
            pub const fn is_used(self) -> bool {
                match self { $(Item::$name => $used,)+ }
            }

            /// Its name.
            pub const fn name(self) -> Text {
                match self { $(Item::$name => texts::$text,)+ }
            }

            /// What it is for.
            pub const fn purpose(self) -> Text {
                match self { $(Item::$name => texts::$purpose,)+ }
            }
        }
    };
}

items! {
    /// Starting a program under a filter.
    Run Backends "run" true RUN FOR_RUN;
    /// Joining a process of our own user.
    Attach Backends "attach" true ATTACH FOR_ATTACH;
    /// Joining a process of another user.
    AttachOthers Backends "attach-others" true ATTACH_OTHERS FOR_ATTACH_OTHERS;
    /// Page faults by perf events.
    PageFaults Backends "page-faults" true PAGE_FAULTS FOR_PAGE_FAULTS;
    /// BPF programs.
    Bpf Backends "bpf" true BPF_BACKEND FOR_BPF;
    /// One VMA by its address.
    MapQuery Reading "procmap-query" true MAP_QUERY FOR_MAP_QUERY;
    /// Runs of pages.
    PageScan Reading "pagemap-scan" true PAGE_SCAN FOR_PAGE_SCAN;
    /// Guard markers.
    Guards Reading "page-is-guard" true GUARDS FOR_GUARDS;
    /// Page frame numbers and their counts.
    Frames Reading "kpagecount" true FRAMES FOR_FRAMES;
    /// The kernel's own sums.
    Rollup Reading "smaps-rollup" true ROLLUP FOR_ROLLUP;
    /// Soft-dirty bits.
    SoftDirty Reading "soft-dirty" false SOFT_DIRTY FOR_SOFT_DIRTY;
    /// Maps of others.
    OthersMaps Reading "maps-of-others" true OTHERS_MAPS FOR_OTHERS_MAPS;
    /// Processes of others.
    HidePid Reading "hidepid" true HIDEPID FOR_HIDEPID;
    /// Filters that stop for a tracer.
    Seccomp Tracing "seccomp" true SECCOMP FOR_SECCOMP;
    /// System calls told to a tracer.
    SyscallInfo Tracing "ptrace-syscall-info" true SYSCALL_INFO FOR_SYSCALL_INFO;
    /// Comparing tasks.
    Kcmp Tracing "kcmp" true KCMP FOR_KCMP;
    /// Who may trace whom.
    Yama Tracing "yama" true YAMA FOR_YAMA;
    /// Who may open events.
    Paranoid Faults "perf-event-paranoid" true PARANOID FOR_PARANOID;
    /// Touches by the kernel.
    KernelTouches Faults "kernel-touches" true KERNEL_TOUCHES FOR_KERNEL_TOUCHES;
    /// Room for rings.
    Mlock Faults "perf-event-mlock" true MLOCK FOR_MLOCK;
    /// Types of the kernel.
    Btf Bpf "btf" true BTF FOR_BTF;
    /// Tracepoints at the beginning of page faults.
    FaultBegins Bpf "page-fault-tracepoints" true FAULT_BEGINS FOR_FAULT_BEGINS;
    /// BPF without privileges.
    UnprivilegedBpf Bpf "unprivileged-bpf" true UNPRIVILEGED_BPF FOR_UNPRIVILEGED_BPF;
    /// BPF as machine code.
    Jit Bpf "bpf-jit" true JIT FOR_JIT;
    /// What the kernel shows to nobody.
    Lockdown Bpf "lockdown" true LOCKDOWN FOR_LOCKDOWN;
    /// Tracepoints.
    Tracefs Bpf "tracefs" false TRACEFS FOR_TRACEFS;
    /// The version of cgroups.
    Cgroup System "cgroup" true CGROUP FOR_CGROUP;
    /// Handling faults in user space.
    Userfaultfd System "userfaultfd" false USERFAULTFD FOR_USERFAULTFD;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that every thing has a name of its own and stands with its group.
    #[test]
    fn each_is_there_once() {
        let mut ids: Vec<&str> = Item::ALL.iter().map(|item| item.id()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), Item::ALL.len());
        let mut groups: Vec<Group> = Item::ALL.iter().map(|item| item.group()).collect();
        groups.dedup();
        assert_eq!(groups.len(), 6);
    }
}
