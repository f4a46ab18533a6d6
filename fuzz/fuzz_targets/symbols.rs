#![no_main]

#[path = "../../crates/stack/tests/forge/mod.rs"]
mod forge;

libfuzzer_sys::fuzz_target!(|data: &[u8]| forge::symbols(data));
