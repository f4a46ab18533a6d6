//! The seccomp filter: which calls stop the program.
//!
//! It looks at the architecture of each call first: a 64-bit program can make 32-bit calls through `int 0x80`, whose
//! numbers mean something else. It looks at nothing but architecture and number, so the kernel can remember per number
//! that a call is always allowed (kernel/seccomp.c:seccomp_cache_prepare(), Linux 5.11) and skip the program.

use crate::decode::{ARCH_I386, ARCH_X86_64, X32_BIT, numbers_i386, numbers_x86_64};
use vmatlas_sys::seccomp::{
    Insn, JUMP_EQ, JUMP_GE, LOAD_WORD, OFFSET_ARCH, OFFSET_NR, RET_ALLOW, RET_TRACE, RETURN,
};

/// Builds the filter that stops a program at its memory calls, of both architectures, and lets everything else run.
pub fn memory_calls() -> Vec<Insn> {
    let op = |code, k| Insn { code, jt: 0, jf: 0, k };
    let mut program = vec![op(LOAD_WORD, OFFSET_ARCH)];
    let blocks =
        [(ARCH_X86_64, numbers_x86_64().collect::<Vec<u32>>()), (ARCH_I386, numbers_i386().collect())];
    for (arch, numbers) in blocks {
        let is_x86_64 = arch == ARCH_X86_64;
        // The block: load the number, one jump for each call, allow, trace.
        let jumps = numbers.len() + usize::from(is_x86_64);
        let block = 1 + jumps + 2;
        program.push(Insn { code: JUMP_EQ, jt: 0, jf: block as u8, k: arch });
        program.push(op(LOAD_WORD, OFFSET_NR));
        let mut left = jumps;
        let mut jump = |code, k| {
            // Over the jumps that are left and the `allow`.
            let insn = Insn { code, jt: left as u8, jf: 0, k };
            left -= 1;
            insn
        };
        if is_x86_64 {
            // From here on numbers are x32 calls, which share the architecture.
            program.push(jump(JUMP_GE, X32_BIT));
        }
        program.extend(numbers.iter().map(|nr| jump(JUMP_EQ, *nr)));
        program.push(op(RETURN, RET_ALLOW));
        program.push(op(RETURN, RET_TRACE));
    }
    // An architecture we do not know: stop, and have the map read again.
    program.push(op(RETURN, RET_TRACE));
    program
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the program as the kernel does (Documentation/networking/filter.rst).
    fn verdict(arch: u32, nr: u32) -> u32 {
        let program = memory_calls();
        let (mut at, mut acc) = (0, 0);
        loop {
            let insn = program[at];
            at += 1;
            let jump = |yes: bool| usize::from(if yes { insn.jt } else { insn.jf });
            match insn.code {
                LOAD_WORD if insn.k == OFFSET_ARCH => acc = arch,
                LOAD_WORD if insn.k == OFFSET_NR => acc = nr,
                JUMP_EQ => at += jump(acc == insn.k),
                JUMP_GE => at += jump(acc >= insn.k),
                RETURN => return insn.k,
                code => panic!("unexpected {code:#x}"),
            }
        }
    }

    /// Checks every number of both architectures, x32 and an unknown architecture.
    #[test]
    fn memory_calls_stop_and_others_do_not() {
        for nr in 0..1000 {
            let stops = |is_marked: bool| if is_marked { RET_TRACE } else { RET_ALLOW };
            assert_eq!(verdict(ARCH_X86_64, nr), stops(numbers_x86_64().any(|n| n == nr)), "{nr}");
            assert_eq!(verdict(ARCH_I386, nr), stops(numbers_i386().any(|n| n == nr)), "{nr}");
        }
        assert_eq!(verdict(ARCH_X86_64, X32_BIT | 9), RET_TRACE);
        assert_eq!(verdict(0x1234, 1), RET_TRACE);
    }
}
