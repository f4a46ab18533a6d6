//! pprof's format: a protobuf of perftools.profiles (<https://github.com/google/pprof/blob/main/proto/profile.proto>), gzipped.
//!
//! The messages are written by hand: ten lines each, and no compiler of protobufs when vmatlas is built.

use super::strings::Table;
use super::{Place, Profile, TRUNCATED, text};
use flate2::{Compression, GzBuilder};
use prost::Message;
use std::io::{self, Write};
use vmatlas_event::{Module, Name, Symbol};

/// perftools.profiles.Profile; strings are indices into `string_table`, whose first is empty.
#[derive(Clone, PartialEq, Message)]
struct File {
    #[prost(message, repeated, tag = "1")]
    sample_type: Vec<ValueType>,
    #[prost(message, repeated, tag = "2")]
    sample: Vec<PprofSample>,
    #[prost(message, repeated, tag = "3")]
    mapping: Vec<Mapping>,
    #[prost(message, repeated, tag = "4")]
    location: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    function: Vec<Function>,
    #[prost(string, repeated, tag = "6")]
    string_table: Vec<String>,
    #[prost(int64, tag = "9")]
    time_nanos: i64,
    #[prost(int64, tag = "10")]
    duration_nanos: i64,
    #[prost(int64, repeated, tag = "13")]
    comment: Vec<i64>,
    #[prost(int64, tag = "14")]
    default_sample_type: i64,
}

#[derive(Clone, PartialEq, Message)]
struct ValueType {
    #[prost(int64, tag = "1")]
    kind: i64,
    #[prost(int64, tag = "2")]
    unit: i64,
}

#[derive(Clone, PartialEq, Message)]
struct PprofSample {
    #[prost(uint64, repeated, tag = "1")]
    location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    value: Vec<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct Mapping {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "2")]
    memory_start: u64,
    #[prost(uint64, tag = "3")]
    memory_limit: u64,
    #[prost(int64, tag = "5")]
    filename: i64,
    #[prost(int64, tag = "6")]
    build_id: i64,
    #[prost(bool, tag = "7")]
    has_functions: bool,
    #[prost(bool, tag = "8")]
    has_filenames: bool,
    #[prost(bool, tag = "9")]
    has_line_numbers: bool,
    #[prost(bool, tag = "10")]
    has_inline_frames: bool,
}

#[derive(Clone, PartialEq, Message)]
struct Location {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "2")]
    mapping_id: u64,
    #[prost(uint64, tag = "3")]
    address: u64,
    #[prost(message, repeated, tag = "4")]
    line: Vec<Line>,
}

#[derive(Clone, PartialEq, Message)]
struct Line {
    #[prost(uint64, tag = "1")]
    function_id: u64,
    #[prost(int64, tag = "2")]
    line: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Function {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(int64, tag = "2")]
    name: i64,
    #[prost(int64, tag = "3")]
    system_name: i64,
    #[prost(int64, tag = "4")]
    filename: i64,
}

/// The whole file, gzipped; equal stacks are one sample with all weights.
///
/// Mappings are the modules, at their own addresses: a module's place in the process differs between processes of one
/// recording, and nobody needs it once there are names. They say that they have functions, so that pprof does not look for
/// files of its own.
///
/// # Errors
/// None but those of gzip in memory.
pub fn pprof(profile: &Profile) -> io::Result<Vec<u8>> {
    let mut zip = GzBuilder::new().write(Vec::new(), Compression::default());
    zip.write_all(&Builder::new().build(profile).encode_to_vec())?;
    zip.finish()
}

struct Builder {
    strings: Table<String>,
    functions: Table<(i64, i64)>,
}

impl Builder {
    fn new() -> Builder {
        let mut strings = Table::new();
        strings.number(String::new());
        Builder { strings, functions: Table::new() }
    }

    fn build(mut self, profile: &Profile) -> File {
        let sample_type = profile.weights.iter().map(|weight| ValueType {
            kind: self.string(weight.name),
            unit: self.string(weight.unit.word()),
        });
        let sample_type: Vec<ValueType> = sample_type.collect();
        let mapping = self.mappings(profile);
        let mut location: Vec<Location> =
            profile.places.iter().zip(1..).map(|(place, id)| self.location(profile, place, id)).collect();
        let truncated = location.len() as u64 + 1;
        let function_id = self.function(TRUNCATED, None);
        location.push(Location {
            id: truncated,
            line: vec![Line { function_id, line: 0 }],
            ..Location::default()
        });
        let samples =
            profile.summed().into_iter().filter(|s| s.values.iter().any(|v| *v > 0)).map(|sample| {
                // Numbers of places begin with 1.
                let known =
                    sample.stack.iter().filter(|at| **at < profile.places.len()).map(|at| *at as u64 + 1);
                let mark = sample.is_truncated.then_some(truncated);
                let values =
                    (0..profile.weights.len()).map(|w| sample.value(w).try_into().unwrap_or(i64::MAX));
                PprofSample { location_id: known.chain(mark).collect(), value: values.collect() }
            });
        let sample = samples.collect();
        let comment = vec![self.string(&crate::escape::terminal(profile.title.as_bytes()))];
        let default_sample_type = sample_type.get(profile.preferred).map_or(0, |t| t.kind);
        let function = self.functions.values().iter().zip(1..).map(|((name, filename), id)| Function {
            id,
            name: *name,
            system_name: *name,
            filename: *filename,
        });
        File {
            sample_type,
            sample,
            mapping,
            location,
            function: function.collect(),
            string_table: self.strings.values().to_vec(),
            time_nanos: profile.began.unwrap_or(0),
            duration_nanos: profile.duration.unwrap_or(0).try_into().unwrap_or(i64::MAX),
            comment,
            default_sample_type,
        }
    }

    fn string(&mut self, text: &str) -> i64 {
        self.strings.number(text.to_owned()) as i64
    }

    /// The number of a function, from 1.
    fn function(&mut self, name: &str, file: Option<&Name>) -> u64 {
        let (name, file) = (self.string(name), file.map_or(0, |file| self.string(&text(file))));
        self.functions.number((name, file)) as u64 + 1
    }

    fn mappings(&mut self, profile: &Profile) -> Vec<Mapping> {
        let mut mappings: Vec<Mapping> =
            profile.modules.iter().zip(1..).map(|(module, id)| self.mapping(module, id)).collect();
        for place in &profile.places {
            let mapping = place.module.and_then(|at| mappings.get_mut(at));
            if let Some(mapping) = mapping {
                mapping.memory_limit = mapping.memory_limit.max(place.address.0.saturating_add(1));
                let any = |has: fn(&Symbol) -> bool| place.functions.iter().any(has);
                mapping.has_filenames |= any(|f| f.file.is_some());
                mapping.has_line_numbers |= any(|f| f.line.is_some());
                mapping.has_inline_frames |= any(|f| f.is_inlined);
            }
        }
        mappings
    }

    fn mapping(&mut self, module: &Module, id: u64) -> Mapping {
        let build_id: String = module.build_id.iter().map(|b| format!("{b:02x}")).collect();
        let name = module.name.as_ref().map(text).unwrap_or_default();
        Mapping {
            id,
            filename: self.string(&name),
            build_id: self.string(&build_id),
            has_functions: true,
            ..Mapping::default()
        }
    }

    fn location(&mut self, profile: &Profile, place: &Place, id: u64) -> Location {
        let mut line: Vec<Line> = place
            .functions
            .iter()
            .map(|symbol| Line {
                function_id: self.function(&profile.label(place, symbol), symbol.file.as_ref()),
                line: symbol.line.unwrap_or(0).into(),
            })
            .collect();
        if line.is_empty() {
            let function_id = self.function(&profile.without_name(place), None);
            line.push(Line { function_id, line: 0 });
        }
        let mapping_id = place.module.filter(|at| *at < profile.modules.len()).map_or(0, |at| at as u64 + 1);
        Location { id, mapping_id, address: place.address.0, line }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::profile;
    use super::*;
    use std::io::Read;

    fn file(profile: &Profile) -> File {
        let mut bytes = Vec::new();
        flate2::read::GzDecoder::new(&pprof(profile).unwrap()[..]).read_to_end(&mut bytes).unwrap();
        File::decode(&bytes[..]).unwrap()
    }

    /// Checks what pprof itself checks of a file: as many values as types, unique numbers from 1, and that all numbers of
    /// locations, mappings, functions and strings are there.
    #[test]
    fn numbers_refer_to_what_is_there() {
        for profile in [profile(), Profile::default()] {
            let file = file(&profile);
            assert_eq!(file.string_table[0], "");
            let string = |at: i64| assert!((at as usize) < file.string_table.len());
            for sample in &file.sample {
                assert_eq!(sample.value.len(), file.sample_type.len());
                assert!(sample.location_id.iter().all(|id| (1..=file.location.len() as u64).contains(id)));
            }
            for (location, id) in file.location.iter().zip(1..) {
                assert_eq!(location.id, id);
                assert!(location.mapping_id <= file.mapping.len() as u64);
                assert!(!location.line.is_empty());
                for line in &location.line {
                    assert!((1..=file.function.len() as u64).contains(&line.function_id));
                }
            }
            for (function, id) in file.function.iter().zip(1..) {
                assert_eq!(function.id, id);
                [function.name, function.system_name, function.filename].into_iter().for_each(string);
            }
            for (mapping, id) in file.mapping.iter().zip(1..) {
                assert_eq!(mapping.id, id);
                [mapping.filename, mapping.build_id].into_iter().for_each(string);
            }
            file.sample_type.iter().for_each(|kind| [kind.kind, kind.unit].into_iter().for_each(string));
        }
    }

    /// Checks weights with their units, the functions of a place with inlining, and the mark of missing callers.
    #[test]
    fn a_location_has_all_its_functions() {
        let file = file(&profile());
        let text = |at: i64| file.string_table[at as usize].as_str();
        let types: Vec<_> = file.sample_type.iter().map(|t| (text(t.kind), text(t.unit))).collect();
        assert_eq!(types, [("calls", "count"), ("mapped", "bytes")]);
        assert_eq!(text(file.default_sample_type), "mapped");
        assert_eq!(
            (file.sample[0].value.as_slice(), file.sample[0].location_id.as_slice()),
            (&[2, 12288][..], &[1, 2, 3][..])
        );
        let names = |location: u64| -> Vec<&str> {
            let lines = &file.location[location as usize - 1].line;
            lines.iter().map(|l| text(file.function[l.function_id as usize - 1].name)).collect()
        };
        assert_eq!(names(2), ["fill(int, char)", "grow"]);
        assert_eq!(names(*file.sample[1].location_id.last().unwrap()), [TRUNCATED]);
        assert!(file.mapping[0].has_inline_frames && !file.mapping[1].has_inline_frames);
        assert_eq!(text(file.mapping[0].build_id), "abcd");
    }
}
