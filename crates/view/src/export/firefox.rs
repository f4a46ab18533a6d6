//! The processed format of the Firefox profiler (<https://profiler.firefox.com>), as version 55 of it has it.
//!
//! A thread for each weight, whose samples have the times of the calls and the weight that its call tree adds up. What
//! the loader needs of a thread of native code: samples (stack, time, weight), stackTable (prefix, frame), frameTable,
//! funcTable, resourceTable, nativeSymbols, markers, stringArray; of the whole: meta with categories, and libs.

use super::strings::Table;
use super::{Place, Profile, Sample, TRUNCATED, Unit, file_name, text};
use serde_json::{Value, json};
use std::collections::HashMap;
use vmatlas_event::Name;

/// The version of the format; the profiler upgrades older files when it loads them.
const VERSION: u32 = 55;
const LIBRARY: u32 = 1;

/// The whole file.
pub fn firefox(profile: &Profile) -> Value {
    let threads: Vec<Value> =
        (0..profile.weights.len()).map(|weight| Thread::new(profile).with(weight)).collect();
    let selected = profile.preferred.min(threads.len().saturating_sub(1));
    let visible: Vec<usize> = (0..threads.len()).collect();
    json!({
        "meta": {
            "preprocessedProfileVersion": VERSION,
            "version": 24,
            "interval": 1,
            "startTime": profile.began.unwrap_or(0) / 1_000_000,
            "processType": 0,
            "product": crate::escape::terminal(profile.title.as_bytes()),
            "importedFrom": "vmatlas",
            "stackwalk": 1,
            "debug": false,
            "symbolicated": true,
            "usesOnlyOneStackType": true,
            "doesNotUseFrameImplementation": true,
            "sourceCodeIsNotOnSearchfox": true,
            "categories": [{"name": "Other", "color": "grey", "subcategories": ["Other"]}],
            "extensions": {"length": 0, "baseURL": [], "id": [], "name": []},
            "markerSchema": [],
            "pausedRanges": [],
            "initialVisibleThreads": visible,
            "initialSelectedThreads": if threads.is_empty() { json!([]) } else { json!([selected]) },
        },
        "libs": profile.modules.iter().map(library).collect::<Vec<_>>(),
        "threads": threads,
        "pages": [],
        "counters": [],
        "profilerOverhead": [],
    })
}

fn library(module: &vmatlas_event::Module) -> Value {
    let path = module.name.as_ref().map_or(&b"?"[..], Name::as_bytes);
    let (name, path) = (crate::escape::terminal(file_name(path)), crate::escape::terminal(path));
    let id: String = module.build_id.iter().map(|b| format!("{b:02x}")).collect();
    json!({
        "arch": null, "name": name, "path": path, "debugName": name, "debugPath": path,
        "breakpadId": "", "codeId": if id.is_empty() { Value::Null } else { json!(id) },
    })
}

/// The tables of one thread.
struct Thread<'a> {
    profile: &'a Profile,
    strings: Table<String>,
    /// Module and name's string.
    resources: Table<(usize, usize)>,
    /// Name, resource, file.
    functions: Table<(usize, Option<usize>, Option<usize>)>,
    /// Function, address, line, how deep inlined.
    frames: Table<(usize, Option<u64>, Option<u32>, usize)>,
    /// Frame and the stack of its caller.
    stacks: Table<(usize, Option<usize>)>,
    /// The frames of each place, outermost first.
    places: HashMap<usize, Vec<usize>>,
}

impl<'a> Thread<'a> {
    fn new(profile: &'a Profile) -> Thread<'a> {
        Thread {
            profile,
            strings: Table::new(),
            resources: Table::new(),
            functions: Table::new(),
            frames: Table::new(),
            stacks: Table::new(),
            places: HashMap::new(),
        }
    }

    fn with(mut self, weight: usize) -> Value {
        let (mut stacks, mut times, mut weights) = (Vec::new(), Vec::new(), Vec::new());
        let mut now = 0;
        for sample in self.profile.samples.iter().filter(|s| s.value(weight) > 0) {
            // Times must not go back.
            now = sample.at.unwrap_or(now).max(now);
            stacks.push(self.stack(sample));
            times.push(now as f64 / 1e6);
            weights.push(sample.value(weight));
        }
        let (name, kind) = match self.profile.weights.get(weight) {
            Some(what) if what.unit == Unit::Bytes => (what.name, "bytes"),
            Some(what) => (what.name, "samples"),
            None => ("", "samples"),
        };
        let samples = json!({
            "length": stacks.len(), "stack": stacks, "time": times, "weight": weights, "weightType": kind,
        });
        let end = self.profile.duration.map(|ns| ns as f64 / 1e6);
        json!({
            "name": name, "processName": crate::escape::terminal(self.profile.title.as_bytes()),
            "processType": "default", "isMainThread": true, "pid": "0", "tid": weight,
            "processStartupTime": 0, "processShutdownTime": end, "registerTime": 0, "unregisterTime": end,
            "pausedRanges": [], "showMarkersInTimeline": false,
            "samples": samples, "markers": empty(&["category", "data", "endTime", "name", "phase", "startTime"]),
            "nativeSymbols": empty(&["address", "functionSize", "libIndex", "name"]),
            "stackTable": self.stack_table(), "frameTable": self.frame_table(), "funcTable": self.func_table(),
            "resourceTable": self.resource_table(), "stringArray": self.strings.values(),
        })
    }

    fn stack(&mut self, sample: &Sample) -> Option<usize> {
        let mut stack = None;
        if sample.is_truncated {
            let name = self.strings.number(TRUNCATED.to_owned());
            let function = self.functions.number((name, None, None));
            let frame = self.frames.number((function, None, None, 0));
            stack = Some(self.stacks.number((frame, None)));
        }
        for (index, place) in self.profile.outermost_first(sample) {
            let frames = match self.places.get(&index) {
                Some(frames) => frames.clone(),
                None => self.frames_of(index, place),
            };
            for frame in frames {
                stack = Some(self.stacks.number((frame, stack)));
            }
        }
        stack
    }

    fn frames_of(&mut self, index: usize, place: &Place) -> Vec<usize> {
        let resource = place.module.zip(self.profile.module(place)).map(|(at, module)| {
            let name = module.name.as_ref().map_or(&b"?"[..], Name::as_bytes);
            let name = self.strings.number(crate::escape::terminal(file_name(name)));
            self.resources.number((at, name))
        });
        let address = place.module.map(|_| place.address.0);
        let unnamed = [vmatlas_event::Symbol::default()];
        let functions = if place.functions.is_empty() { &unnamed[..] } else { &place.functions };
        let frames: Vec<usize> = functions
            .iter()
            .rev()
            .enumerate()
            .map(|(depth, symbol)| {
                let name = self.strings.number(self.profile.label(place, symbol));
                let file = symbol.file.as_ref().map(|file| self.strings.number(text(file)));
                let function = self.functions.number((name, resource, file));
                self.frames.number((function, address, symbol.line, depth))
            })
            .collect();
        self.places.insert(index, frames.clone());
        frames
    }

    fn stack_table(&self) -> Value {
        let (frame, prefix): (Vec<usize>, Vec<Option<usize>>) = self.stacks.values().iter().copied().unzip();
        json!({"length": frame.len(), "frame": frame, "prefix": prefix})
    }

    fn frame_table(&self) -> Value {
        let frames = self.frames.values();
        let all = |value: Value| vec![value; frames.len()];
        // No address is -1.
        let address: Vec<Value> = frames.iter().map(|f| f.1.map_or(json!(-1), |a| json!(a))).collect();
        json!({
            "length": frames.len(), "address": address,
            "func": frames.iter().map(|f| f.0).collect::<Vec<_>>(),
            "line": frames.iter().map(|f| f.2).collect::<Vec<_>>(),
            "inlineDepth": frames.iter().map(|f| f.3).collect::<Vec<_>>(),
            "category": all(json!(0)), "subcategory": all(json!(0)), "innerWindowID": all(json!(0)),
            "nativeSymbol": all(Value::Null), "column": all(Value::Null),
        })
    }

    fn func_table(&self) -> Value {
        let functions = self.functions.values();
        let all = |value: Value| vec![value; functions.len()];
        let resource: Vec<Value> = functions.iter().map(|f| f.1.map_or(json!(-1), |r| json!(r))).collect();
        json!({
            "length": functions.len(), "resource": resource,
            "name": functions.iter().map(|f| f.0).collect::<Vec<_>>(),
            "fileName": functions.iter().map(|f| f.2).collect::<Vec<_>>(),
            "isJS": all(json!(false)), "relevantForJS": all(json!(false)),
            "lineNumber": all(Value::Null), "columnNumber": all(Value::Null),
        })
    }

    fn resource_table(&self) -> Value {
        let (lib, name): (Vec<usize>, Vec<usize>) = self.resources.values().iter().copied().unzip();
        json!({
            "length": lib.len(), "host": vec![Value::Null; lib.len()], "type": vec![LIBRARY; lib.len()],
            "lib": lib, "name": name,
        })
    }
}

fn empty(columns: &[&str]) -> Value {
    let mut table: serde_json::Map<String, Value> =
        columns.iter().map(|column| ((*column).to_owned(), json!([]))).collect();
    table.insert("length".to_owned(), json!(0));
    Value::Object(table)
}

#[cfg(test)]
mod tests {
    use super::super::tests::profile;
    use super::*;

    /// What the loader reads of a table: its length, and each column as long as that.
    fn column<'a>(table: &'a Value, name: &str) -> &'a [Value] {
        let column = table[name].as_array().unwrap_or_else(|| panic!("no column {name}"));
        assert_eq!(column.len() as u64, table["length"].as_u64().unwrap(), "{name}");
        column
    }

    fn within(column: &[Value], length: &Value, allowed: &[Value]) {
        for value in column.iter().filter(|value| !allowed.contains(value)) {
            assert!(value.as_u64().unwrap() < length.as_u64().unwrap(), "{value} of {length}");
        }
    }

    /// Checks that tables have all columns of the format's version, as long as they say, with indices inside each other.
    #[test]
    fn tables_refer_to_each_other() {
        let file = firefox(&profile());
        assert_eq!(file["meta"]["preprocessedProfileVersion"], 55);
        assert!(file["meta"]["categories"][0]["subcategories"].is_array());
        let threads = file["threads"].as_array().unwrap();
        assert_eq!(threads.len(), 2);
        for thread in threads {
            let (none, minus) = (json!(null), json!(-1));
            let strings = json!(thread["stringArray"].as_array().unwrap().len());
            let (stacks, frames) = (&thread["stackTable"], &thread["frameTable"]);
            let (functions, resources) = (&thread["funcTable"], &thread["resourceTable"]);
            within(column(&thread["samples"], "stack"), &stacks["length"], std::slice::from_ref(&none));
            column(&thread["samples"], "weight");
            let times = column(&thread["samples"], "time");
            assert!(times.windows(2).all(|t| t[0].as_f64() <= t[1].as_f64()));
            within(column(stacks, "frame"), &frames["length"], &[]);
            for (at, prefix) in column(stacks, "prefix").iter().enumerate() {
                // The loader goes through the table once, so that callers come first.
                assert!(prefix.as_u64().is_none_or(|prefix| prefix < at as u64));
            }
            within(column(frames, "func"), &functions["length"], &[]);
            for name in ["address", "category", "subcategory", "line", "column", "inlineDepth"] {
                column(frames, name);
            }
            column(frames, "nativeSymbol");
            column(frames, "innerWindowID");
            within(column(functions, "name"), &strings, &[]);
            within(column(functions, "fileName"), &strings, std::slice::from_ref(&none));
            within(column(functions, "resource"), &resources["length"], &[minus]);
            for name in ["isJS", "relevantForJS", "lineNumber", "columnNumber"] {
                column(functions, name);
            }
            within(column(resources, "name"), &strings, &[]);
            within(column(resources, "lib"), &json!(file["libs"].as_array().unwrap().len()), &[]);
            column(resources, "host");
            column(resources, "type");
            column(&thread["markers"], "data");
            column(&thread["nativeSymbols"], "address");
        }
    }

    /// Checks a stack with an inlined function, times in milliseconds, and weights.
    #[test]
    fn a_stack_is_the_way_from_its_frame_to_its_callers() {
        let file = firefox(&profile());
        let thread = &file["threads"][1];
        assert_eq!(thread["samples"]["weight"], json!([4096, 8192, 10]));
        assert_eq!(thread["samples"]["time"], json!([1.0, 2.5, 4.0]));
        assert_eq!(thread["samples"]["weightType"], "bytes");
        let mut names = Vec::new();
        let mut stack = thread["samples"]["stack"][0].as_u64();
        while let Some(at) = stack.map(|at| at as usize) {
            let frame = thread["stackTable"]["frame"][at].as_u64().unwrap() as usize;
            let function = thread["frameTable"]["func"][frame].as_u64().unwrap() as usize;
            let name = thread["funcTable"]["name"][function].as_u64().unwrap() as usize;
            let depth = thread["frameTable"]["inlineDepth"][frame].as_u64().unwrap();
            names.push(format!("{} {depth}", thread["stringArray"][name].as_str().unwrap()));
            stack = thread["stackTable"]["prefix"][at].as_u64();
        }
        assert_eq!(names, ["mmap 0", "fill(int, char) 1", "grow 0", "main 0"]);
        assert_eq!(file["libs"][0]["codeId"], "abcd");
        assert_eq!(firefox(&Profile::default())["threads"], json!([]));
    }
}
