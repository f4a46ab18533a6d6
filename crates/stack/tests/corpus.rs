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
