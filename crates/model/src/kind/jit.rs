//! Code made at run time: executable memory without a file, and the address space kept for it.

use super::facts::{Facts, FileKey};
use super::sheet::{Sheet, size};
use super::{Confidence, Kind, Why};
use vmatlas_event::Prot;

/// Inaccessible rows up to this size may guard a stack above instead.
const SMALL: u64 = 64 << 10;

/// Claims executable private memory and what surrounds it.
///
/// HotSpot reserves its code cache at once and commits each code heap from its start (code/codeCache.cpp:
/// CodeCache::initialize_heaps()). V8 reserves a code range of up to 512 MiB (heap/code-range.cc:
/// CodeRange::InitReservation()), remaps its builtins from the program's own file into it, and keeps a writable header
/// and a guard page before the first code page.
pub(super) fn code(sheet: &mut Sheet<'_>, facts: &Facts<'_>) {
    let around = if facts.jvm || facts.v8 { Confidence::Evidence } else { Confidence::Guess };
    let mut at = 0;
    while at < sheet.rows.len() {
        if !sheet.open(at).is_some_and(|row| row.prot.has(Prot::EXEC)) {
            at += 1;
            continue;
        }
        sheet.claim(at, Kind::Jit, Confidence::Evidence, Why::Executable);
        if facts.v8 {
            header(sheet, at, around);
        }
        at += 1;
        while sheet.touches_previous(at) {
            if sheet.open_with(at, Prot::NONE).is_some() {
                if guards_a_stack(sheet, at) {
                    break;
                }
                sheet.claim(at, Kind::Jit, around, Why::AroundExecutable);
            } else if !is_builtins(sheet, at, facts) {
                break;
            }
            at += 1;
        }
    }
}

/// Claims the header and guard page before V8's first code page: `rw`, `---`, then code.
fn header(sheet: &mut Sheet<'_>, code: usize, confidence: Confidence) {
    const CODE_RANGE_ALIGNMENT: u64 = 256 << 10;
    let Some(first) = code.checked_sub(2) else { return };
    let fits = |at: usize, prot: Prot| {
        sheet.touches_previous(at + 1) && sheet.open_with(at, prot).is_some_and(|row| size(row) <= SMALL)
    };
    let aligned = sheet.rows[first].range.start().0.is_multiple_of(CODE_RANGE_ALIGNMENT);
    if aligned && fits(first, Prot::RW) && fits(first + 1, Prot::NONE) {
        sheet.claim(first, Kind::Jit, confidence, Why::AroundExecutable);
        sheet.claim(first + 1, Kind::Jit, confidence, Why::AroundExecutable);
    }
}

fn guards_a_stack(sheet: &Sheet<'_>, at: usize) -> bool {
    size(&sheet.rows[at]) <= SMALL
        && sheet.touches_previous(at + 1)
        && sheet.open_with(at + 1, Prot::RW).is_some_and(|row| size(row) > SMALL)
}

/// Whether row `at` is a second mapping of the program inside the reserve: V8's embedded builtins.
fn is_builtins(sheet: &Sheet<'_>, at: usize, facts: &Facts<'_>) -> bool {
    facts.v8 && sheet.kind(at) == Some(Kind::Image) && FileKey::of(&sheet.rows[at]) == facts.program
}

#[cfg(test)]
mod tests {
    use super::super::tests::kinds;
    use super::*;
    use Kind::{Anonymous, Guard, Image, Jit, Reserved, ThreadStack};

    /// Checks that executable memory is code with its reserve, up to the guard of a stack.
    #[test]
    fn code_takes_its_reserve_but_no_guard() {
        let cache = "10000-20000 rwxp 0 00:00 0\n20000-90000 ---p 0 00:00 0\n90000-a0000 r-xp 0 00:00 0\n\
                     b0000-c0000 ---p 0 00:00 0\n";
        assert_eq!(kinds(cache), [Jit, Jit, Jit, Reserved]);
        let stack = "10000-20000 r-xp 0 00:00 0\n20000-21000 ---p 0 00:00 0\n21000-821000 rw-p 0 00:00 0\n";
        assert_eq!(kinds(stack), [Jit, Guard, ThreadStack]);
    }

    /// Checks V8's code range: header, guard, code, reserve, builtins, reserve; and that only V8 has one.
    #[test]
    fn a_code_range_of_v8() {
        let range = |program: &str| {
            format!(
                "1000-2000 r-xp 0 08:01 7 {program}\n7f0000000000-7f0000002000 rw-p 0 00:00 0\n\
                 7f0000002000-7f0000003000 ---p 0 00:00 0\n7f0000003000-7f000003f000 rwxp 0 00:00 0\n\
                 7f000003f000-7f001fe40000 ---p 0 00:00 0\n7f001fe40000-7f001ffd2000 r-xp 0 08:01 7 {program}\n\
                 7f001ffd2000-7f0020000000 ---p 0 00:00 0\n"
            )
        };
        assert_eq!(kinds(&range("/usr/bin/node")), [Image, Jit, Jit, Jit, Jit, Image, Jit]);
        assert_eq!(kinds(&range("/usr/bin/other")), [Image, Anonymous, Guard, Jit, Jit, Image, Reserved]);
    }
}
