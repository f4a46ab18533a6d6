//! What the fuzzer found worth keeping, and each input that once broke something: all of it, in every run of the tests.

#![expect(clippy::expect_used, reason = "a test binary")]
#![forbid(unsafe_code)]

mod forge;

use std::fs;

/// Checks that no input of the corpus makes a parser panic, or takes it long.
#[test]
fn the_corpus_is_named_or_refused() {
    let corpus = vmatlas_testkit::fixtures().join("fuzz/symbols");
    let mut inputs: Vec<_> = fs::read_dir(corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    inputs.sort();
    assert!(inputs.len() > 5, "{} inputs", inputs.len());
    for input in inputs {
        // The name of one that breaks something is told with the panic.
        println!("{}", input.display());
        forge::symbols(&fs::read(&input).unwrap());
    }
}

/// Checks that the same holds for what becomes of each input when bytes of it are changed, taken out, or put twice.
#[test]
fn damaged_inputs_are_named_or_refused() {
    let mut inputs: Vec<_> =
        fs::read_dir(vmatlas_testkit::fixtures().join("fuzz/symbols")).unwrap().collect();
    inputs.sort_by_key(|entry| entry.as_ref().unwrap().path());
    let flips = std::env::var("VMATLAS_FLIPS").ok().and_then(|n| n.parse().ok()).unwrap_or(2000);
    let mut state = 1u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below.max(1)
    };
    for number in 0..flips {
        let input = inputs[number % inputs.len()].as_ref().unwrap().path();
        let mut bytes = fs::read(&input).unwrap();
        for _ in 0..=random(3) {
            let at = 1 + random(bytes.len() - 1);
            match random(4) {
                0 => bytes[at] ^= 1 << random(8),
                1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][random(5)],
                2 => drop(bytes.drain(at..(at + random(16)).min(bytes.len()))),
                _ => bytes.extend_from_within(at..(at + random(64)).min(bytes.len())),
            }
        }
        println!("{} {number}", input.display());
        forge::symbols(&bytes);
    }
}
