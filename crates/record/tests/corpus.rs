//! What the fuzzer found worth keeping, and each input that once broke something: all of it, in every run of the tests.

#![expect(clippy::expect_used, reason = "a test binary")]

mod forge;

use forge::{TARGETS, put_together};
use std::fs;
use std::time::{Duration, Instant};

/// Checks that no input of the corpus makes a reader panic, or takes it long.
#[test]
fn the_corpus_is_read_or_refused() {
    let corpus = vmatlas_testkit::fixtures().join("fuzz");
    for (name, target) in TARGETS {
        let mut inputs: Vec<_> =
            fs::read_dir(corpus.join(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
        inputs.sort();
        assert!(inputs.len() > 5, "{name}: {} inputs", inputs.len());
        for input in inputs {
            let start = Instant::now();
            // The name of one that breaks something is told with the panic.
            println!("{}", input.display());
            target(&fs::read(&input).unwrap());
            assert!(start.elapsed() < Duration::from_secs(20), "{} takes long", input.display());
        }
    }
}

/// Checks that a packed file with nothing to put right is the same file after it: the fuzzer makes them as `pack` does.
#[test]
fn packed_files_are_made_as_pack_makes_them() {
    let file = fs::read(vmatlas_testkit::fixtures().join("recordings/v1/packed.zip")).unwrap();
    assert_eq!(put_together(&file), file);
}
