//! The ring that the kernel writes records to, read where it lies.
//!
//! `data_head` is the kernel's and `data_tail` ours (`struct perf_event_mmap_page`): what lies between them the kernel
//! does not touch until the tail has passed it. Records and all that is in them are multiples of eight bytes, and so is
//! the ring: no word of a record is cut by its end.

use super::Event;
use crate::bpf::CallStack;
use crate::errno::last_errno;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};
use vmatlas_event::{Addr, Errno, MonoNs, Pid, Registers, Tid, Unwinding};

/// Places in `struct perf_event_mmap_page` (`include/uapi/linux/perf_event.h`), in bytes.
const DATA_HEAD: usize = 1024;
const DATA_TAIL: usize = 1032;
const DATA_OFFSET: usize = 1040;
const DATA_SIZE: usize = 1048;

const WORD: u64 = 8;

/// Types of records (`enum perf_event_type`) and bits of `misc` in their headers.
const LOST: u32 = 2;
const COMM: u32 = 3;
const SAMPLE: u32 = 9;
const CPUMODE_MASK: u16 = 7;
const CPUMODE_USER: u16 = 2;
const MISC_COMM_EXEC: u16 = 1 << 13;

/// The registers that samples bring (`enum perf_event_x86_regs`): ax, bx, cx, dx, si, di, bp, sp, ip, then r8 to r15.
pub(super) const REGISTERS_MASK: u64 = 0xff_01ff;
/// Their DWARF numbers; 16 stands for the instruction pointer.
const DWARF: [usize; 17] = [0, 3, 2, 1, 4, 5, 6, 7, 16, 8, 9, 10, 11, 12, 13, 14, 15];
/// Numbers of a chain from here on are marks, not addresses (`enum perf_callchain_context`).
const CHAIN_MARKS: u64 = -4095i64 as u64;

/// One record of a ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A page fault.
    Fault {
        /// The event's own number, see [`Event::id`].
        id: u64,
        /// The process.
        pid: Pid,
        /// The thread.
        tid: Tid,
        /// When.
        at: MonoNs,
        /// The address touched.
        addr: Addr,
        /// The instruction that touched it; `None` where the kernel did.
        ip: Option<Addr>,
        /// What its stack can be told from, where that was wanted and could be had.
        stack: Option<Box<CallStack>>,
    },
    /// A task has executed a program: what it faults from here on is in another address space.
    Exec {
        /// The thread, as it is called from now on.
        tid: Tid,
        /// When.
        at: MonoNs,
    },
    /// So many records found no room before this one.
    Lost {
        /// How many.
        count: u64,
        /// When there was room again.
        at: MonoNs,
    },
}

/// A ring of one processor, for the events that are told to [write to it](Event::write_to).
///
/// It belongs to an event of the calling thread that never happens, so that it outlives each task whose faults it holds.
#[derive(Debug)]
pub struct Ring {
    pub(super) event: Event,
    base: NonNull<u8>,
    mapped: usize,
    data: usize,
    size: u64,
    /// How far it was read.
    tail: u64,
    /// What the events that write to it bring of stacks.
    pub(super) stacks: Option<Unwinding>,
}

// SAFETY: the mapping belongs to this value alone and to no thread; reading takes `&mut self`.
unsafe impl Send for Ring {}

impl Ring {
    /// Makes a ring with room for `pages` pages of records, a power of two.
    ///
    /// # Errors
    /// Those of [`Event::open`]; EPERM also when it is more than perf_event_mlock_kb and RLIMIT_MEMLOCK allow, EINVAL when `pages` is no power of two,
    /// ENOMEM.
    pub fn new(cpu: u32, pages: usize) -> Result<Ring, Errno> {
        let event = Event::dummy(cpu)?;
        let page = usize::try_from(crate::page_size().bytes()).unwrap_or(usize::MAX);
        let mapped = pages.checked_add(1).and_then(|n| n.checked_mul(page)).ok_or(Errno(libc::EINVAL))?;
        // SAFETY: a new mapping at a place that the kernel chooses.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                mapped,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                event.fd.as_raw_fd(),
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(last_errno());
        }
        let base = NonNull::new(base.cast::<u8>()).ok_or(Errno(libc::EINVAL))?;
        let mut ring =
            Ring { event, base, mapped, data: page, size: (pages * page) as u64, tail: 0, stacks: None };
        // Where the data lie the kernel says since 4.1, else they follow the first page.
        let (offset, size) = (ring.control(DATA_OFFSET), ring.control(DATA_SIZE));
        let (offset, size) = (offset.load(Ordering::Relaxed), size.load(Ordering::Relaxed));
        if size != 0 {
            let end = offset.checked_add(size).filter(|end| *end <= mapped as u64);
            let is_sound = end.is_some() && size.is_power_of_two() && size >= WORD && offset % WORD == 0;
            if !is_sound {
                return Err(Errno(libc::EINVAL));
            }
            (ring.data, ring.size) = (offset as usize, size);
        }
        Ok(ring)
    }

    /// Says what the events that write to it bring of stacks: all of them the same.
    pub fn with_stacks(mut self, stacks: Option<Unwinding>) -> Ring {
        self.stacks = stacks.filter(|_| cfg!(target_arch = "x86_64"));
        self
    }

    /// How many bytes of records it has room for.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// A number of the control page.
    fn control(&self, at: usize) -> &AtomicU64 {
        // SAFETY: `at` is one of the constants above, inside of the first page.
        let place = unsafe { self.base.add(at) };
        // SAFETY: mapped as long as `self` lives, aligned (the page is, and `at` is a multiple of 8), and changed by the
        // kernel and us by whole words only.
        unsafe { AtomicU64::from_ptr(place.cast::<u64>().as_ptr()) }
    }

    /// The word at a place of the stream of records, which lies between tail and head.
    fn word(&self, at: u64) -> u64 {
        let offset = self.data + (at & (self.size - 1)) as usize;
        // SAFETY: the size is a power of two, so the offset lies in the data, which lie in the mapping (checked in `new`).
        let place = unsafe { self.base.add(offset) };
        // SAFETY: `at` is a multiple of 8, so the word is aligned and inside of the data; the kernel does not write between
        // tail and head.
        unsafe { place.cast::<u64>().as_ptr().read() }
    }

    /// Whether there is nothing to read.
    pub fn is_empty(&self) -> bool {
        self.control(DATA_HEAD).load(Ordering::Acquire) == self.tail
    }

    /// Gives what was written, until `found` answers `false`: that record stays, and those after it.
    pub fn read(&mut self, mut found: impl FnMut(Record) -> bool) {
        // With what came before the head was moved (`perf_output_put_handle()`).
        let head = self.control(DATA_HEAD).load(Ordering::Acquire);
        let mut at = self.tail;
        while head.wrapping_sub(at) >= WORD {
            let header = self.word(at);
            let (kind, misc, size) = (header as u32, (header >> 32) as u16, header >> 48);
            if size < WORD || size % WORD != 0 || size > head.wrapping_sub(at) {
                // The kernel writes no such thing: nothing after it can be told from rubbish.
                at = head;
                break;
            }
            if let Some(record) = self.record(at, kind, misc, size)
                && !found(record)
            {
                break;
            }
            at = at.wrapping_add(size);
        }
        if at != self.tail {
            self.tail = at;
            // From here on the kernel may write there; what was read of it was read before.
            self.control(DATA_TAIL).store(at, Ordering::Release);
        }
    }

    fn record(&self, at: u64, kind: u32, misc: u16, size: u64) -> Option<Record> {
        let word = |n: u64| self.word(at.wrapping_add(n * WORD));
        let words = size / WORD;
        let low = |word: u64| word as u32 as i32;
        let high = |word: u64| (word >> 32) as u32 as i32;
        match kind {
            // header, identifier, ip, pid and tid, time, addr
            SAMPLE if words >= 6 => {
                let is_user = misc & CPUMODE_MASK == CPUMODE_USER;
                let task = word(3);
                Some(Record::Fault {
                    id: word(1),
                    pid: Pid(low(task)),
                    tid: Tid(high(task)),
                    at: MonoNs(word(4)),
                    addr: Addr(word(5)),
                    ip: is_user.then(|| Addr(word(2))),
                    stack: self.stacks.and_then(|how| self.stack(at, words, how)),
                })
            }
            // header, id, lost, then what every record ends with: pid and tid, time, identifier
            LOST if words >= 6 => Some(Record::Lost { count: word(2), at: MonoNs(word(words - 2)) }),
            // header, pid and tid, the name, then the same
            COMM if words >= 5 && misc & MISC_COMM_EXEC != 0 => {
                Some(Record::Exec { tid: Tid(high(word(1))), at: MonoNs(word(words - 2)) })
            }
            _ => None,
        }
    }

    /// What stands behind the address of a sample: the chain, where there is one, registers, and a copy of the stack.
    fn stack(&self, at: u64, words: u64, how: Unwinding) -> Option<Box<CallStack>> {
        let mut next = 6;
        let mut word = || {
            let n = next;
            next += 1;
            (n < words).then(|| self.word(at.wrapping_add(n * WORD)))
        };
        let chain = match how {
            Unwinding::Tables => None,
            Unwinding::FramePointers => {
                let count = word().filter(|count| *count < words)?;
                let addresses = (0..count).map(|_| word().map(Addr)).collect::<Option<Vec<Addr>>>()?;
                Some(addresses.into_iter().filter(|addr| addr.0 < CHAIN_MARKS).collect())
            }
        };
        // PERF_SAMPLE_REGS_ABI_*
        const NO_REGISTERS: u64 = 0;
        const REGISTERS_32: u64 = 1;
        let abi = word()?;
        if abi == NO_REGISTERS {
            return None;
        }
        let is_32 = abi == REGISTERS_32;
        let mut registers = Registers { ip: Addr(0), general: [0; Registers::COUNT], is_32 };
        for number in DWARF {
            match registers.general.get_mut(number).filter(|_| number < 16) {
                Some(register) => *register = word()?,
                None => registers.ip = Addr(word()?),
            }
        }
        let size = word()?;
        let all = (size / WORD).min(words);
        let mut bytes = Vec::with_capacity(all as usize * 8);
        for _ in 0..all {
            bytes.extend_from_slice(&word()?.to_ne_bytes());
        }
        // What of it could be read; nothing is said where there is nothing.
        let read = if size == 0 { 0 } else { word()? };
        bytes.truncate(usize::try_from(read).unwrap_or(0));
        // The copy begins at the stack pointer, and copies are those of words.
        let off = (registers.general[7] & 7) as usize;
        if off != 0 {
            bytes.splice(0..0, std::iter::repeat_n(0, off));
        }
        Some(Box::new(CallStack::new(registers, bytes.into(), chain)))
    }
}

/// Readable (poll(2), epoll(7)) each time half of it was filled since it was asked last.
impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.fd.as_fd()
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: what `new` has mapped; nothing refers to it any more.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.mapped) };
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Faults, Options};
    use super::*;
    use crate::mem::{self, Arena, Touch};
    use vmatlas_event::{AddrRange, Bytes, MapFlags, ProtArg};

    const OPTIONS: Options =
        Options { cpu: None, kernel: false, on_exec: false, sampled: true, execs: false, stacks: None };

    fn this_thread() -> Tid {
        // SAFETY: takes nothing, returns a number.
        Tid(unsafe { libc::gettid() })
    }

    /// Touches so many fresh pages, each once and without huge pages; where they were.
    fn touch(pages: u64) -> AddrRange {
        const NOHUGEPAGE: i32 = 15;
        let arena = Arena::new(Bytes(pages * 4096), ProtArg(3), MapFlags(2 | 0x4000)).unwrap();
        arena.advise(arena.range().start(), arena.range().len(), NOHUGEPAGE).unwrap();
        assert_eq!(mem::touch(arena.range(), 0, pages, Touch::Write), Ok(pages));
        arena.range()
    }

    /// One ring for each processor, as heirs ask for it; `None` where it is not permitted here.
    fn rings(pages: usize) -> Option<Vec<(Event, Ring)>> {
        let mut all = Vec::new();
        for cpu in crate::sched::online() {
            match Event::open(this_thread(), Faults::Minor, Options { cpu: Some(cpu), ..OPTIONS }) {
                Ok(event) => {
                    let ring = Ring::new(cpu, pages).unwrap();
                    event.write_to(&ring).unwrap();
                    all.push((event, ring));
                }
                Err(Errno(libc::ENODEV)) => {}
                Err(errno) => {
                    eprintln!("SKIPPED (needs perf events): {errno:?}");
                    return None;
                }
            }
        }
        Some(all)
    }

    /// Checks that each page we touch is told once, by this thread, in order, and that times are those of our clock.
    #[test]
    fn our_own_faults_are_told() {
        let Some(mut rings) = rings(64) else { return };
        let before = crate::now();
        rings.iter().for_each(|(event, _)| event.enable().unwrap());
        let place = touch(100);
        rings.iter().for_each(|(event, _)| event.disable().unwrap());
        let after = crate::now();
        let mut found = Vec::new();
        for (event, ring) in &mut rings {
            let id = event.id().unwrap();
            ring.read(|record| {
                if let Record::Fault { id: of, tid, at, addr, ip, .. } = record
                    && place.contains(addr)
                {
                    assert_eq!((of, tid), (id, this_thread()));
                    assert!(ip.is_some() && before <= at && at <= after);
                    found.push((addr.0 - place.start().0) / 4096);
                }
                true
            });
            assert!(ring.is_empty());
        }
        found.sort_unstable();
        assert_eq!(found, (0..100).collect::<Vec<_>>());
    }

    /// Checks that what found no room is counted, that a full ring goes on once it was read, and that a record that was
    /// not wanted yet stays.
    #[test]
    fn what_is_lost_is_counted() {
        // A ring tells of its loss beside the next fault on its processor.
        crate::sched::stay_on_this_cpu().unwrap();
        let Some(mut rings) = rings(1) else { return };
        rings.iter().for_each(|(event, _)| event.enable().unwrap());
        touch(1000);
        let mut taken = 0;
        rings.iter_mut().for_each(|(_, ring)| ring.read(|_| false));
        for (_, ring) in &mut rings {
            ring.read(|record| {
                taken += u64::from(matches!(record, Record::Fault { .. }));
                true
            });
        }
        assert!(taken > 0 && taken < 1000, "{taken}");
        touch(10);
        rings.iter().for_each(|(event, _)| event.disable().unwrap());
        let (mut lost, mut produced) = (0, 0);
        for (event, ring) in &mut rings {
            ring.read(|record| {
                match record {
                    Record::Fault { .. } => taken += 1,
                    Record::Lost { count, .. } => lost += count,
                    Record::Exec { .. } => {}
                }
                true
            });
            produced += event.count().unwrap();
        }
        assert!(taken + lost <= produced && lost > 0, "{taken} + {lost} of {produced}");
    }
}
