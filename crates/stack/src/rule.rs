//! How the caller's registers are found from the callee's, at one place of a file.

use crate::arch::{NATIVE, REGISTERS};
use crate::epilogue::Epilogue;
use gimli::{CfaRule, EvaluationResult, LittleEndian, Location, RegisterRule, UnwindTableRow, Value};
use smallvec::SmallVec;
use std::sync::Arc;
use vmatlas_event::{Registers, StackEnd};

/// A file's expression may take so many steps.
const STEPS: u32 = 512;

/// What there is to do at a place.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Rule {
    /// The tables tell.
    Told(Box<Told>),
    /// The code itself tells: it goes straight to its end.
    Code(Box<Epilogue>),
    /// There is no caller: the tables say that the return address is undefined, or the program starts here.
    Outermost,
    /// No table has this place.
    Missing,
}

/// The rules of one row of the tables.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Told {
    cfa: Cfa,
    /// Registers with a rule of their own; others are kept or lost by the convention of calls.
    saved: SmallVec<[(u8, Saved); 6]>,
    /// Whether this is the frame between a signal handler and what the signal interrupted.
    pub(crate) is_signal: bool,
}

/// Where the frame is: the canonical frame address.
#[derive(Clone, Debug, PartialEq)]
enum Cfa {
    At { register: u8, offset: i64 },
    Expression(Box<Expression>),
}

/// Where a register of the caller is.
#[derive(Clone, Debug, PartialEq)]
enum Saved {
    Lost,
    Kept,
    In(u8),
    AtCfa(i64),
    CfaPlus(i64),
    At(Box<Expression>),
    Is(Box<Expression>),
}

/// A DWARF expression, copied out of its file.
#[derive(Clone, Debug, PartialEq)]
struct Expression {
    bytes: Arc<[u8]>,
    encoding: gimli::Encoding,
}

/// The registers of one frame; of an outer one only those are known that callees kept.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) ip: u64,
    values: [u64; REGISTERS],
    /// Bit N: register N is known.
    known: u32,
}

impl Frame {
    /// The innermost one.
    pub(crate) fn innermost(registers: &Registers) -> Frame {
        let mut frame = Frame::at(registers.ip.0);
        for (number, value) in (0u16..).zip(registers.general).take(REGISTERS) {
            frame.set(number, Some(value));
        }
        frame
    }

    /// One of which nothing is known but the place.
    pub(crate) fn at(ip: u64) -> Frame {
        Frame { ip, values: [0; REGISTERS], known: 0 }
    }

    pub(crate) fn register(&self, number: u16) -> Option<u64> {
        let is_known = number < 32 && self.known & 1 << number != 0;
        self.values.get(usize::from(number)).copied().filter(|_| is_known)
    }

    pub(crate) fn set(&mut self, number: u16, value: Option<u64>) {
        let Some(slot) = self.values.get_mut(usize::from(number)) else { return };
        match value {
            Some(value) => (*slot, self.known) = (value, self.known | 1 << number),
            None => self.known &= !(1 << number),
        }
    }

    pub(crate) fn sp(&self) -> Option<u64> {
        self.register(NATIVE.sp)
    }
}

/// Reads eight bytes of the stack.
pub(crate) type ReadWord<'a> = dyn FnMut(u64) -> Result<u64, StackEnd> + 'a;

impl Told {
    /// Copies what a row says; `get` gives the bytes of an expression. `None` where it says what no unwinder can do.
    pub(crate) fn of_row(
        row: &UnwindTableRow<usize>,
        encoding: gimli::Encoding,
        ra: u16,
        is_signal: bool,
        get: impl Fn(gimli::UnwindExpression<usize>) -> Option<Arc<[u8]>>,
    ) -> Option<Rule> {
        let expression =
            |e: gimli::UnwindExpression<usize>| Some(Box::new(Expression { bytes: get(e)?, encoding }));
        let cfa = match row.cfa() {
            CfaRule::RegisterAndOffset { register, offset } => {
                Cfa::At { register: number(*register)?, offset: *offset }
            }
            CfaRule::Expression(e) => Cfa::Expression(expression(*e)?),
        };
        let mut saved = SmallVec::new();
        for (register, rule) in row.registers() {
            // Vector registers and the like tell no caller.
            let Some(of) = number(*register) else { continue };
            let rule = match rule {
                RegisterRule::Undefined => Saved::Lost,
                RegisterRule::SameValue => Saved::Kept,
                RegisterRule::Offset(offset) => Saved::AtCfa(*offset),
                RegisterRule::ValOffset(offset) => Saved::CfaPlus(*offset),
                RegisterRule::Register(from) => Saved::In(number(*from)?),
                RegisterRule::Expression(e) => Saved::At(expression(*e)?),
                RegisterRule::ValExpression(e) => Saved::Is(expression(*e)?),
                _ => continue,
            };
            if u16::from(of) == ra && rule == Saved::Lost {
                return Some(Rule::Outermost);
            }
            saved.push((of, rule));
        }
        Some(Rule::Told(Box::new(Told { cfa, saved, is_signal })))
    }

    /// The rule of a signal's frame where no table has it: the registers lie in a `struct ucontext` at the stack pointer.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn signal_frame() -> Option<Rule> {
        // Linux `struct sigcontext` of x86_64, 40 bytes into the ucontext: r8 to r15, rdi, rsi, rbp, rbx, rdx, rax, rcx,
        // rsp, rip. All are found from the stack pointer, so it is the frame address here.
        const ORDER: [u8; 17] = [8, 9, 10, 11, 12, 13, 14, 15, 5, 4, 6, 3, 1, 0, 2, 7, 16];
        let at = |i: usize| Saved::AtCfa(40 + 8 * i as i64);
        let saved = ORDER.iter().enumerate().map(|(i, register)| (*register, at(i))).collect();
        let cfa = Cfa::At { register: 7, offset: 0 };
        Some(Rule::Told(Box::new(Told { cfa, saved, is_signal: true })))
    }

    /// Not known here.
    #[cfg(not(target_arch = "x86_64"))]
    pub(crate) fn signal_frame() -> Option<Rule> {
        None
    }

    /// The caller of `frame`.
    ///
    /// # Errors
    /// Why there is none: [`StackEnd::Start`] where the return address is 0.
    pub(crate) fn caller(&self, frame: &Frame, read: &mut ReadWord<'_>) -> Result<Frame, StackEnd> {
        let cfa = match &self.cfa {
            Cfa::At { register, offset } => {
                let base = frame.register((*register).into()).ok_or(StackEnd::NoRule)?;
                base.wrapping_add_signed(*offset)
            }
            Cfa::Expression(e) => e.value(frame, None, read)?,
        };
        let mut caller = Frame { ip: 0, values: frame.values, known: frame.known & NATIVE.kept };
        caller.set(NATIVE.sp, Some(cfa));
        for (register, saved) in &self.saved {
            let value = match saved {
                Saved::Lost => None,
                Saved::Kept => frame.register((*register).into()),
                Saved::In(from) => frame.register((*from).into()),
                Saved::AtCfa(offset) => Some(read(cfa.wrapping_add_signed(*offset))?),
                Saved::CfaPlus(offset) => Some(cfa.wrapping_add_signed(*offset)),
                Saved::At(e) => {
                    let at = e.value(frame, Some(cfa), read)?;
                    Some(read(at)?)
                }
                Saved::Is(e) => Some(e.value(frame, Some(cfa), read)?),
            };
            caller.set((*register).into(), value);
        }
        caller.ip = caller.register(NATIVE.ra).ok_or(StackEnd::NoRule)? & NATIVE.address;
        if caller.ip == 0 {
            return Err(StackEnd::Start);
        }
        // Outwards a stack goes up. A signal may have come in on another one.
        if !self.is_signal && (caller.sp() <= frame.sp() && !(NATIVE.ra_is_register && caller.ip != frame.ip))
        {
            return Err(StackEnd::NoRule);
        }
        Ok(caller)
    }
}

/// A register that we keep.
fn number(register: gimli::Register) -> Option<u8> {
    u8::try_from(register.0).ok().filter(|number| usize::from(*number) < REGISTERS)
}

impl Expression {
    fn value(&self, frame: &Frame, first: Option<u64>, read: &mut ReadWord<'_>) -> Result<u64, StackEnd> {
        let no = |_| StackEnd::NoRule;
        let code = gimli::EndianSlice::new(&self.bytes, LittleEndian);
        let mut evaluation = gimli::Expression(code).evaluation(self.encoding);
        evaluation.set_max_iterations(STEPS);
        if let Some(first) = first {
            evaluation.set_initial_value(first);
        }
        let mut state = evaluation.evaluate().map_err(no)?;
        loop {
            state = match state {
                EvaluationResult::Complete => break,
                EvaluationResult::RequiresMemory { address, size, .. } => {
                    let word = read(address)?;
                    let mask = if size >= 8 { u64::MAX } else { (1 << (u32::from(size) * 8)) - 1 };
                    evaluation.resume_with_memory(Value::Generic(word & mask)).map_err(no)?
                }
                EvaluationResult::RequiresRegister { register, .. } => {
                    let value = if register.0 == NATIVE.ra && !NATIVE.ra_is_register {
                        frame.ip
                    } else {
                        frame.register(register.0).ok_or(StackEnd::NoRule)?
                    };
                    evaluation.resume_with_register(Value::Generic(value)).map_err(no)?
                }
                _ => return Err(StackEnd::NoRule),
            };
        }
        let result = evaluation.result();
        match result.first().map(|piece| &piece.location) {
            Some(Location::Address { address }) => Ok(*address),
            Some(Location::Value { value: Value::Generic(value) }) => Ok(*value),
            _ => Err(StackEnd::NoRule),
        }
    }
}
