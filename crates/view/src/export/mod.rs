//! Call stacks with weights, in the formats that flame graphs and profilers of others read.
//!
//! You give a [`Profile`]: places with the functions there, stacks of places, and what each stack is charged with. You get
//! bytes of a file. Nothing is looked up and nothing written here. Formats and who reads them:
//!
//! | format | for |
//! |---|---|
//! | [`collapsed`] | flamegraph.pl, inferno, speedscope; `grep` and `sort` |
//! | [`speedscope`] | <https://www.speedscope.app>, also offline |
//! | [`firefox`] | <https://profiler.firefox.com> |
//! | [`pprof`] | `go tool pprof`, Pyroscope, Parca |

mod collapsed;
mod firefox;
mod pprof;
mod speedscope;
mod strings;

pub use collapsed::collapsed;
pub use firefox::firefox;
pub use pprof::pprof;
pub use speedscope::speedscope;

use crate::escape;
use std::collections::HashMap;
use vmatlas_event::{Addr, Module, Name, Symbol};

/// What the outermost frame of a stack is called whose callers are missing.
pub const TRUNCATED: &str = "[truncated]";

/// Stacks and what they are charged with.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// What it is of: a command, a recording.
    pub title: String,
    /// What weighs, in the order of [`Sample::values`].
    pub weights: Vec<Weight>,
    /// The one that is shown first: an index into `weights`.
    pub preferred: usize,
    /// Files with code; [`Place::module`] is an index into it.
    pub modules: Vec<Module>,
    /// Places in code; [`Sample::stack`] has indices into it.
    pub places: Vec<Place>,
    /// In order of time.
    pub samples: Vec<Sample>,
    /// When it began, in nanoseconds since 1970; `None` where that is not known.
    pub began: Option<i64>,
    /// How long it took, in nanoseconds.
    pub duration: Option<u64>,
}

/// Something that a stack is charged with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight {
    /// A word: `mapped`, `resident`, `calls`, `faults`.
    pub name: &'static str,
    /// What its values count.
    pub unit: Unit,
}

/// What a value counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Things that happened.
    Count,
}

/// A place in code.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Place {
    /// The module it is in.
    pub module: Option<usize>,
    /// Its address: the module's own where it is in one, otherwise that in the process. Of a caller, a byte of the call and
    /// not the one to return to.
    pub address: Addr,
    /// The functions there, innermost first; empty where no name is known.
    pub functions: Vec<Symbol>,
}

/// One stack and its weights.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Indices of places, innermost first; those that are out of bounds are left out.
    pub stack: Vec<usize>,
    /// Whether callers are missing.
    pub is_truncated: bool,
    /// One for each weight; what is missing counts as nothing.
    pub values: Vec<u64>,
    /// Nanoseconds since the beginning; `None` where it is a sum of several.
    pub at: Option<u64>,
}

impl Profile {
    /// The places of a stack, outermost first.
    fn outermost_first<'a>(&'a self, sample: &'a Sample) -> impl Iterator<Item = (usize, &'a Place)> {
        sample.stack.iter().rev().filter_map(|index| Some((*index, self.places.get(*index)?)))
    }

    /// The samples with equal stacks added up, in the order in which each stack came first.
    fn summed(&self) -> Vec<Sample> {
        let mut known: HashMap<(&[usize], bool), usize> = HashMap::new();
        let mut sums: Vec<Sample> = Vec::new();
        for sample in &self.samples {
            let at = *known.entry((&sample.stack, sample.is_truncated)).or_insert(sums.len());
            match sums.get_mut(at) {
                None => sums.push(Sample { at: None, ..sample.clone() }),
                Some(sum) => {
                    sum.values.resize(sum.values.len().max(sample.values.len()), 0);
                    for (sum, value) in sum.values.iter_mut().zip(&sample.values) {
                        *sum = sum.saturating_add(*value);
                    }
                }
            }
        }
        sums
    }

    fn module(&self, place: &Place) -> Option<&Module> {
        self.modules.get(place.module?)
    }

    /// What a place without functions is called: `libc.so.6+0x1234`, or its bare address.
    fn without_name(&self, place: &Place) -> String {
        match self.module(place).and_then(|module| module.name.as_ref()) {
            Some(name) => format!("{}+{}", escape::terminal(file_name(name.as_bytes())), place.address),
            None => place.address.to_string(),
        }
    }

    /// What a function is called at a place.
    fn label(&self, place: &Place, function: &Symbol) -> String {
        function.function.as_ref().map_or_else(|| self.without_name(place), text)
    }

    /// The functions of a stack, outermost first, with the mark where callers are missing.
    fn labels(&self, sample: &Sample) -> Vec<String> {
        let mark = sample.is_truncated.then(|| TRUNCATED.to_owned());
        let places = self.outermost_first(sample).flat_map(|(_, place)| {
            let names: Vec<String> = match place.functions.is_empty() {
                true => vec![self.without_name(place)],
                false => place.functions.iter().rev().map(|f| self.label(place, f)).collect(),
            };
            names
        });
        mark.into_iter().chain(places).collect()
    }
}

impl Sample {
    fn value(&self, weight: usize) -> u64 {
        self.values.get(weight).copied().unwrap_or(0)
    }
}

impl Unit {
    /// The word that pprof and speedscope know it by.
    fn word(self) -> &'static str {
        match self {
            Unit::Bytes => "bytes",
            Unit::Count => "count",
        }
    }
}

/// Bytes chosen by the program as text in which nothing acts.
fn text(name: &Name) -> String {
    escape::terminal(name.as_bytes())
}

fn file_name(path: &[u8]) -> &[u8] {
    path.rsplit(|b| *b == b'/').next().unwrap_or(path)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn symbol(function: &[u8], line: u32, is_inlined: bool) -> Symbol {
        let file = Some(Name::new(b"/src/a.c"));
        Symbol { function: Some(Name::new(function)), file, line: Some(line), is_inlined }
    }

    /// main -> grow -> (inlined) fill -> mmap in libc, and the same without its callers; hostile names in between.
    pub(crate) fn profile() -> Profile {
        let module = |name: &[u8], build_id: &[u8]| Module {
            name: Some(Name::new(name)),
            build_id: build_id.to_vec(),
            ..Module::default()
        };
        let place = |module, address, functions| Place { module, address: Addr(address), functions };
        Profile {
            title: "a 'title' \"quoted\"\n".to_owned(),
            weights: vec![
                Weight { name: "calls", unit: Unit::Count },
                Weight { name: "mapped", unit: Unit::Bytes },
            ],
            preferred: 1,
            modules: vec![module(b"/bin/a", &[0xab, 0xcd]), module(b"/lib/libc.so.6", b"")],
            places: vec![
                place(Some(1), 0x100, vec![symbol(b"mmap", 0, false)]),
                place(Some(0), 0x200, vec![symbol(b"fill(int, char)", 7, true), symbol(b"grow", 20, false)]),
                place(Some(0), 0x300, vec![symbol(b"main", 30, false)]),
                place(Some(0), 0x400, vec![]),
                place(None, 0x7f00_0000, vec![]),
                place(None, 0x7f00_1000, vec![symbol(b"a;b 7\n\x1b[31m\xff\xe2\x80\xae", 1, false)]),
                place(Some(1), 0x500, vec![Symbol::default()]),
            ],
            samples: vec![
                Sample {
                    stack: vec![0, 1, 2],
                    values: vec![1, 4096],
                    at: Some(1_000_000),
                    ..Sample::default()
                },
                Sample {
                    stack: vec![0, 1, 2],
                    values: vec![1, 8192],
                    at: Some(2_500_000),
                    ..Sample::default()
                },
                Sample { stack: vec![0, 3, 4], is_truncated: true, values: vec![1, 0], at: Some(3_000_000) },
                Sample {
                    stack: vec![6, 5, 99, 2],
                    values: vec![1, 10],
                    at: Some(4_000_000),
                    ..Sample::default()
                },
                Sample { stack: vec![], values: vec![1], at: Some(5_000_000), ..Sample::default() },
            ],
            began: Some(1_700_000_000_000_000_000),
            duration: Some(6_000_000),
        }
    }

    /// Checks that equal stacks become one, with what is missing as nothing.
    #[test]
    fn equal_stacks_are_added_up() {
        let sums = profile().summed();
        assert_eq!(sums.len(), 4);
        assert_eq!((sums[0].values.as_slice(), sums[0].at), (&[2, 12288][..], None));
        assert_eq!(sums[3].value(1), 0);
    }

    /// Checks labels of functions, of places without names, and the mark of missing callers.
    #[test]
    fn every_frame_has_a_label() {
        let profile = profile();
        assert_eq!(profile.labels(&profile.samples[0]), ["main", "grow", "fill(int, char)", "mmap"]);
        assert_eq!(profile.labels(&profile.samples[2]), ["[truncated]", "0x7f000000", "a+0x400", "mmap"]);
        assert_eq!(
            profile.labels(&profile.samples[3]),
            ["main", "a;b 7\\x0a\\x1b[31m\\xff\\u{202e}", "libc.so.6+0x500"]
        );
    }
}
