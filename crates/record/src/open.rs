//! What a writer holds while all is well: rows that wait, and the tail they go to.

use crate::error::RecordError;
use crate::flat::{Intern, cells};
use crate::interned::{Interned, Spaces};
use crate::keyframe::{count_parts, parts, state_cells, vma_cells};
use crate::looks;
use crate::rows::{Cell, Rows};
use crate::seal;
use crate::stacks::StackRows;
use crate::table;
use crate::tail::TailWriter;
use std::io;
use std::path::Path;
use vmatlas_event::{Event, FrameId, Keyframe, Look, MonoNs, NewStacks, Op, PageRow, Symbol, VmaRow};

/// How many rows of a table wait at most.
pub(crate) const MANY: usize = 8192;

/// What there is while all is well.
pub(crate) struct Open {
    pub(crate) tail: TailWriter,
    pub(crate) number: u32,
    interned: Interned,
    spaces: Spaces,
    stacks: StackRows,
    rows: Rows,
    in_flight: Rows,
    pub(crate) events: Rows,
    pages: Rows,
    looks: Rows,
    state_rows: Rows,
    state_parts: Rows,
    states: Rows,
    keyframes: Rows,
    pub(crate) flushed: MonoNs,
}

impl Open {
    pub(crate) fn new(folder: &Path, now: MonoNs) -> Result<Open, RecordError> {
        Ok(Open {
            tail: TailWriter::create(&seal::tail(folder, 1))?,
            number: 1,
            interned: Interned::default(),
            spaces: Spaces::default(),
            stacks: StackRows::default(),
            rows: Rows::new(&table::ROWS),
            in_flight: Rows::new(&table::IN_FLIGHT),
            events: Rows::new(&table::EVENTS),
            pages: Rows::new(&table::PAGES),
            looks: Rows::new(&table::LOOKS),
            state_rows: Rows::new(&table::STATE_ROWS),
            state_parts: Rows::new(&table::STATE_PARTS),
            states: Rows::new(&table::STATES),
            keyframes: Rows::new(&table::KEYFRAMES),
            flushed: now,
        })
    }

    pub(crate) fn event(&mut self, event: &Event) -> io::Result<()> {
        self.spaces.event(event);
        match &event.op {
            Op::Snapshot { rows, .. } => self.vmas(event, rows)?,
            Op::Observed { rows, in_flight, .. } => {
                self.vmas(event, rows)?;
                for task in in_flight {
                    let id = self.interned.task(*task);
                    self.in_flight.push(&[Cell::Int(Some(event.seq.0 as i64)), Cell::Int(Some(id))]);
                }
            }
            _ => {}
        }
        self.events.push(&cells(event, &mut self.interned));
        Ok(())
    }

    /// Takes what of stacks is new; events that name it come later.
    pub(crate) fn stacks(&mut self, new: &NewStacks) -> io::Result<()> {
        self.stacks.add(new, &mut self.interned);
        if self.stacks.len() >= MANY { self.flush_tables(Part::Referred) } else { Ok(()) }
    }

    /// Takes the functions that a frame is in.
    pub(crate) fn symbols(&mut self, frame: FrameId, symbols: &[Symbol]) -> io::Result<()> {
        self.stacks.add_symbols(frame, symbols, &mut self.interned);
        if self.stacks.len() >= MANY { self.flush_tables(Part::Referred) } else { Ok(()) }
    }

    fn vmas(&mut self, event: &Event, rows: &[VmaRow]) -> io::Result<()> {
        for row in rows {
            self.rows.push(
                vma_cells(event.seq.0, row, None, &mut self.interned).split_last().map_or(&[], |(_, c)| c),
            );
            if self.rows.len() >= MANY {
                self.flush_tables(Part::Referred)?;
            }
        }
        Ok(())
    }

    /// Takes a look after its events.
    pub(crate) fn look(&mut self, look: &Look, pages: &[PageRow]) -> io::Result<()> {
        for row in pages {
            self.pages.push(&looks::page_cells(look.seq, row));
            if self.pages.len() >= MANY {
                self.flush_tables(Part::All)?;
            }
        }
        self.looks.push(&looks::look_cells(look));
        Ok(())
    }

    pub(crate) fn keyframe(&mut self, keyframe: &Keyframe) -> io::Result<()> {
        let (mut rows, mut all_parts) = (0, 0);
        for state in &keyframe.spaces {
            for row in &state.rows {
                self.state_rows.push(&vma_cells(keyframe.after.0, row, Some(state.mm), &mut self.interned));
                if self.state_rows.len() >= MANY {
                    self.flush_tables(Part::All)?;
                }
            }
            let out = &mut self.state_parts;
            parts(keyframe.after, state, &mut self.interned, &mut |cells| out.push(cells));
            if self.state_parts.len() >= MANY {
                self.flush_tables(Part::All)?;
            }
            self.states.push(&state_cells(keyframe.after, state));
            rows += state.rows.len();
            all_parts += count_parts(state);
        }
        let int = |value: u64| Cell::Int(Some(value as i64));
        self.keyframes.push(&[
            int(keyframe.after.0),
            int(keyframe.at.0),
            int(keyframe.spaces.len() as u64),
            int(rows as u64),
            int(all_parts as u64),
        ]);
        Ok(())
    }

    pub(crate) fn flush(&mut self, now: MonoNs) -> io::Result<()> {
        self.flushed = now;
        self.flush_tables(Part::All)
    }

    /// Writes what waits; what is referred to comes first, so that a torn tail refers to nothing that is missing.
    fn flush_tables(&mut self, part: Part) -> io::Result<()> {
        let Interned { new_names, new_tasks, .. } = &mut self.interned;
        let stacks = &mut self.stacks;
        let referred = [
            new_names,
            new_tasks,
            &mut self.spaces.rows,
            &mut stacks.modules,
            &mut stacks.frames,
            &mut stacks.stacks,
            &mut stacks.symbols,
            &mut self.rows,
            &mut self.in_flight,
        ];
        let rest = [
            &mut self.events,
            &mut self.pages,
            &mut self.looks,
            &mut self.state_rows,
            &mut self.state_parts,
            &mut self.states,
            &mut self.keyframes,
        ];
        let rest = rest.into_iter().take(if part == Part::All { usize::MAX } else { 0 });
        for rows in referred.into_iter().chain(rest).filter(|rows| rows.len() > 0) {
            let (batch, key) = rows.take().map_err(io::Error::other)?;
            self.tail.append(rows.table, &batch, key)?;
        }
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// What events refer to.
    Referred,
    All,
}
