//! What the unwinder must know of the machine: register numbers, what a callee keeps, what a call looks like.
//!
//! Sources: System V ABI, AMD64 supplement (3.2.1, 3.6.2); DWARF for the Arm 64-bit architecture.

/// The machine's registers and habits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arch {
    /// `e_machine` of its files.
    pub(crate) machine: u16,
    /// DWARF number of the stack pointer.
    pub(crate) sp: u16,
    /// DWARF number of the frame pointer.
    pub(crate) fp: u16,
    /// DWARF number of the column that return addresses are given in.
    pub(crate) ra: u16,
    /// Bit N: a callee gives register N back as it was, where its rules say nothing of it.
    pub(crate) kept: u32,
    /// Whether `ra` is a register of the machine, which holds the return address until it is saved.
    pub(crate) ra_is_register: bool,
    /// The bits of a return address that are address: pointer authentication uses others.
    pub(crate) address: u64,
    /// The code a signal handler returns to.
    trampoline: &'static [u8],
}

/// So many registers have to do with finding callers, by their DWARF numbers.
#[cfg(target_arch = "x86_64")]
pub(crate) const REGISTERS: usize = 17;
/// So many registers have to do with finding callers, by their DWARF numbers.
#[cfg(target_arch = "aarch64")]
pub(crate) const REGISTERS: usize = 32;

/// rbx, rbp, rsp and r12 to r15 are the caller's.
#[cfg(target_arch = "x86_64")]
pub(crate) const NATIVE: Arch = Arch {
    machine: 62,
    sp: 7,
    fp: 6,
    ra: 16,
    kept: 1 << 3 | 1 << 6 | 1 << 7 | 0b1111 << 12,
    ra_is_register: false,
    address: u64::MAX,
    // mov $15,%rax; syscall
    trampoline: &[0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05],
};

/// x19 to x29 and sp are the caller's; x30 is where a call leaves the return address.
#[cfg(target_arch = "aarch64")]
pub(crate) const NATIVE: Arch = Arch {
    machine: 183,
    sp: 31,
    fp: 29,
    ra: 30,
    kept: 0b111_1111_1111 << 19 | 1 << 30 | 1 << 31,
    ra_is_register: true,
    address: (1 << 48) - 1,
    // mov x8,#139; svc #0
    trampoline: &[0x68, 0x11, 0x80, 0xd2, 0x01, 0, 0, 0xd4],
};

impl Arch {
    /// Whether code begins as the return from a signal handler does.
    pub(crate) fn is_trampoline(&self, code: &[u8]) -> bool {
        code.starts_with(self.trampoline)
    }

    /// So much code tells a trampoline.
    pub(crate) const TRAMPOLINE_BYTES: usize = 9;
    /// So much code tells a call.
    pub(crate) const CALL_BYTES: usize = 7;

    /// Whether the last beginning of a function in some code sets the frame pointer; `None` where there is none.
    pub(crate) fn sets_frame_pointer(&self, code: &[u8]) -> Option<bool> {
        if self.ra_is_register {
            // stp x29, x30, [sp, ...]!; frame records are all but obligatory there.
            return Some(true);
        }
        // push %rbp, or its register saved as `sub $n,%rsp; mov %rbp,m(%rsp)` does; what follows tells.
        // Elsewhere that is a beginning behind the end of a function or what lies between two.
        let is_first = |at: usize| match code.get(..at).unwrap_or_default() {
            [.., 0xc3 | 0xcc | 0x90] => true,
            before => before.ends_with(&[0; 8]),
        };
        let beginning = |at: usize| match code.get(at..)? {
            [0x55, 0x48, 0x89, 0xe5, ..] | [0x55, 0x48, 0x8b, 0xec, ..] => Some(true),
            [0x55, 0x48, 0x83 | 0x81, 0xec, ..] => Some(false),
            [0x48, 0x83, 0xec, _, 0x48, 0x89, 0x6c, 0x24, ..] => Some(false),
            [0x48, 0x81, 0xec, _, _, _, _, 0x48, 0x89, 0x6c | 0xac, 0x24, ..] => Some(false),
            [0x48, 0x83 | 0x81, 0xec, ..] if is_first(at) => Some(false),
            _ => None,
        };
        (0..code.len()).rev().find_map(beginning)
    }

    /// Whether code ends in a call, so that what follows can be a place to return to.
    pub(crate) fn ends_in_call(&self, code: &[u8]) -> bool {
        let back = |n: usize| code.len().checked_sub(n).and_then(|at| code.get(at)).copied();
        if self.ra_is_register {
            // bl, or blr.
            let word = [4, 3, 2, 1].map(|n| back(n).unwrap_or(0));
            let word = u32::from_le_bytes(word);
            return word >> 26 == 0b100101 || word & 0xffff_fc1f == 0xd63f_0000;
        }
        // call rel32, or call r/m64 (opcode ff /2) with its displacements.
        let is_indirect = |n: usize| back(n) == Some(0xff) && back(n - 1).is_some_and(|m| m >> 3 & 7 == 2);
        back(5) == Some(0xe8) || [2, 3, 4, 6, 7].into_iter().any(is_indirect)
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    /// Checks that the nearest beginning of a function counts.
    #[test]
    fn beginnings_are_told() {
        let (with, without) = ([0x55, 0x48, 0x89, 0xe5], [0x55, 0x48, 0x83, 0xec, 0x20]);
        let saved = [0x48, 0x83, 0xec, 0x18, 0x48, 0x89, 0x6c, 0x24, 0x10];
        assert_eq!(NATIVE.sets_frame_pointer(&[&without[..], &with, &[0x90; 100]].concat()), Some(true));
        let bare = [0x48, 0x83, 0xec, 8, 0xff, 0xd7];
        assert_eq!(NATIVE.sets_frame_pointer(&[&with[..], &[0x57], &bare].concat()), Some(true));
        let behind = |before: &[u8]| [&with[..], before, &bare].concat();
        for other in [behind(&[0xc3]), behind(&[0xcc]), behind(&[0; 8])] {
            assert_eq!(NATIVE.sets_frame_pointer(&other), Some(false), "{other:x?}");
        }
        for other in [&[&with[..], &without].concat()[..], &[&with[..], &saved].concat()] {
            assert_eq!(NATIVE.sets_frame_pointer(other), Some(false), "{other:x?}");
        }
        for other in [&[0x90; 9][..], &[]] {
            assert_eq!(NATIVE.sets_frame_pointer(other), None, "{other:x?}");
        }
    }

    /// Checks that each form of a call is known, and that what is none is not taken for one.
    #[test]
    fn calls_are_told() {
        let calls: [&[u8]; 6] = [
            &[0xe8, 1, 2, 3, 4],
            &[0xff, 0xd0],
            &[0x41, 0xff, 0xd4],
            &[0xff, 0x15, 1, 2, 3, 4],
            &[0xff, 0x54, 0x24, 0x08],
            &[0xff, 0x94, 0xc0, 1, 2, 3, 4],
        ];
        for call in calls {
            assert!(NATIVE.ends_in_call(call), "{call:x?}");
        }
        for other in [&[0x90; 7][..], &[0xff, 0xe0], &[], &[0xe8, 1, 2, 3]] {
            assert!(!NATIVE.ends_in_call(other), "{other:x?}");
        }
    }
}
