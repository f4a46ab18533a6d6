//! What all commands together ask of a recording.

use std::path::Path;
use vmatlas_event::{Addr, EventSource, FrameId, PageSize, Place, Seq, StackId};
use vmatlas_model::timeline::{Moment, Timeline, Whose};
use vmatlas_record::Reader;

/// So many events are replayed: a few bytes can stand for a million.
const MOST: u64 = 3000;

/// Opens a recording and asks it for everything; answers and errors alike are good.
pub(crate) fn everything(folder: &Path) {
    let mut reader = match Reader::open(folder) {
        Ok(reader) => reader,
        Err(error) => {
            let _ = error.to_string();
            return;
        }
    };
    let known = (reader.spaces().len(), reader.tasks().len(), reader.keyframes().count(), reader.size());
    assert!(known.3 > 0, "{known:?}");
    for damage in reader.damage() {
        assert!(!damage.to_string().contains('\n'), "{damage}");
    }
    let _ = reader.check();
    let mut before = None;
    let mut count = 0;
    let read = reader.events(Seq(0), &mut |event| {
        assert!(before.is_none_or(|before| before < event.seq), "numbers grow");
        before = Some(event.seq);
        count += 1;
        count < MOST
    });
    let _ = read.map_err(|error| error.to_string());
    if let Ok(stacks) = reader.stacks() {
        let [_, frames, steps] = stacks.counts().map(|count| count.min(1000) as u32);
        for n in 0..steps {
            let stack = stacks.get(StackId(n)).expect("each number has its stack");
            assert!(stack.frames.iter().all(|(frame, _)| match frame.place {
                Place::Module(module, _) => stacks.module(module).is_some(),
                Place::Unknown(_) => true,
            }));
        }
        let _ = (0..frames).map(|n| stacks.symbols(FrameId(n)).count()).sum::<usize>();
    }
    let mut looks = Vec::new();
    let _ = reader.looks(&mut looks).map_err(|error| error.to_string());
    for at in 0..looks.len().min(20) {
        let _ = reader.pages_at(&looks, at, &mut |row| assert!(row.range.start() <= row.range.end()));
    }
    let _ = reader.pages_between(Seq(1), Seq(1000), &mut |seq, _| assert!((1..=1000).contains(&seq.0)));
    let _ = reader.tally().map_err(|error| error.to_string());
    let (page, distrust) = (reader.meta().page_size, reader.meta().distrust);
    let page = PageSize::new(page).or(PageSize::new(4096)).expect("a size of pages");
    if let Ok(timeline) = Timeline::open(reader, page, distrust) {
        // Events are read again for each journey: one is enough to reach what reads them.
        travel(timeline, count, &[1], 3);
    }
}

/// Goes to moments of a timeline, in parts of its length, and some steps forth and back; replays at most [`MOST`] events.
pub(crate) fn travel<S: EventSource>(mut timeline: Timeline<S>, count: u64, moments: &[u64], steps: u64)
where
    S::Error: std::fmt::Debug,
{
    let mut left = MOST;
    let verified = timeline.verify(|_| {
        left -= 1;
        left > 0
    });
    drop(verified);
    if count >= MOST {
        // The rest reads to the end, which takes as long as there are events; that is no fault.
        return;
    }
    let _ = timeline.tree().map(|tree| tree.root());
    let last = timeline.last().map_or(0, |last| last.0);
    for part in moments {
        let _ = timeline.seek_event(Seq(last / part.max(&1)));
        let mms = timeline.spaces();
        for mm in mms.iter().take(2) {
            let addr = timeline.space(*mm).and_then(|space| space.vmas().next().map(|vma| vma.range.start()));
            let _ = timeline.history(*mm, addr.unwrap_or(Addr(0)), |_| true);
        }
    }
    for step in 0..steps {
        let of = timeline.spaces().first().copied().filter(|_| step % 3 == 0);
        let _ = if step % 8 < 5 { timeline.step_back(of) } else { timeline.step_forward(of) };
        let _ = timeline.latest();
    }
    for moment in ["peak", "exec", "exit", "0.1s", "99", "m"].into_iter().take(steps as usize) {
        let _ = timeline.seek(&Moment::parse(moment), Whose::default());
    }
}
