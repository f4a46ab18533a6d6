//! How long it takes to walk a stack: `walk_speed PROGRAM ARGS...` starts a program below us, lets it come to its memory calls, and
//! walks each stack, the first time and again. Prints the medians in nanoseconds: first walk, walk again, frames.

#![expect(clippy::unwrap_used, reason = "a measuring program")]

use std::ffi::OsString;
use std::time::Instant;
use vmatlas_event::{Addr, Event, Next, Sink, StackId, Stopped, VmaRow};
use vmatlas_model::{AddressSpace, Spaces};
use vmatlas_proc::{ProcKernel, ProcRoot};
use vmatlas_stack::{Rows, Walker};
use vmatlas_trace::{Launch, Tracer};

/// Each stack is walked so often again.
const AGAIN: u32 = 10;

struct MapOf<'a>(&'a AddressSpace);

impl Rows for MapOf<'_> {
    fn row_at(&self, addr: Addr) -> Option<&VmaRow> {
        self.0.vma_at(addr)
    }

    fn grows_to(&self, addr: Addr) -> Option<&VmaRow> {
        self.0.vma_growing_to(addr)
    }
}

struct Clock {
    spaces: Spaces,
    walker: Walker,
    first: Vec<u64>,
    again: Vec<u64>,
    frames: Vec<u64>,
}

impl Sink for Clock {
    fn event(&mut self, event: &Event) -> Next {
        let ask = self.spaces.event(event).ask;
        if ask.is_empty() { Next::Go } else { Next::Ask(ask) }
    }

    fn stack(&mut self, at: &Stopped<'_>) -> Option<StackId> {
        let map = MapOf(self.spaces.get(at.mm)?);
        let start = Instant::now();
        let stack = self.walker.walk(at, &map);
        self.first.push(start.elapsed().as_nanos() as u64);
        let start = Instant::now();
        for _ in 0..AGAIN {
            self.walker.walk(at, &map);
        }
        self.again.push(start.elapsed().as_nanos() as u64 / u64::from(AGAIN));
        self.frames
            .push(stack.and_then(|id| self.walker.stack(id)).map_or(0, |stack| stack.frames.len() as u64));
        stack
    }
}

fn main() {
    let command: Vec<OsString> = std::env::args_os().skip(1).collect();
    let path = std::env::var_os("PATH");
    let mut launch = Launch::new(&command, path.as_deref()).unwrap();
    (launch.stacks, launch.same_cpu) = (true, true);
    let mut clock = Clock {
        spaces: Spaces::new(vmatlas_sys::page_size()),
        walker: Walker::new(),
        first: Vec::new(),
        again: Vec::new(),
        frames: Vec::new(),
    };
    let tracer = Tracer::start(&launch).unwrap();
    tracer.run(&mut ProcKernel::new(ProcRoot::system()), &mut clock).unwrap();
    let median = |values: &mut Vec<u64>| {
        values.sort_unstable();
        values.get(values.len() / 2).copied().unwrap_or(0)
    };
    let (first, again) = (median(&mut clock.first), median(&mut clock.again));
    println!("{first} {again} {} ({} stacks)", median(&mut clock.frames), clock.again.len());
}
