//! Call stacks joined with what else is known: the live map for walking them, names for showing them.

use crate::complain;
use crate::context::Context;
use crate::recording::explain_reading;
use std::sync::Arc;
use vmatlas_event::{Addr, Frame, Place, Stack, StackId, VmaRow};
use vmatlas_model::AddressSpace;
use vmatlas_record::{Reader, Stacks};
use vmatlas_stack::{Rows, Walker};
use vmatlas_view::stack::{ShownFrame, ShownStack};

/// The live model of an address space, as the walker asks for it.
pub(crate) struct MapOf<'a>(pub(crate) &'a AddressSpace);

impl Rows for MapOf<'_> {
    fn row_at(&self, addr: Addr) -> Option<&VmaRow> {
        self.0.vma_at(addr)
    }
}

/// A stack that was walked just now.
pub(crate) fn walked(walker: &Walker, id: StackId) -> Option<ShownStack> {
    let Stack { frames, end } = walker.stack(id)?;
    let shown = |frame: Frame| {
        let module = match frame.place {
            Place::Module(module, _) => walker.module(module).cloned(),
            Place::Unknown(_) => None,
        };
        ShownFrame { frame, module, symbols: Vec::new() }
    };
    Some(ShownStack { frames: frames.into_iter().map(shown).collect(), end })
}

/// The stacks of a recording; where they are damaged that is said, and there are none.
pub(crate) fn of(reader: &Reader, context: &Context) -> Option<Arc<Stacks>> {
    let stacks = reader.stacks();
    if let Err(error) = &stacks {
        complain(context, &explain_reading(error, context).to_string());
    }
    stacks.ok()
}

/// A stack of a recording, with the names that are in it.
pub(crate) fn recorded(stacks: &Stacks, id: StackId) -> Option<ShownStack> {
    let (ids, end) = stacks.frame_ids(id)?;
    let shown = |id| {
        let frame = stacks.frame(id)?;
        let module = match frame.place {
            Place::Module(module, _) => stacks.module(module).cloned(),
            Place::Unknown(_) => None,
        };
        Some(ShownFrame { frame, module, symbols: stacks.symbols(id).cloned().collect() })
    };
    let frames: Option<Vec<ShownFrame>> = ids.into_iter().map(shown).collect();
    Some(ShownStack { frames: frames?, end })
}
