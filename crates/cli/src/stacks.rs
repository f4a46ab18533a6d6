//! Call stacks joined with what else is known: the live map for walking them, names for showing them.

use crate::complain;
use crate::context::Context;
use crate::recording::{Live, Names, explain_reading, make_names};
use clap::{Args, ValueEnum};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};
use vmatlas_event::{Addr, Frame, FrameId, ModuleId, Pid, Place, Stack, StackId, Symbol, Unwinding, VmaRow};
use vmatlas_model::AddressSpace;
use vmatlas_record::Reader;
use vmatlas_stack::symbolize::Folders;
use vmatlas_stack::{Rows, Walker};
use vmatlas_view::stack::{ShownFrame, ShownStack};

/// How callers are told, as it is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum How {
    /// By unwind tables, and frame pointers where there are none (code made at run time); with BPF from a copy of at most 64
    /// KiB of the stack
    #[value(alias = "on")]
    Dwarf,
    /// By frame pointers: cheaper with BPF, but callers are missing where code keeps none
    Fp,
    /// No stacks
    Off,
}

/// Whether call stacks are wanted.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct StackArgs {
    /// The call stack of every memory call, and with --faults of every page fault, shown below each line and recorded with -o;
    /// --stacks alone is --stacks=dwarf. [fp] marks frames that the frame pointer alone tells: callers may be missing above them
    #[allow(rustdoc::broken_intra_doc_links, reason = "what help prints, as it stands")]
    #[arg(long, value_name = "HOW", num_args = 0..=1, require_equals = true, default_value = "off",
        default_missing_value = "dwarf", hide_default_value = true)]
    stacks: How,
}

impl StackArgs {
    /// How callers are to be told; `None` where no stacks are wanted.
    pub(crate) fn unwinding(self) -> Option<Unwinding> {
        match self.stacks {
            How::Dwarf => Some(Unwinding::Tables),
            How::Fp => Some(Unwinding::FramePointers),
            How::Off => None,
        }
    }
}

/// The live model of an address space, as the walker asks for it.
pub(crate) struct MapOf<'a>(pub(crate) &'a AddressSpace);

impl Rows for MapOf<'_> {
    fn row_at(&self, addr: Addr) -> Option<&VmaRow> {
        self.0.vma_at(addr)
    }

    fn grows_to(&self, addr: Addr) -> Option<&VmaRow> {
        self.0.vma_growing_to(addr)
    }
}

/// A stack that was walked just now, with its names; `made` names frames of no module.
pub(crate) fn walked(
    walker: &Walker,
    names: &mut Live,
    made: &mut dyn FnMut(Frame) -> Option<Symbol>,
    id: StackId,
) -> Option<ShownStack> {
    let Stack { frames, end } = walker.stack(id)?;
    let shown = |(frame, found): (Frame, _)| {
        let module = match frame.place {
            Place::Module(module, _) => walker.module(module).cloned(),
            Place::Unknown(_) => None,
        };
        ShownFrame { frame, found, module, symbols: Vec::new() }
    };
    let mut stack = ShownStack { frames: frames.into_iter().map(shown).collect(), end };
    names.name(&mut stack);
    for shown in stack.frames.iter_mut().filter(|shown| matches!(shown.frame.place, Place::Unknown(_))) {
        shown.symbols = made(shown.frame).into_iter().collect();
    }
    Some(stack)
}

/// The names of all frames that were walked, in order; those without a name are left out. Files are looked for as the
/// program of this number saw them, where it is still there; `made` has the functions of frames that no file has.
pub(crate) fn names(
    walker: &Walker,
    root: Option<Pid>,
    made: BTreeMap<FrameId, Symbol>,
    context: &Context,
) -> Vec<(FrameId, Vec<Symbol>)> {
    let frames = (0..).map(FrameId).map_while(|id| Some((id, walker.frame(id)?)));
    let mut folders = Folders { held: walker.held(), ..Folders::default() };
    if let Some(pid) = root {
        let root = PathBuf::from(format!("/proc/{pid}/root"));
        folders.debug.push(root.join("usr/lib/debug"));
        folders.roots.insert(0, root);
    }
    let module = |id: ModuleId| walker.module(id);
    let mut names = make_names(&frames.collect::<Vec<_>>(), &module, folders, context);
    names.extend(made.into_iter().map(|(frame, symbol)| (frame, vec![symbol])));
    names.into_iter().collect()
}

/// The stacks of a recording with their names; where they are damaged that is said, and there are none.
pub(crate) fn of(reader: &Reader, context: &Context) -> Option<Names> {
    let stacks = reader.stacks();
    if let Err(error) = &stacks {
        complain(context, &explain_reading(error, context).to_string());
    }
    Some(Names::new(stacks.ok()?, started(reader), context))
}

/// When a recording was begun, by the clock of its machine.
pub(crate) fn started(reader: &Reader) -> Option<SystemTime> {
    let started = reader.meta().started.checked_add(reader.meta().clock_offset)?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_nanos(started))
}
