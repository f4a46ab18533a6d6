//! Runs of pages as one JSON document, or one object per line, written while they are read.

use super::{MOST_FRAME_RUNS, PagesRow, Reading, Run, Totals, bytes, flag_names};
use crate::json;
use crate::show::Header;
use serde_json::{Map, Value, json};
use std::fmt::{self, Write};
use vmatlas_event::PageState;

/// A document being written.
#[derive(Debug)]
pub struct JsonWriter<'a> {
    rows: &'a [PagesRow],
    page: u64,
    limit: u64,
    /// One object per line.
    lines: bool,
    last_row: Option<usize>,
    totals: Totals,
    left_out: (u64, u64),
    written: u64,
}

fn process(header: &Header, vmas: usize) -> Value {
    let mut object = Map::new();
    object.insert("pid".into(), header.pid.map_or(Value::Null, |pid| pid.0.into()));
    json::put_name(&mut object, "name", &header.name);
    json::put_name(&mut object, "exe", &header.exe);
    object.insert("vmas".into(), vmas.into());
    object.insert("torn".into(), header.torn.into());
    Value::Object(object)
}

/// A value that may be hidden or not apply: `null` with the reason beside it.
fn put(object: &mut Map<String, Value>, key: &str, value: Option<Value>, why: &str) {
    let is_missing = value.is_none();
    object.insert(key.to_owned(), value.unwrap_or(Value::Null));
    if is_missing {
        object.insert(format!("{key}_why"), why.into());
    }
}

fn run_object(run: &Run, page: u64) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("start".into(), json::addr(run.range.start()));
    object.insert("end".into(), json::addr(run.range.end()));
    object.insert("pages".into(), run.pages.into());
    object.insert("size".into(), bytes(run.pages, page).0.into());
    object.insert("what".into(), run.state.id().into());
    object.insert("huge".into(), run.huge.into());
    if !run.state.has_frame() {
        return object;
    }
    put(&mut object, "exclusive", run.alone.map(Value::from), "unknown");
    let hidden = if run.frame_runs == 0 { "hidden" } else { "unknown" };
    let (least, most) = (run.mapped.map(|(least, _)| least.into()), run.mapped.map(|(_, most)| most.into()));
    put(&mut object, "mapped_by_least", least, hidden);
    put(&mut object, "mapped_by_most", most, hidden);
    put(&mut object, "flags", run.flags.map(|(all, _)| flag_names(all).into()), hidden);
    put(&mut object, "flags_of_some", run.flags.map(|(all, any)| flag_names(any & !all).into()), hidden);
    let frame = |f: &super::FrameRun| json!({ "pfn": format!("{:#x}", f.pfn), "pages": f.pages });
    let frames = (run.frame_runs > 0).then(|| run.frames.iter().map(frame).collect::<Vec<_>>().into());
    put(&mut object, "frames", frames, "hidden");
    if run.frame_runs > MOST_FRAME_RUNS as u64 {
        object.insert("frames_left_out".into(), (run.frame_runs - MOST_FRAME_RUNS as u64).into());
    }
    object
}

impl<'a> JsonWriter<'a> {
    /// For runs of these rows, `limit` of them at most; with `lines`, one object per line.
    pub fn new(rows: &'a [PagesRow], page: u64, limit: u64, lines: bool) -> JsonWriter<'a> {
        let (totals, left_out) = (Totals::default(), (0, 0));
        JsonWriter { rows, page, limit, lines, last_row: None, totals, left_out, written: 0 }
    }

    /// Writes what stands before the runs; `vmas` is how many the process has.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn start(&mut self, out: &mut dyn Write, header: &Header, vmas: usize) -> fmt::Result {
        let (process, page) = (process(header, vmas), self.page);
        let begin = format!("{{\"schema\":\"vmatlas/pages/1\",\"process\":{process},\"page_size\":{page}");
        match self.lines {
            true => writeln!(out, "{begin}}}"),
            false => write!(out, "{begin},\"vmas\":["),
        }
    }

    /// Writes a run of row number `row`.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn run(&mut self, out: &mut dyn Write, row: usize, run: &Run) -> fmt::Result {
        self.totals.add(run);
        if self.written >= self.limit {
            self.left_out.0 += 1;
            self.left_out.1 += run.pages;
            return Ok(());
        }
        self.written += 1;
        let mut object = run_object(run, self.page);
        let Some(vma) = self.rows.get(row) else { return Ok(()) };
        if self.lines {
            object.insert("vma".into(), json::addr(vma.vma.range.start()));
            object.insert("kind".into(), vma.kind.id().into());
            return writeln!(out, "{}", Value::Object(object));
        }
        if self.last_row != Some(row) {
            out.write_str(if self.last_row.is_some() { "]}," } else { "" })?;
            let mut head = json::vma(&vma.vma);
            head.insert("kind".into(), vma.kind.id().into());
            let text = Value::Object(head).to_string();
            write!(out, "{},\"runs\":[", text.strip_suffix('}').unwrap_or(&text))?;
            self.last_row = Some(row);
        } else {
            out.write_str(",")?;
        }
        write!(out, "{}", Value::Object(object))
    }

    /// Writes what stands after the runs.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn finish(&self, out: &mut dyn Write, reading: &Reading) -> fmt::Result {
        let sum = |state: PageState| {
            let sum = self.totals.of(state);
            let mut object = Map::new();
            object.insert("what".into(), state.id().into());
            object.insert("pages".into(), sum.pages.into());
            object.insert("size".into(), bytes(sum.pages, self.page).0.into());
            object.insert("huge".into(), bytes(sum.huge, self.page).0.into());
            if state.has_frame() {
                object.insert("exclusive".into(), bytes(sum.alone, self.page).0.into());
                object.insert("shared".into(), bytes(sum.shared, self.page).0.into());
                let rest = sum.pages.saturating_sub(sum.alone + sum.shared);
                object.insert("sharing_unknown".into(), bytes(rest, self.page).0.into());
            }
            Value::Object(object)
        };
        let end = json!({
            "totals": PageState::ALL.into_iter().map(sum).collect::<Vec<_>>(),
            "left_out": { "runs": self.left_out.0, "pages": self.left_out.1 },
            "complete": reading.complete,
            "cost": reading.cost,
        });
        if self.lines {
            return writeln!(out, "{end}");
        }
        let end = end.to_string();
        let close = if self.last_row.is_some() { "]}" } else { "" };
        writeln!(out, "{close}],{}", end.strip_prefix('{').unwrap_or(&end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pages::tests::{PAGE, page, row, runs};

    fn written(lines: bool, limit: u64) -> String {
        let rows = [row(0x10000, 8), row(0x40000, 4)];
        let pages = [(0, page(0x11000, Some(5), 2)), (1, page(0x41000, None, 1))];
        let mut writer = JsonWriter::new(&rows, PAGE, limit, lines);
        let mut out = String::new();
        writer.start(&mut out, &Header::default(), 2).unwrap();
        for (row, run) in runs(&rows, &pages, false) {
            writer.run(&mut out, row, &run).unwrap();
        }
        writer.finish(&mut out, &Reading { complete: true, ..Reading::default() }).unwrap();
        out
    }

    /// Checks the shape: VMAs with their runs, hidden values null with a reason and never 0, totals that add up.
    #[test]
    fn the_document_has_its_shape() {
        let document: Value = serde_json::from_str(&written(false, u64::MAX)).unwrap();
        assert_eq!(document["schema"], "vmatlas/pages/1");
        let runs = document["vmas"][0]["runs"].as_array().unwrap();
        assert_eq!((runs.len(), document["vmas"].as_array().unwrap().len()), (3, 2));
        assert_eq!(runs[1]["frames"], json!([{ "pfn": "0x5", "pages": 1 }]));
        assert_eq!((&runs[1]["mapped_by_most"], &runs[1]["exclusive"]), (&json!(2), &json!(false)));
        let hidden = &document["vmas"][1]["runs"][1];
        assert!(
            hidden["frames"].is_null() && hidden["mapped_by_least"].is_null() && hidden["flags"].is_null()
        );
        assert_eq!((&hidden["frames_why"], &hidden["exclusive"]), (&json!("hidden"), &json!(true)));
        let pages = |t: &Value| t["pages"].as_u64().unwrap();
        assert_eq!(document["totals"].as_array().unwrap().iter().map(pages).sum::<u64>(), 12);
        assert_eq!(document["complete"], true);
    }

    /// Checks that the document is whole whatever the limit is, and says what was left out; and one object per line.
    #[test]
    fn limits_keep_the_document_whole() {
        for limit in 0..8 {
            let document: Value = serde_json::from_str(&written(false, limit)).unwrap();
            assert_eq!(document["left_out"]["runs"], 6u64.saturating_sub(limit));
        }
        let text = written(true, 3);
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(
            (lines.len(), &lines[1]["vma"], &lines[4]["left_out"]["runs"]),
            (5, &json!("0x10000"), &json!(3))
        );
    }
}
