//! The functions of frames: those that a recording has, else made of the files that are here.

use crate::context::Context;
use crate::progress::{self, Of, Progress};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::SystemTime;
use vmatlas_event::{Frame, FrameId, Module, ModuleId, Place, StackId, Symbol};
use vmatlas_record::Stacks;
use vmatlas_stack::symbolize::{Folders, Limits, Lookup, Symbolizer};
use vmatlas_view::stack::{ShownFrame, ShownStack};

/// So many frames are named in one go, so that progress can be told in between.
const AT_ONCE: usize = 512;

/// The stacks of a recording, with the functions of their frames.
pub(crate) struct Names {
    pub(crate) stacks: Arc<Stacks>,
    /// What the recording lacks and was found here.
    found: HashMap<FrameId, Vec<Symbol>>,
}

impl Names {
    /// Names frames that the recording has no names of. It has all of them or none: those of a recording that was ended
    /// well were made at its end. Files without a build ID count where they are as they were when it `started`.
    pub(crate) fn new(stacks: Arc<Stacks>, started: Option<SystemTime>, context: &Context) -> Names {
        let mut found = HashMap::new();
        let count = u32::try_from(stacks.counts()[1]).unwrap_or(u32::MAX);
        let all = || (0..count).map(FrameId);
        if all().all(|id| stacks.symbols(id).next().is_none()) {
            let frames: Vec<(FrameId, Frame)> =
                all().filter_map(|id| Some((id, stacks.frame(id)?))).collect();
            let module = |id: ModuleId| stacks.module(id);
            let folders = Folders { unchanged_since: started, ..Folders::default() };
            found = make(&frames, &module, folders, context).into_iter().collect();
        }
        Names { stacks, found }
    }

    /// The functions of a frame, innermost first.
    pub(crate) fn of(&self, id: FrameId) -> Vec<Symbol> {
        match self.found.get(&id) {
            Some(found) => found.clone(),
            None => self.stacks.symbols(id).cloned().collect(),
        }
    }

    /// A stack with all that is known of it.
    pub(crate) fn stack(&self, id: StackId) -> Option<ShownStack> {
        let (ids, end) = self.stacks.frame_ids(id)?;
        let shown = |(id, found)| {
            let frame = self.stacks.frame(id)?;
            let module = match frame.place {
                Place::Module(module, _) => self.stacks.module(module).cloned(),
                Place::Unknown(_) => None,
            };
            Some(ShownFrame { frame, found, module, symbols: self.of(id) })
        };
        let frames: Option<Vec<ShownFrame>> = ids.into_iter().map(shown).collect();
        Some(ShownStack { frames: frames?, end })
    }
}

/// Names frames by the files of this machine, module by module; frames without a name are left out, the others are in order.
pub(crate) fn make<'a>(
    frames: &[(FrameId, Frame)],
    module: &dyn Fn(ModuleId) -> Option<&'a Module>,
    folders: Folders,
    context: &Context,
) -> BTreeMap<FrameId, Vec<Symbol>> {
    let mut by_module: BTreeMap<ModuleId, Vec<(FrameId, Lookup)>> = BTreeMap::new();
    for (id, frame) in frames {
        if let Place::Module(module, at) = frame.place {
            let lookup = Lookup { at, is_return: frame.is_return };
            by_module.entry(module).or_default().push((*id, lookup));
        }
    }
    let total: usize = by_module.values().map(Vec::len).sum();
    let mut done = 0;
    let mut found = BTreeMap::new();
    let mut symbolizer = Symbolizer::new(folders, Limits::default());
    let mut progress = Progress::new(context, progress::NAMING, Of::Places);
    for (id, places) in by_module {
        let Some(module) = module(id) else { continue };
        for places in places.chunks(AT_ONCE) {
            progress.tick(done as u64, total as u64);
            let lookups: Vec<Lookup> = places.iter().map(|(_, lookup)| *lookup).collect();
            let names = symbolizer.names(module, &lookups).names;
            let named =
                places.iter().zip(names).filter_map(|((frame, _), names)| Some((*frame, names.ok()?)));
            found.extend(named);
            done += places.len();
        }
    }
    found
}

/// Names frames while a program is watched: each once.
pub(crate) struct Live {
    symbolizer: Symbolizer,
    known: HashMap<Frame, Vec<Symbol>>,
}

impl Live {
    /// Nothing is read before the first frame. The program waits meanwhile, so a module may take a second only.
    pub(crate) fn new() -> Live {
        let limits = Limits { time: std::time::Duration::from_secs(1), ..Limits::default() };
        Live { symbolizer: Symbolizer::new(Folders::default(), limits), known: HashMap::new() }
    }

    /// Fills in the functions of a stack's frames.
    pub(crate) fn name(&mut self, stack: &mut ShownStack) {
        for shown in &mut stack.frames {
            let Some(module) = &shown.module else { continue };
            let Place::Module(_, at) = shown.frame.place else { continue };
            let known = self.known.entry(shown.frame).or_insert_with(|| {
                let lookup = Lookup { at, is_return: shown.frame.is_return };
                self.symbolizer.names(module, &[lookup]).names.pop().and_then(Result::ok).unwrap_or_default()
            });
            shown.symbols.clone_from(known);
        }
    }
}
