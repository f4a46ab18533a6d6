//! The answer as one JSON document.

use super::{Found, Story, WhyView, origin_and_since};
use crate::json;
use crate::kind_text::why_text;
use crate::lang::Lang;
use crate::stack::with_stack;
use serde_json::{Map, Value, json};
use vmatlas_event::{Errno, Event, MonoNs, Seq, VmaRow};
use vmatlas_model::Done;
use vmatlas_model::timeline::{Chapter, What};

/// The name of an error number.
type ErrnoName = fn(Errno) -> Option<&'static str>;

impl WhyView {
    /// All of it.
    pub fn json(&self, errno_name: ErrnoName) -> Value {
        let mut object = Map::new();
        object.insert("schema".into(), "vmatlas/why/1".into());
        object.insert("process".into(), Value::Object(self.process()));
        object.insert("address".into(), json::addr(self.addr));
        let mut vma = Value::Null;
        if let Some(row) = &self.row {
            let mut of_row = json::vma(&row.vma);
            crate::source::adjust_vma(&mut of_row, self.header.source.as_ref(), row.vma.offset);
            of_row.insert("kind".into(), row.verdict.kind.id().into());
            of_row.insert("confidence".into(), row.verdict.confidence.id().into());
            of_row.insert("why_kind".into(), why_text(&row.verdict.why, Lang::En).into());
            of_row.insert("backing".into(), row.backing.id().into());
            vma = Value::Object(of_row);
        }
        object.insert("vma".into(), vma);
        let neighbour = |row: &Option<VmaRow>| row.as_ref().map(json::vma).map_or(Value::Null, Value::Object);
        if self.row.is_none() {
            object.insert("below".into(), neighbour(&self.around.0));
            object.insert("above".into(), neighbour(&self.around.1));
        }
        self.put_story(&mut object, errno_name);
        Value::Object(object)
    }

    fn process(&self) -> Map<String, Value> {
        let header = &self.header;
        let mut process = Map::new();
        process.insert("pid".into(), header.pid.map_or(Value::Null, |pid| pid.0.into()));
        json::put_name(&mut process, "name", &header.name);
        json::put_name(&mut process, "exe", &header.exe);
        if let Some(source) = &header.source {
            process.insert("source".into(), source.json());
        }
        process
    }

    fn put_story(&self, object: &mut Map<String, Value>, errno_name: ErrnoName) {
        let Story::Recorded { history, events, looks, stacks, faults } = &self.story else {
            object.insert("origin".into(), Value::Null);
            object.insert("origin_why".into(), "not-recorded".into());
            return;
        };
        let (own, _) = origin_and_since(history);
        let seen = |mut value: Value, seq: Seq| {
            if let (Some(object), Some(seen)) = (value.as_object_mut(), looks.get(&seq)) {
                let seconds = |at: MonoNs| at.0 as f64 / 1e9;
                object.insert(
                    "look".into(),
                    json!({ "time": seconds(seen.at), "before": seen.before.map(seconds) }),
                );
            }
            with_stack(value, stacks.get(&seq))
        };
        let origin = match own {
            Some(own) => Some(seen(chapter(own, errno_name), own.event.seq)),
            None => history
                .origin
                .and_then(|seq| events.get(&seq))
                .map(|event| seen(bare(event, errno_name), event.seq)),
        };
        if origin.is_none() {
            object.insert("origin_why".into(), "unknown".into());
        }
        object.insert("origin".into(), origin.unwrap_or(Value::Null));
        let chapters: Vec<Value> =
            history.chapters.iter().map(|c| seen(chapter(c, errno_name), c.event.seq)).collect();
        object.insert("history".into(), chapters.into());
        let first = history.first_fault.as_ref().map(|event| seen(bare(event, errno_name), event.seq));
        if first.is_none() {
            object
                .insert("first_fault_why".into(), if *faults { "none-recorded" } else { "not-read" }.into());
        }
        object.insert("first_fault".into(), first.unwrap_or(Value::Null));
        object.insert("faults".into(), if *faults { history.faults.into() } else { Value::Null });
        object.insert("left_out".into(), history.left_out.into());
        object.insert("complete".into(), history.is_complete.into());
        let neighbours: Vec<Value> = history
            .neighbours
            .iter()
            .map(|part| {
                let event = events.get(&part.seq);
                json!({
                    "start": json::addr(part.range.start()), "end": json::addr(part.range.end()),
                    "size": part.range.len().0, "event": part.seq.0,
                    "call": event.map(|event| event.op.kind().name()), "found": event.and_then(Found::of).map(Found::id),
                })
            })
            .collect();
        object.insert("neighbours".into(), neighbours.into());
    }
}

/// An event of which no change is told.
fn bare(event: &Event, errno_name: ErrnoName) -> Value {
    let done = Done { event: event.clone(), change: Default::default(), pages: Vec::new(), confirmed: true };
    let mut value = json::event(&done, errno_name);
    if let Some(object) = value.as_object_mut() {
        object.remove("schema");
        object.insert("found".into(), Found::of(event).map_or(Value::Null, |found| found.id().into()));
    }
    value
}

/// An event with its change, where the page was then, and what happened to it.
fn chapter(chapter: &Chapter, errno_name: ErrnoName) -> Value {
    let mut value = bare(&chapter.event, errno_name);
    let Some(object) = value.as_object_mut() else { return value };
    object.insert("change".into(), json::change(&chapter.change, &chapter.change.pages()));
    object.insert("confirmed".into(), chapter.confirmed.into());
    object.insert("mm".into(), chapter.mm.0.into());
    object.insert("address".into(), json::addr(chapter.addr));
    let (what, to) = match chapter.what {
        What::Mapped => ("mapped", None),
        What::Unmapped => ("unmapped", None),
        What::Altered => ("altered", None),
        What::Moved(to) => ("moved", Some(("to", json::addr(to)))),
        What::Forked(mm) => ("forked", Some(("to_mm", mm.0.into()))),
        What::Bounds => ("bounds", None),
        What::Advised => ("advised", None),
    };
    object.insert("what".into(), what.into());
    object.extend(to.map(|(key, value)| (key.to_owned(), value)));
    let row = |row: &Option<VmaRow>| row.as_ref().map(json::vma).map_or(Value::Null, Value::Object);
    object.insert("vma_before".into(), row(&chapter.before));
    object.insert("vma_after".into(), row(&chapter.after));
    value
}
