//! Where the kernel's labels are missing, as in a core file: what the auxiliary vector tells instead.

use super::facts::{Facts, FileKey};
use super::sheet::{Sheet, is_plain, size};
use super::{Confidence, Evidence, Kind, Why};
use vmatlas_event::{Addr, Prot};

/// Where the kernel put what it would label, by the auxiliary vector (getauxval(3)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unlabelled {
    /// In the vdso (AT_SYSINFO_EHDR).
    pub vdso: Option<Addr>,
    /// In the first thread's stack (AT_EXECFN).
    pub main_stack: Option<Addr>,
}

/// The data pages of the vdso lie directly below it (arch/x86/entry/vdso/vma.c: 4 pages of vvar, 2 of its clocks).
const VVAR: u64 = 64 << 10;
/// The most that the kernel leaves between a program and its brk heap (arch_randomize_brk(): 32 MiB, on arm64 1 GiB).
const BRK_GAP: u64 = 1 << 30;
/// x86_64's page of old system calls.
const VSYSCALL: Addr = Addr(0xffff_ffff_ff60_0000);

/// Claims vdso, its data, and the first thread's stack.
pub(super) fn kernels_own(sheet: &mut Sheet<'_>, evidence: &Evidence) {
    let Some(told) = evidence.unlabelled else { return };
    if let Some(at) = told.main_stack.and_then(|addr| holder(sheet, addr))
        && sheet.open(at).is_some_and(|row| row.prot.has(Prot::RW))
    {
        sheet.claim(at, Kind::MainStack, Confidence::Evidence, Why::AuxVector);
    }
    if let Some(vdso) = told.vdso.and_then(|addr| holder(sheet, addr))
        && sheet.open(vdso).is_some()
    {
        sheet.claim(vdso, Kind::Kernel, Confidence::Evidence, Why::AuxVector);
        let mut at = vdso;
        while sheet.touches_previous(at)
            && sheet.open_with(at - 1, Prot::READ).is_some_and(|r| size(r) <= VVAR)
        {
            at -= 1;
            sheet.claim(at, Kind::Kernel, Confidence::Guess, Why::BelowVdso);
        }
    }
    if let Some(at) = holder(sheet, VSYSCALL)
        && sheet.open(at).is_some()
    {
        sheet.claim(at, Kind::Kernel, Confidence::Evidence, Why::Vsyscall);
    }
}

/// Claims what lies where the brk heap does: the first writable memory above the program, before any other image.
pub(super) fn heap(sheet: &mut Sheet<'_>, facts: &Facts<'_>, evidence: &Evidence) {
    if evidence.unlabelled.is_none() || !facts.told {
        return;
    }
    let of_program = |at: &usize| FileKey::of(&sheet.rows[*at]).is_some_and(|key| Some(key) == facts.program);
    let Some(last) = (0..sheet.rows.len()).rev().find(of_program) else { return };
    let end = sheet.rows[last].range.end();
    let above = last + 1..sheet.rows.len();
    let Some(at) =
        above.into_iter().find(|at| sheet.kind(*at) != Some(Kind::Image) || !is_plain(&sheet.rows[*at]))
    else {
        return;
    };
    if sheet.open_with(at, Prot::RW).is_some_and(|row| row.range.start().0 - end.0 <= BRK_GAP) {
        sheet.claim(at, Kind::Heap, Confidence::Guess, Why::AboveProgram);
        // mlock(2), madvise(2) and prctl(2) split it.
        let mut next = at + 1;
        while sheet.touches_previous(next) && sheet.open_with(next, Prot::RW).is_some() {
            sheet.claim(next, Kind::Heap, Confidence::Guess, Why::AboveProgram);
            next += 1;
        }
    }
}

fn holder(sheet: &Sheet<'_>, addr: Addr) -> Option<usize> {
    let at = sheet.rows.partition_point(|row| row.range.end() <= addr);
    sheet.rows.get(at).is_some_and(|row| row.range.contains(addr)).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{kinds, kinds_of, parse};
    use super::*;
    use Kind::{Anonymous, Heap, Image, Kernel, MainStack};
    use vmatlas_event::PageSize;

    const CORE: &str = "10000-11000 r-xp 0 00:00 0 /bin/a\n11000-12000 rw-p 0 00:00 0 /bin/a\n12000-13000 rw-p 0 00:00 0\n\
        20000-31000 rw-p 0 00:00 0\n31000-41000 rw-p 0 00:00 0\n7f0000-7f2000 rw-p 0 00:00 0\n7f5000-7f6000 rw-p 0 00:00 0\n\
        7f7000-7fb000 r--p 0 00:00 0\n7fb000-7fd000 r-xp 0 00:00 0\n";

    /// Checks that the auxiliary vector stands in for labels, and that without it nothing is claimed.
    #[test]
    fn the_auxiliary_vector_stands_in_for_labels() {
        let mut evidence = Evidence::none(PageSize::FOUR_KIB);
        evidence.exe_path = b"/bin/a".to_vec();
        let told = Unlabelled { vdso: Some(Addr(0x7f_b000)), main_stack: Some(Addr(0x7f_5ff0)) };
        evidence.unlabelled = Some(told);
        assert_eq!(
            kinds_of(&parse(CORE), &evidence),
            [Image, Image, Image, Heap, Heap, Anonymous, MainStack, Kernel, Kernel]
        );
        assert!(!kinds(CORE).iter().any(|kind| matches!(kind, Heap | MainStack | Kernel)));
        evidence.unlabelled =
            Some(Unlabelled { vdso: Some(Addr(0x1_0000)), main_stack: Some(Addr(u64::MAX)) });
        assert!(!kinds_of(&parse(CORE), &evidence).iter().any(|kind| matches!(kind, MainStack | Kernel)));
    }
}
