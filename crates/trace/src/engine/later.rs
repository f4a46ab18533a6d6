//! Calls that are told a moment later, many at once.
//!
//! Between two stops the program runs, and what the model and its lines need has left the caches: done call by call, that costs
//! several times what it costs where it runs again and again (docs/BENCHMARKS.md, "What run adds, over two bare stops"). So a
//! call that no other one of its address space overlaps, and of which it is known without the model what to ask the kernel, is
//! asked about at its return, while the task stands, and kept; many are told together. Their order, times, stacks and answers are
//! those of their stops.
//!
//! Every other event has the kept ones told before it, and an [`Alarm`] those of a program that makes no more calls.

use super::again::Answers;
use super::{Engine, Wiring};
use std::time::Duration;
use vmatlas_event::{
    Addr, AddrRange, Errno, MapFlags, MmId, MonoNs, Next, Op, Outcome, PageSize, Registers, Sink, Source,
    StackId, TaskId, Tid, VmaRow,
};
use vmatlas_sys::{Alarm, WaitStatus, page_size, wait_my_children, wait_my_children_or_alarm};

/// So many are kept at most: their room and the model's shall both stay in the caches.
const MOST: usize = 256;
/// Kept calls are told after one or two of these: a line is written within a tenth of a second anyway.
const LONGEST: Duration = Duration::from_millis(20);
/// Of more tasks nobody looks after each call who is inside of one.
const FEW: u32 = 16;
/// MAP_HUGETLB: how far such a mapping reaches, the page size in its flags tells.
const HUGETLB: u64 = 0x4_0000;

/// Calls that were made and not told.
#[derive(Debug)]
pub(super) struct Later {
    kept: Vec<Kept>,
    /// What the kernel has said of them.
    answers: Answers,
    /// Of those whose stacks are walked, the one mapping that is still there and not told.
    news: Option<(MmId, AddrRange)>,
    alarm: Alarm,
    page: PageSize,
}

/// A call that returned.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) id: TaskId,
    pub(super) mm: MmId,
    /// When it was entered and left.
    pub(super) times: (MonoNs, MonoNs),
    pub(super) op: Op,
    pub(super) outcome: Outcome,
}

/// What a model may want to know of a call.
enum Question {
    /// Nothing: this was unmapped.
    Unmapped(AddrRange),
    /// What is mapped there.
    Mapped(AddrRange),
}

#[derive(Debug)]
struct Kept {
    call: Call,
    /// What the kernel said of a range when the call returned.
    seen: Option<(AddrRange, Vec<VmaRow>)>,
    stack: Option<StackId>,
}

impl Engine {
    /// Keeps calls from now on, where that can be done without being noticed.
    pub(crate) fn keep_calls(&mut self) {
        if self.filtered && !self.check && self.touches.is_none() {
            let alarm = Alarm::new(LONGEST).ok();
            self.later = alarm.map(|alarm| {
                let (kept, answers) = (Vec::with_capacity(MOST), Answers::default());
                Box::new(Later { kept, answers, news: None, alarm, page: page_size() })
            });
        }
    }

    /// Keeps a call that has just returned; gives it back where it is to be told now.
    pub(super) fn keep(
        &mut self,
        call: Call,
        registers: Option<&Registers>,
        wiring: &mut Wiring<'_>,
    ) -> Option<Call> {
        let (is_alone, has_stack) = (self.is_alone(&call), self.stacks);
        let Some(later) = &mut self.later else { return Some(call) };
        let question = question(&call.op, call.outcome, later.page);
        if has_stack && !later.is_walked_as_told(&call, question.as_ref()) {
            return Some(call);
        }
        let seen = match question {
            Some(Question::Unmapped(range)) if is_alone => {
                later.answers.unmapped(call.mm, range);
                None
            }
            Some(Question::Mapped(range)) if is_alone && wiring.kernel.reads_ranges() => {
                match later.answers.mapped_again(call.mm, &call.op, range) {
                    Some(row) => Some((range, vec![row])),
                    // Where it was killed nobody answers, and its end follows.
                    None => wiring.kernel.vmas_in(call.id, range).ok().map(|rows| {
                        later.answers.mapped(&call.op, range, &rows);
                        (range, rows)
                    }),
                }
            }
            _ => return Some(call),
        };
        let news = seen.as_ref().filter(|_| has_stack).map(|(range, _)| (call.mm, *range));
        let stack = self.walk(&call, registers, wiring);
        if let Some(later) = &mut self.later {
            later.news = news;
            later.kept.push(Kept { call, seen, stack });
            later.alarm.on();
        }
        None
    }

    /// Tells the kept calls where they are many: when the task goes on again, so that it waits for none of this where it has
    /// a processor of its own.
    pub(super) fn tell_many(&mut self, sink: &mut dyn Sink) {
        if self.later.as_ref().is_some_and(|later| later.kept.len() >= MOST) {
            self.tell_kept(sink);
        }
    }

    /// Whether no other call of the address space overlapped this one in time, and nothing is to be read after it: then the
    /// model asks of it what is foreseen, and of no other call because of it.
    fn is_alone(&self, call: &Call) -> bool {
        let Some(shared) = self.spaces.get(&call.mm) else { return false };
        let is_single = || {
            shared.users == 1
                || shared.users <= FEW
                    && shared.others_left(call.id.tid) <= call.times.0
                    && self.in_flight(call.id, call.mm).is_empty()
        };
        call.times.1 < shared.due && !shared.unclear && !shared.asks_more && is_single()
    }

    /// Tells the calls that were kept.
    pub(crate) fn tell_kept(&mut self, sink: &mut dyn Sink) {
        let Some(later) = self.later.as_mut().filter(|later| !later.kept.is_empty()) else { return };
        let mut kept = std::mem::take(&mut later.kept);
        // Whatever happens next, they know nothing of it.
        later.answers.forget();
        later.news = None;
        for one in kept.drain(..) {
            self.tell_one(one, sink);
        }
        if let Some(later) = &mut self.later {
            later.kept = kept;
        }
    }

    fn tell_one(&mut self, Kept { call, seen, stack }: Kept, sink: &mut dyn Sink) {
        let Call { id, mm, times, op, outcome } = call;
        let next = self.send_from(sink, (Source::Ptrace, stack), (id, mm), times, (op, outcome));
        let Next::Ask(ranges) = next else { return };
        let at = times.1;
        match (ranges.as_slice(), seen) {
            ([asked], Some((range, rows))) if range.covers(*asked) => {
                let rows = rows.into_iter().filter(|row| row.range.intersects(*asked)).collect();
                let op = Op::Observed { rows, asked: *asked, late: false, in_flight: Vec::new() };
                self.send(sink, id, mm, (at, at), op, Outcome::Done(0));
            }
            // What it wants to know was not asked when it was true: the whole map tells, at the next stop, and calls of
            // this address space are told at once from now on.
            _ => {
                if let Some(shared) = self.spaces.get_mut(&mm) {
                    (shared.unclear, shared.asks_more, shared.due) = (true, true, at);
                }
            }
        }
    }

    /// Waits for the next stop; kept calls do not wait as long as it may take.
    ///
    /// # Errors
    /// ECHILD when there is nobody left to wait for.
    pub(super) fn wait_for_stop(&mut self, wiring: &mut Wiring<'_>) -> Result<(Tid, WaitStatus), Errno> {
        loop {
            if self.later.is_none() {
                return wait_my_children();
            }
            if let Some(stop) = wait_my_children_or_alarm()? {
                return Ok(stop);
            }
            if let Some(later) = self.later.as_mut().filter(|later| later.kept.is_empty()) {
                later.alarm.off();
            }
            self.tell_kept(wiring.sink);
        }
    }
}

impl Later {
    /// Whether the stack of a call can be walked by the map that was told last, and this call be kept then: what lacks there
    /// is this call alone. (Coroutines run on what was mapped a moment ago.) Where code lies changes in no call that is kept.
    fn is_walked_as_told(&self, call: &Call, question: Option<&Question>) -> bool {
        const EXEC: u64 = 4;
        match (&call.op, question) {
            (Op::Mmap { prot, flags, .. }, Some(Question::Mapped(_))) => {
                self.news.is_none() && flags.has(MapFlags::ANONYMOUS) && prot.0 & EXEC == 0
            }
            (_, Some(Question::Unmapped(range))) => {
                self.news.is_none_or(|(mm, news)| mm == call.mm && news == *range)
            }
            _ => false,
        }
    }
}

/// What the model may want to know of a call that can be told later: of a mapping the pages, for it knows neither the file nor
/// whether neighbours that look alike became one.
fn question(op: &Op, outcome: Outcome, page: PageSize) -> Option<Question> {
    match (op, outcome) {
        (Op::Mmap { len, flags, .. }, Outcome::Done(at)) if !flags.has(HUGETLB) => {
            AddrRange::from_len(Addr(at), page.round_up(*len)?).map(Question::Mapped)
        }
        (Op::Munmap { addr, len }, Outcome::Done(_)) => {
            AddrRange::from_len(*addr, page.round_up(*len)?).map(Question::Unmapped)
        }
        _ => None,
    }
}
