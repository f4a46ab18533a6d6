//! speedscope's own format: <https://www.speedscope.app/file-format-schema.json>.

use super::strings::Table;
use super::{Profile, TRUNCATED, Unit, text};
use serde::Serialize;
use serde_json::{Value, json};

/// A frame as speedscope knows it: equal frames are one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
struct Frame {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u32>,
}

/// A file with one sampled profile for each weight, the preferred one shown first.
///
/// Samples are in order of time, neighbours with one stack added up; what weighs nothing is left out. Its axis is the sum
/// of the weights so far, not time.
pub fn speedscope(profile: &Profile) -> Value {
    let mut frames = Table::new();
    let stacks: Vec<Vec<usize>> = profile.samples.iter().map(|s| stack(profile, s, &mut frames)).collect();
    let profiles: Vec<Value> = profile
        .weights
        .iter()
        .enumerate()
        .map(|(weight, what)| {
            let mut samples: Vec<&[usize]> = Vec::new();
            let mut weights: Vec<u64> = Vec::new();
            for (sample, stack) in profile.samples.iter().zip(&stacks) {
                match (sample.value(weight), samples.last(), weights.last_mut()) {
                    (0, ..) => {}
                    (value, Some(last), Some(sum)) if last == stack => *sum = sum.saturating_add(value),
                    (value, ..) => {
                        samples.push(stack);
                        weights.push(value);
                    }
                }
            }
            let end = weights.iter().fold(0u64, |sum, w| sum.saturating_add(*w));
            let unit = match what.unit {
                Unit::Bytes => "bytes",
                Unit::Count => "none",
            };
            json!({
                "type": "sampled", "name": what.name, "unit": unit, "startValue": 0, "endValue": end,
                "samples": samples, "weights": weights,
            })
        })
        .collect();
    json!({
        "$schema": "https://www.speedscope.app/file-format-schema.json",
        "version": "0.0.1",
        "exporter": concat!("vmatlas ", env!("CARGO_PKG_VERSION")),
        "name": crate::escape::terminal(profile.title.as_bytes()),
        "activeProfileIndex": profile.preferred.min(profile.weights.len().saturating_sub(1)),
        "shared": { "frames": frames.values() },
        "profiles": profiles,
    })
}

/// The numbers of a stack's frames, outermost first.
fn stack(profile: &Profile, sample: &super::Sample, frames: &mut Table<Frame>) -> Vec<usize> {
    let mut numbers = Vec::new();
    let bare = |name: String| Frame { name, file: None, line: None };
    if sample.is_truncated {
        numbers.push(frames.number(bare(TRUNCATED.to_owned())));
    }
    for (_, place) in profile.outermost_first(sample) {
        if place.functions.is_empty() {
            numbers.push(frames.number(bare(profile.without_name(place))));
        }
        for function in place.functions.iter().rev() {
            let file = function.file.as_ref().map(text);
            let line = function.line.filter(|line| *line > 0);
            numbers.push(frames.number(Frame { name: profile.label(place, function), file, line }));
        }
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::super::tests::profile;
    use super::*;

    /// Checks the rules of the format: types, indices within the table, as many weights as samples, end value the sum.
    fn assert_rules(file: &Value) {
        assert_eq!(file["$schema"], "https://www.speedscope.app/file-format-schema.json");
        assert!(file["version"].is_string());
        let frames = file["shared"]["frames"].as_array().unwrap();
        for frame in frames {
            assert!(frame["name"].is_string());
            assert!(frame.get("file").is_none_or(Value::is_string));
            assert!(frame.get("line").is_none_or(|line| line.as_u64().is_some_and(|l| l > 0)));
        }
        let profiles = file["profiles"].as_array().unwrap();
        assert!((file["activeProfileIndex"].as_u64().unwrap() as usize) < profiles.len().max(1));
        for profile in profiles {
            assert_eq!(profile["type"], "sampled");
            assert!(profile["name"].is_string());
            assert!(["none", "bytes"].contains(&profile["unit"].as_str().unwrap()));
            let samples = profile["samples"].as_array().unwrap();
            let weights = profile["weights"].as_array().unwrap();
            assert_eq!(samples.len(), weights.len());
            let sum: u64 = weights.iter().map(|w| w.as_u64().unwrap()).sum();
            assert_eq!(profile["endValue"].as_u64().unwrap() - profile["startValue"].as_u64().unwrap(), sum);
            for index in samples.iter().flat_map(|s| s.as_array().unwrap()) {
                assert!((index.as_u64().unwrap() as usize) < frames.len());
            }
        }
    }

    /// Checks a file with hostile names, and an empty one, against the rules of the format.
    #[test]
    fn the_file_keeps_the_rules() {
        let file = speedscope(&profile());
        assert_rules(&file);
        assert_rules(&speedscope(&Profile::default()));
        let mapped = &file["profiles"][1];
        assert_eq!(mapped["weights"], json!([12288, 10]));
        assert_eq!(mapped["samples"][0], json!([0, 1, 2, 3]));
        assert_eq!(
            file["shared"]["frames"][2],
            json!({"name": "fill(int, char)", "file": "/src/a.c", "line": 7})
        );
        assert_eq!(file["profiles"][0]["weights"], json!([2, 1, 1, 1]));
    }
}
