//! malloc: what it takes from brk and what from mmap, what it keeps of what is freed, and a second thread's arena.

mod blocks;
mod look;
mod own;
mod predict;

use crate::error::LabError;
use crate::facts::{Expected, Measured, Value};
use crate::info::{Info, Setup};
use crate::lab::Lab;
use crate::report::Report;
use crate::say::Say;
use crate::settings::Param;
use crate::texts;
use look::{heap, unknown};
use own::{FREE, MALLOC, SLOTS, SMALL};
use predict::{Malloc, Place, STEP, chunk};
use vmatlas_event::Bytes;

/// What is known of it before it is made.
pub(crate) static INFO: Info = Info::new("malloc", (include_str!("en.md"), include_str!("ja.md")), make)
    .params(&[Param::size("size", "200KiB", 1, 64 << 20)])
    .own(own::own);

/// Small blocks, and the size of each.
const SMALLS: u64 = 1000;
/// Blocks that are freed again, and the size of each: less than any threshold for mmap.
const BLOCKS: u64 = SLOTS - 1;
const BLOCK: u64 = 100 << 10;
/// The place of the single block.
const ONE: u64 = BLOCKS;
/// What an arena of a second thread reserves, and what its address is a multiple of: glibc's HEAP_MAX_SIZE.
const ARENA: u64 = 64 << 20;
/// Pages in the picture, half of them above the end of the heap to come.
const SHOWN: u64 = 6;

/// The experiment, with the reason why it cannot be said what malloc will do here.
struct Work<'a> {
    lab: Lab<'a>,
    unknown: Option<&'static str>,
}

fn make(mut setup: Setup<'_>) -> Result<Report, LabError> {
    let size = setup.settings.size("size").0;
    setup.set("size", Bytes(size));
    let lab = setup.begin(Vec::new())?;
    let unknown = unknown(&lab);
    let mut work = Work { lab, unknown };
    let page = work.lab.page();
    let last = work.small_blocks()?;
    let taken = work.header(last)?.map(|word| word & !7);
    work.seen("chunk", Value::Bytes(chunk(SMALLS)), taken.map(Value::Bytes));

    // What is free above the last small block decides the rest.
    let used = (last + taken.unwrap_or(0)).saturating_sub(16);
    let top = heap(&work.lab.after).end().0.saturating_sub(used);
    let mut model = Malloc::new(page, top);
    let place = model.malloc(size);
    let one = work.obtain("one", size, place)?;
    let found = work.place_of(one)?;
    work.seen("where", Value::Word(place.word().to_owned()), Some(Value::Word(found)));
    let grew = work.lab.after.virtual_size.0.saturating_sub(work.lab.before.virtual_size.0);
    work.seen("grew", Value::Bytes(place.grown()), Some(Value::Bytes(grew)));

    let back = model.free(size, place);
    work.lab.set("threshold", Bytes(model.threshold));
    work.lab.set("trim", Bytes(model.trim));
    work.lab.step("free", |lab| {
        free(lab, ONE, "p".to_owned())?;
        lab.say(if matches!(place, Place::Mapped { .. }) { "free-mapped" } else { "free-heap" });
        Ok(())
    })?;
    work.shrank("freed", back);

    let place = model.malloc(size);
    let again = work.obtain("again", size, place)?;
    let found = work.place_of(again)?;
    work.seen("again", Value::Word(place.word().to_owned()), Some(Value::Word(found)));

    work.blocks(&mut model)?;
    work.second_thread()?;
    Ok(work.lab.end())
}

impl Work<'_> {
    /// A fact that is exactly known beforehand where glibc is; `None` could not be measured for the same reason.
    fn seen(&mut self, id: &'static str, predicted: Value, measured: Option<Value>) {
        let why = |lab: &Lab<'_>| lab.why(self.unknown.unwrap_or("other-library"));
        let measured = measured.map_or_else(|| Measured::NotRead(why(&self.lab)), Measured::Is);
        let predicted = self.known(Expected::Is(predicted));
        self.lab.fact(id, predicted, measured);
    }

    fn known(&self, expected: Expected) -> Expected {
        self.unknown.map_or(expected, |why| Expected::Unknown(self.lab.why(why)))
    }

    /// The fact that the latest step gave so much back.
    fn shrank(&mut self, id: &'static str, predicted: u64) {
        let shrank = self.lab.before.virtual_size.0.saturating_sub(self.lab.after.virtual_size.0);
        self.seen(id, Value::Bytes(predicted), Some(Value::Bytes(shrank)));
    }

    /// Many small blocks: the address of the last.
    fn small_blocks(&mut self) -> Result<u64, LabError> {
        let seen = self.lab.subject.watch().count();
        let last = self.lab.step("small", |lab| {
            let shown = format!("for (i = 0; i < {SMALLS}; i++) p = malloc({SMALLS})");
            let last = done(lab.own([SMALL, SMALLS, SMALLS, 0, 0], &shown)?, SMALLS * SMALLS)?;
            lab.say("small");
            Ok(last)
        })?;
        // All that the heap had may have been free, or nothing of it.
        let total = SMALLS * chunk(SMALLS);
        let step = STEP.next_multiple_of(self.lab.page());
        let least = total.saturating_sub(heap(&self.lab.before).len().0) / step;
        let predicted = Expected::Between(Value::Count(least), Value::Count(total.div_ceil(step)));
        let predicted = self.known(predicted);
        let watch = self.lab.subject.watch();
        let calls = match watch.blind() {
            Some(_) => Measured::NotRead(Say::new(texts::NEEDS_TRACER)),
            None => Measured::Is(Value::Count((watch.count() - seen) as u64)),
        };
        self.lab.fact("calls", predicted, calls);
        Ok(last)
    }

    /// A step that asks for the single block: its address.
    fn obtain(&mut self, id: &'static str, size: u64, place: Place) -> Result<u64, LabError> {
        self.lab.step(id, |lab| {
            let at = done(lab.own([MALLOC, ONE, size, 0, 0], &format!("p = malloc({size})"))?, size)?;
            lab.say(match (id, place) {
                ("one", Place::Mapped { .. }) => "one-mapped",
                ("one", Place::Heap { .. }) => "one-heap",
                (_, Place::Mapped { .. }) => "again-mapped",
                (_, Place::Heap { .. }) => "again-heap",
            });
            Ok(at)
        })
    }
}

fn free(lab: &mut Lab<'_>, slot: u64, name: String) -> Result<(), LabError> {
    let reply = lab.own_unshown([FREE, slot, 0, 0, 0])?;
    lab.did(format!("free({name})"), reply.map(|_| String::new()));
    Ok(())
}

fn done(reply: crate::command::Reply, size: u64) -> Result<u64, LabError> {
    reply.map_err(|errno| LabError::Refused { length: Bytes(size), errno })
}
