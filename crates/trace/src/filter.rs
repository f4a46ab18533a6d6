//! The seccomp filter: which calls stop the program.
//!
//! It looks at the architecture of each call first: a 64-bit program can make 32-bit calls through `int 0x80`, whose
//! numbers mean something else. For most numbers it looks at nothing more, so the kernel can remember that a call is
//! always allowed (kernel/seccomp.c:seccomp_cache_prepare(), Linux 5.11) and skip the program. Only ioctl, prctl,
//! arch_prctl, personality and ipc, of which few calls are of memory, have an argument looked at.

use crate::decode::{ARCH_I386, ARCH_X86_64, Number, Only, X32_BIT, numbers_i386, numbers_x86_64};
use vmatlas_sys::seccomp::{
    AND, Insn, JUMP_EQ, JUMP_GE, LOAD_WORD, OFFSET_ARCH, OFFSET_NR, RET_ALLOW, RET_TRACE, RETURN,
    offset_arg_low,
};

fn op(code: u16, k: u32) -> Insn {
    Insn { code, jt: 0, jf: 0, k }
}

/// Builds the filter that stops a program at its memory calls, of both architectures, and lets everything else run.
pub fn memory_calls() -> Vec<Insn> {
    let mut program = vec![op(LOAD_WORD, OFFSET_ARCH)];
    let blocks =
        [(ARCH_X86_64, numbers_x86_64().collect::<Vec<Number>>()), (ARCH_I386, numbers_i386().collect())];
    for (arch, numbers) in blocks {
        let block = block(&numbers, arch == ARCH_X86_64);
        program.push(Insn { code: JUMP_EQ, jt: 0, jf: block.len() as u8, k: arch });
        program.extend(block);
    }
    // An architecture we do not know: stop, and have the map read again.
    program.push(op(RETURN, RET_TRACE));
    program
}

/// The part for one architecture: its end is never reached.
fn block(numbers: &[Number], is_x86_64: bool) -> Vec<Insn> {
    let whole: Vec<u32> = numbers.iter().filter(|n| n.only.is_none()).map(|n| n.nr).collect();
    let mut rest: Vec<Insn> = Vec::new();
    for Number { nr, only } in numbers {
        if let Some(only) = only {
            let test = test(*only);
            rest.push(Insn { code: JUMP_EQ, jt: 0, jf: test.len() as u8, k: *nr });
            rest.extend(test);
        }
    }
    rest.push(op(RETURN, RET_ALLOW));
    // Calls that always stop come first and jump over the others, to the last instruction.
    let mut left = whole.len() + usize::from(is_x86_64);
    let mut jump = |code, k| {
        left -= 1;
        Insn { code, jt: (left + rest.len()) as u8, jf: 0, k }
    };
    let mut block = vec![op(LOAD_WORD, OFFSET_NR)];
    if is_x86_64 {
        // From here on numbers are x32 calls, which share the architecture.
        block.push(jump(JUMP_GE, X32_BIT));
    }
    block.extend(whole.iter().map(|nr| jump(JUMP_EQ, *nr)));
    block.extend(rest);
    block.push(op(RETURN, RET_TRACE));
    block
}

/// Looks at the argument that says whether a call is of memory, and returns.
fn test(only: Only) -> Vec<Insn> {
    let (arg, mask, values, verdicts) = match only {
        Only::When { arg, mask, values } => (arg, mask, values, [RET_ALLOW, RET_TRACE]),
        Only::Unless { arg, ref value } => {
            (arg, u32::MAX, std::slice::from_ref(value), [RET_TRACE, RET_ALLOW])
        }
    };
    let mut test = vec![op(LOAD_WORD, offset_arg_low(arg))];
    if mask != u32::MAX {
        test.push(op(AND, mask));
    }
    // A match jumps over the tests that are left and the first verdict.
    test.extend(values.iter().rev().enumerate().rev().map(|(left, value)| Insn {
        code: JUMP_EQ,
        jt: left as u8 + 1,
        jf: 0,
        k: *value,
    }));
    test.extend(verdicts.map(|verdict| op(RETURN, verdict)));
    test
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the program as the kernel does (Documentation/networking/filter.rst).
    fn verdict(arch: u32, nr: u32, args: [u32; 2]) -> u32 {
        let program = memory_calls();
        let (mut at, mut acc) = (0, 0);
        loop {
            let insn = program[at];
            at += 1;
            let jump = |yes: bool| usize::from(if yes { insn.jt } else { insn.jf });
            match insn.code {
                LOAD_WORD if insn.k == OFFSET_ARCH => acc = arch,
                LOAD_WORD if insn.k == OFFSET_NR => acc = nr,
                LOAD_WORD => acc = args[((insn.k - 16) / 8) as usize],
                AND => acc &= insn.k,
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
        let stops = |is_marked: bool| if is_marked { RET_TRACE } else { RET_ALLOW };
        // An argument that no call is of memory for, and those that some are.
        for args in
            [[0xffff_ffff, 0], [21, 0], [0x5356_4d41, 1], [3, 0xc020_aa00], [0x2003, 0], [0x1_0016, 0]]
        {
            let wide = [u64::from(args[0]), u64::from(args[1]), 0, 0, 0, 0];
            let is_marked = |n: Number, nr| n.nr == nr && n.only.is_none_or(|only| only.is_met(wide));
            for nr in 0..1000 {
                let x86_64 = numbers_x86_64().any(|n| is_marked(n, nr));
                let i386 = numbers_i386().any(|n| is_marked(n, nr));
                assert_eq!(verdict(ARCH_X86_64, nr, args), stops(x86_64), "{nr} {args:x?}");
                assert_eq!(verdict(ARCH_I386, nr, args), stops(i386), "{nr} {args:x?}");
            }
        }
        assert_eq!(verdict(ARCH_X86_64, 16, [0, 0x5401]), RET_ALLOW);
        assert_eq!(verdict(ARCH_X86_64, 16, [0, 0xc020_aa00]), RET_TRACE);
        assert_eq!(verdict(ARCH_X86_64, X32_BIT | 9, [0; 2]), RET_TRACE);
        assert_eq!(verdict(0x1234, 1, [0; 2]), RET_TRACE);
    }
}
