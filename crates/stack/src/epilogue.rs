//! The end of a function as a rule: what its code will do from here to its `ret`, where that is a straight line.
//!
//! No guess is in it: the processor will do the same. It tells the caller of code that has no tables (the trampolines of
//! Python's perf support), and of code whose tables do not know that it changes stacks (Go's `systemstack`, which brings
//! every large allocation of Go to the stack of the thread). x86_64 alone; elsewhere such code keeps frame pointers.

use crate::rule::Frame;
use smallvec::SmallVec;
use vmatlas_event::StackEnd;

/// So much code is looked at.
pub(crate) const BYTES: usize = 96;
/// The longest end of a function: so many instructions.
const INSTRUCTIONS: usize = 16;

/// DWARF numbers of what an instruction calls 0 to 15.
const DWARF: [u16; 16] = [0, 2, 1, 3, 7, 6, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15];
const RSP: u16 = 7;
const RBP: u16 = 6;
/// Go keeps its g in r14, and at -8 from the thread's base (Go's ABIInternal).
const G: u16 = 14;
const G_AT: i32 = -8;

/// An instruction that matters for where the caller is. Registers are DWARF's.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Op {
    Load { to: u16, base: u16, offset: i32 },
    LoadG { to: u16 },
    Copy { to: u16, from: u16 },
    Add { to: u16, amount: i32 },
    SubtractLoaded { from: u16, base: u16, offset: i32 },
    Lea { to: u16, base: u16, offset: i32 },
    Pop { to: u16 },
}

/// From a place to its `ret`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Epilogue {
    ops: SmallVec<[Op; 4]>,
    /// Whether it goes on at another stack than it was at.
    pub(crate) changes_stack: bool,
}

/// What can be read: the stack, for a stack pointer, and other memory.
pub(crate) trait Memory {
    /// Eight bytes of a stack whose pointer is `sp`.
    fn stack(&mut self, addr: u64, sp: u64) -> Result<u64, StackEnd>;
    /// Eight bytes elsewhere.
    fn other(&mut self, addr: u64) -> Result<u64, StackEnd>;
}

/// An operand: a register (0 to 15, as encoded) or memory at a register and a distance.
enum Operand {
    Register(u8),
    Memory {
        base: u8,
        offset: i32,
    },
    /// At a distance alone.
    Absolute(i32),
}

struct Code<'a>(&'a [u8]);

impl Code<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    fn short(&mut self) -> Option<i32> {
        Some((self.byte()? as i8).into())
    }

    fn long(&mut self) -> Option<i32> {
        let (bytes, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        Some(i32::from_le_bytes(*bytes))
    }

    /// ModRM with what follows it: the register or opcode in it, and the operand.
    fn operands(&mut self, rex: u8) -> Option<(u8, Operand)> {
        let modrm = self.byte()?;
        let (kind, register, rm) = (modrm >> 6, modrm >> 3 & 7 | (rex & 4) << 1, modrm & 7);
        let high = (rex & 1) << 3;
        if kind == 3 {
            return Some((register, Operand::Register(rm | high)));
        }
        let mut base = rm | high;
        if rm == 4 {
            let sib = self.byte()?;
            // With an index it is no field of a structure.
            if sib >> 3 & 7 != 4 || rex & 2 != 0 {
                return None;
            }
            if kind == 0 && sib & 7 == 5 {
                return Some((register, Operand::Absolute(self.long()?)));
            }
            base = sib & 7 | high;
        } else if kind == 0 && rm == 5 {
            return None;
        }
        let offset = match kind {
            0 => 0,
            1 => self.short()?,
            _ => self.long()?,
        };
        Some((register, Operand::Memory { base, offset }))
    }
}

fn dwarf(register: u8) -> Option<u16> {
    DWARF.get(usize::from(register)).copied()
}

impl Epilogue {
    /// Follows code from its first byte to a `ret`; `None` where it does anything else than moving values, or too long.
    pub(crate) fn of(code: &[u8]) -> Option<Epilogue> {
        if cfg!(not(target_arch = "x86_64")) {
            return None;
        }
        let mut code = Code(code);
        let mut ops = SmallVec::new();
        for _ in 0..INSTRUCTIONS {
            let mut byte = code.byte()?;
            let of_thread = byte == 0x64;
            if of_thread {
                byte = code.byte()?;
            }
            let rex = if byte & 0xf0 == 0x40 { byte } else { 0 };
            if rex != 0 {
                byte = code.byte()?;
            }
            let is_wide = rex & 8 != 0;
            match (byte, is_wide) {
                // ret, alone or with the prefix that old processors liked.
                (0xc3, _) if !of_thread => return Some(Epilogue::new(ops)),
                (0xf3, _) if code.byte()? == 0xc3 && !of_thread => return Some(Epilogue::new(ops)),
                (0x90, _) if rex == 0 => {}
                (0x58..=0x5f, _) => ops.push(Op::Pop { to: dwarf(byte & 7 | (rex & 1) << 3)? }),
                (0xc9, _) => {
                    ops.push(Op::Copy { to: RSP, from: RBP });
                    ops.push(Op::Pop { to: RBP });
                }
                (0x83 | 0x81, true) => {
                    let (what, Operand::Register(to)) = code.operands(rex & !4)? else { return None };
                    let amount = if byte == 0x83 { code.short()? } else { code.long()? };
                    let amount = match what {
                        0 => amount,
                        5 => amount.checked_neg()?,
                        _ => return None,
                    };
                    ops.push(Op::Add { to: dwarf(to)?, amount });
                }
                (0x8b, true) => {
                    let (to, operand) = code.operands(rex)?;
                    let to = dwarf(to)?;
                    ops.push(match operand {
                        Operand::Absolute(G_AT) if of_thread => Op::LoadG { to },
                        _ if of_thread => return None,
                        Operand::Memory { base, offset } => Op::Load { to, base: dwarf(base)?, offset },
                        Operand::Register(from) => Op::Copy { to, from: dwarf(from)? },
                        Operand::Absolute(_) => return None,
                    });
                }
                (0x2b, true) => {
                    let (from, Operand::Memory { base, offset }) = code.operands(rex)? else { return None };
                    ops.push(Op::SubtractLoaded { from: dwarf(from)?, base: dwarf(base)?, offset });
                }
                (0x8d, true) => {
                    let (to, Operand::Memory { base, offset }) = code.operands(rex)? else { return None };
                    ops.push(Op::Lea { to: dwarf(to)?, base: dwarf(base)?, offset });
                }
                (0x89, _) => match code.operands(rex)? {
                    (from, Operand::Register(to)) if is_wide => {
                        ops.push(Op::Copy { to: dwarf(to)?, from: dwarf(from)? });
                    }
                    (_, Operand::Register(_)) => return None,
                    // What is stored is not read again: nothing but a stack and pointers are.
                    _ => {}
                },
                (0xc7, _) => {
                    let (0, Operand::Memory { .. } | Operand::Absolute(_)) = code.operands(rex & !4)? else {
                        return None;
                    };
                    code.long()?;
                }
                _ => return None,
            }
        }
        None
    }

    fn new(ops: SmallVec<[Op; 4]>) -> Epilogue {
        let changes = |op: &Op| match op {
            Op::Load { to, .. } | Op::LoadG { to } => *to == RSP,
            Op::Copy { to, from } => *to == RSP && *from != RBP,
            Op::Lea { to, base, .. } => *to == RSP && ![RSP, RBP].contains(base),
            _ => false,
        };
        Epilogue { changes_stack: ops.iter().any(changes), ops }
    }

    /// Go's `mcall`, after the call in it: what it calls never returns, so here the stack of a thread's scheduler begins.
    pub(crate) fn is_mcall(code: &[u8]) -> bool {
        matches!(code, [0x58, 0xe9, _, _, _, _, 0xc3, ..])
    }

    /// The caller of a frame.
    ///
    /// # Errors
    /// [`StackEnd::NoRule`] where a register is not known, and what reading says.
    pub(crate) fn caller(&self, frame: &Frame, memory: &mut dyn Memory) -> Result<Frame, StackEnd> {
        let mut now = frame.clone();
        let get = |now: &Frame, register| now.register(register).ok_or(StackEnd::NoRule);
        for op in &self.ops {
            let (to, value) = match *op {
                Op::Load { to, base, offset } => {
                    (to, load(memory, &now, base, get(&now, base)?.wrapping_add_signed(offset.into()))?)
                }
                Op::LoadG { to } => (to, get(&now, G)?),
                Op::Copy { to, from } => (to, get(&now, from)?),
                Op::Add { to, amount } => (to, get(&now, to)?.wrapping_add_signed(amount.into())),
                Op::SubtractLoaded { from, base, offset } => {
                    let at = get(&now, base)?.wrapping_add_signed(offset.into());
                    (from, get(&now, from)?.wrapping_sub(load(memory, &now, base, at)?))
                }
                Op::Lea { to, base, offset } => (to, get(&now, base)?.wrapping_add_signed(offset.into())),
                Op::Pop { to } => (to, pop(&mut now, memory)?),
            };
            now.set(to, Some(value));
        }
        now.ip = pop(&mut now, memory)?;
        // Outwards a stack goes up.
        if now.ip == 0 || !self.changes_stack && now.sp() <= frame.sp() {
            return Err(StackEnd::NoRule);
        }
        Ok(now)
    }
}

fn load(memory: &mut dyn Memory, now: &Frame, base: u16, at: u64) -> Result<u64, StackEnd> {
    match now.sp().filter(|_| base == RSP || base == RBP) {
        Some(sp) => memory.stack(at, sp),
        None => memory.other(at),
    }
}

fn pop(now: &mut Frame, memory: &mut dyn Memory) -> Result<u64, StackEnd> {
    let sp = now.sp().ok_or(StackEnd::NoRule)?;
    let value = memory.stack(sp, sp)?;
    now.set(RSP, Some(sp.wrapping_add(8)));
    Ok(value)
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    struct Words;

    impl Memory for Words {
        fn stack(&mut self, addr: u64, _sp: u64) -> Result<u64, StackEnd> {
            Ok(addr + 0x10_0000)
        }

        fn other(&mut self, addr: u64) -> Result<u64, StackEnd> {
            Ok(addr + 0x2000)
        }
    }

    fn caller(code: &[u8]) -> Option<(u64, u64, Option<u64>)> {
        let mut frame = Frame::at(1);
        frame.set(RSP, Some(0x1000));
        frame.set(RBP, Some(0x1100));
        frame.set(G, Some(0xa000));
        let caller = Epilogue::of(code)?.caller(&frame, &mut Words).ok()?;
        Some((caller.ip, caller.sp()?, caller.register(RBP)))
    }

    /// Checks ends of functions against what a processor does: trampolines, leave, saved registers, a changed stack.
    #[test]
    fn ends_of_functions_are_followed() {
        // add $8,%rsp; ret
        assert_eq!(caller(&[0x48, 0x83, 0xc4, 8, 0xc3]), Some((0x10_1008, 0x1010, Some(0x1100))));
        // pop %rbx; pop %r12; pop %rbp; rep ret
        assert_eq!(caller(&[0x5b, 0x41, 0x5c, 0x5d, 0xf3, 0xc3]), Some((0x10_1018, 0x1020, Some(0x10_1010))));
        // leave; ret
        assert_eq!(caller(&[0xc9, 0xc3]), Some((0x10_1108, 0x1110, Some(0x10_1100))));
        // The end of Go's systemstack: g, its m, that one's curg, the stack of that.
        let go = [
            0x64, 0x48, 0x8b, 0x04, 0x25, 0xf8, 0xff, 0xff, 0xff, 0x48, 0x8b, 0x58, 0x30, 0x48, 0x8b, 0x83,
            0xc0, 0, 0, 0, 0x64, 0x48, 0x89, 0x04, 0x25, 0xf8, 0xff, 0xff, 0xff, 0x48, 0x8b, 0x60, 0x38,
            0x48, 0xc7, 0x40, 0x38, 0, 0, 0, 0, 0xc3,
        ];
        let sp = 0xa030 + 0x2000 + 0xc0 + 0x2000 + 0x38 + 0x2000;
        assert_eq!(caller(&go), Some((sp + 0x10_0000, sp + 8, Some(0x1100))));
        assert!(Epilogue::of(&go).unwrap().changes_stack);
        assert!(!Epilogue::of(&[0xc9, 0xc3]).unwrap().changes_stack);
    }

    /// Checks that code which does anything else, is cut, or needs what is not known, is left alone.
    #[test]
    fn other_code_is_left_alone() {
        let others: [&[u8]; 9] = [
            &[],
            &[0x90; BYTES],
            &[0x48, 0x83, 0xc4, 8],
            &[0xe9, 0, 0, 0, 0],
            &[0x74, 2, 0xc3],
            &[0xff, 0xd0, 0xc3],
            // mov (%rax,%rbx),%rsp; mov 8(%rip),%rsp; mov %fs:0,%rsp
            &[0x48, 0x8b, 0x24, 0x18, 0xc3],
            &[0x48, 0x8b, 0x25, 8, 0, 0, 0, 0xc3],
            &[0x64, 0x48, 0x8b, 0x24, 0x25, 0, 0, 0, 0, 0xc3],
        ];
        for code in others {
            assert_eq!(Epilogue::of(code), None, "{code:x?}");
        }
        // rax is not known.
        assert_eq!(caller(&[0x48, 0x89, 0xc4, 0xc3]), None);
        // sub $16,%rsp; ret
        assert_eq!(caller(&[0x48, 0x83, 0xec, 16, 0xc3]), None);
        for code in 0..=0xffffu32 {
            let mut bytes = [0xc3; 16];
            bytes[..2].copy_from_slice(&(code as u16).to_le_bytes());
            caller(&bytes);
        }
    }
}
