//! The stacks of calls, as the programs tell them: `bpf/stack.h` has the same layouts.

use vmatlas_event::{Addr, Registers, StackFrom, Unwinding};

/// `enum` of `stack.h`: what is taken.
const NONE: u32 = 0;
const CHAIN: u32 = 1;
const COPY: u32 = 2;
/// `TOP_BYTES`: where a chain begins.
const TOP: usize = 128;
/// `STACK_REGISTERS`: those with DWARF numbers, then the instruction pointer.
const REGISTERS: usize = 17;

/// The stack of a thread when its call returned, or when it touched a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallStack {
    /// Its registers.
    pub registers: Registers,
    /// Some bytes from the stack pointer (rounded down to a word) upwards: at most 64 KiB.
    bytes: Box<[u8]>,
    /// Which pages of them were not there.
    holes: u32,
    /// Where the kernel's walk along frame pointers came, the thread's own place first.
    chain: Option<Box<[Addr]>>,
}

impl CallStack {
    /// One that a perf event has taken.
    pub(crate) fn new(registers: Registers, bytes: Box<[u8]>, chain: Option<Box<[Addr]>>) -> CallStack {
        CallStack { registers, bytes, holes: 0, chain }
    }

    /// Where the stack is to be read.
    pub fn from(&self) -> StackFrom<'_> {
        match &self.chain {
            Some(addresses) => StackFrom::Chain { top: &self.bytes, addresses },
            None => StackFrom::Copy { bytes: &self.bytes, holes: self.holes },
        }
    }

    /// So much memory it takes.
    pub fn size(&self) -> usize {
        size_of_val(&*self.bytes) + self.chain.as_deref().map_or(0, size_of_val)
    }

    /// Reads what stands behind the rows of a call; `None` where nothing is.
    pub(super) fn parse(bytes: &[u8]) -> Option<CallStack> {
        let (how, rest) = u32_of(bytes)?;
        let (copied, rest) = u32_of(rest)?;
        let (holes, rest) = u32_of(rest)?;
        let (is_32, rest) = u32_of(rest)?;
        let (words, rest) = rest.split_at_checked(REGISTERS * 8)?;
        let mut registers = Registers { ip: Addr(0), general: [0; Registers::COUNT], is_32: is_32 != 0 };
        let mut words = words_of(words);
        for (to, from) in registers.general.iter_mut().zip(words.by_ref().take(REGISTERS - 1)) {
            *to = from;
        }
        registers.ip = Addr(words.next()?);
        let copied = rest.get(..usize::try_from(copied).ok()?)?;
        let chain = match how {
            CHAIN => Some(words_of(rest.get(TOP..)?).map(Addr).collect()),
            COPY => None,
            _ => return None,
        };
        Some(CallStack { registers, bytes: copied.into(), holes, chain })
    }
}

/// The word of `stack_how`.
pub(super) fn how(stacks: Option<Unwinding>) -> u32 {
    match stacks {
        None => NONE,
        Some(Unwinding::FramePointers) => CHAIN,
        Some(Unwinding::Tables) => COPY,
    }
}

fn u32_of(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (first, rest) = bytes.split_first_chunk()?;
    Some((u32::from_ne_bytes(*first), rest))
}

fn words_of(bytes: &[u8]) -> impl Iterator<Item = u64> {
    bytes.chunks_exact(8).filter_map(|word| word.try_into().ok().map(u64::from_ne_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(how: u32, copied: u32, rest: &[u8]) -> Vec<u8> {
        let registers = (0..REGISTERS as u64).flat_map(|number| (100 + number).to_ne_bytes());
        let head = [how, copied, 5, 0].into_iter().flat_map(u32::to_ne_bytes);
        head.chain(registers).chain(rest.iter().copied()).collect()
    }

    /// Checks that a copy and a chain are read with their registers, and that what is cut is none.
    #[test]
    fn stacks_are_read() {
        let copy = CallStack::parse(&record(COPY, 3, &[7, 8, 9])).unwrap();
        assert_eq!(
            (copy.registers.ip, copy.registers.general[7], copy.registers.general[16]),
            (Addr(116), 107, 0)
        );
        assert!(matches!(copy.from(), StackFrom::Copy { bytes: [7, 8, 9], holes: 5 }));
        let mut rest = [1; TOP + 16];
        rest[TOP..].copy_from_slice(&[[5, 0, 0, 0, 0, 0, 0, 0], [6, 0, 0, 0, 0, 0, 0, 0]].concat());
        for copied in [0, TOP] {
            let chain = CallStack::parse(&record(CHAIN, copied as u32, &rest)).unwrap();
            let StackFrom::Chain { top, addresses } = chain.from() else { panic!() };
            assert_eq!((top.len(), addresses), (copied, &[Addr(5), Addr(6)][..]));
        }
        assert_eq!(CallStack::parse(&[]), None);
        assert_eq!(CallStack::parse(&record(COPY, 4, &[7, 8, 9])), None);
        assert_eq!(CallStack::parse(&record(CHAIN, 0, &[1; TOP - 1])), None);
        assert_eq!(CallStack::parse(&record(9, 0, &[])), None);
    }
}
