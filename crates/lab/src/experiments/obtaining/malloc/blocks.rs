//! The steps after the single block: freeing in the middle and at the end of the heap, and a second thread's arena.

use super::look::{OTHER_ARENA, heap};
use super::own::{MALLOC, THREAD};
use super::predict::{Malloc, chunk};
use super::{ARENA, BLOCK, BLOCKS, SHOWN, SMALLS, Work, done, free};
use crate::error::LabError;
use crate::facts::Value;
use crate::squares::part_of;
use vmatlas_event::{Addr, AddrRange, Bytes};

impl Work<'_> {
    /// Blocks in the heap: freed in the middle of it, and at its end.
    pub(super) fn blocks(&mut self, model: &mut Malloc) -> Result<(), LabError> {
        let page = self.lab.page();
        let places = self.lab.step("blocks", |lab| {
            let mut places = Vec::new();
            for slot in 0..BLOCKS {
                model.malloc(BLOCK);
                let shown = format!("memset(p{slot} = malloc({BLOCK}), 1, {BLOCK})");
                places.push(done(lab.own([MALLOC, slot, BLOCK, 1, 0], &shown)?, BLOCK)?);
            }
            lab.say("blocks");
            Ok(places)
        })?;
        let back = model.free_all(BLOCKS * chunk(BLOCK));
        let end = heap(&self.lab.after).end().0;
        let shown = AddrRange::from_len(Addr(end.saturating_sub(back + SHOWN / 2 * page)), Bytes(0));
        let shown = part_of(shown.unwrap_or(AddrRange::ALL), 0, SHOWN);
        self.lab.draw("blocks", shown, &[], &[])?;

        self.lab.step("middle", |lab| {
            for slot in 0..BLOCKS - 1 {
                free(lab, slot, format!("p{slot}"))?;
            }
            lab.say("middle");
            Ok(())
        })?;
        self.shrank("middle", 0);
        // The whole pages of the blocks that were freed.
        let first = places.first().map_or(0, |at| at.next_multiple_of(page));
        let last = places.last().map_or(0, |at| at / page * page);
        let freed = AddrRange::new(Addr(first), Addr(last)).unwrap_or(shown);
        let resident = self.lab.resident(freed)?;
        self.seen("resident", Value::Bytes(freed.len().0), Some(Value::Bytes(resident.0)));
        self.lab.draw("middle", shown, &[], &[])?;

        self.lab.step("top", |lab| {
            free(lab, BLOCKS - 1, format!("p{}", BLOCKS - 1))?;
            lab.say(if back > 0 { "top" } else { "top-kept" });
            Ok(())
        })?;
        self.shrank("top", back);
        self.lab.draw("top", shown, &[], &[])
    }

    pub(super) fn second_thread(&mut self) -> Result<(), LabError> {
        let block = self.lab.step("thread", |lab| {
            let shown = format!("/* a second thread */ p = malloc({SMALLS})");
            let block = done(lab.own([THREAD, 0, SMALLS, 0, 0], &shown)?, SMALLS)?;
            lab.set("addr", Addr(block));
            lab.say("thread");
            Ok(block)
        })?;
        let arena = AddrRange::from_len(Addr(block / ARENA * ARENA), Bytes(ARENA)).unwrap_or(AddrRange::ALL);
        let parts = self.lab.after.rows.iter().filter_map(|row| row.range.intersect(arena));
        let reserved: Bytes = parts.map(AddrRange::len).sum();
        self.seen("arena", Value::Bytes(ARENA), Some(Value::Bytes(reserved.0)));
        let other = self.header(block)?.map(|word| word & OTHER_ARENA != 0);
        self.seen("other-arena", Value::Yes(true), other.map(Value::Yes));
        Ok(())
    }
}
