#![no_main]

#[path = "../../crates/record/tests/forge/mod.rs"]
#[allow(dead_code, reason = "each target uses a part of it")]
mod forge;

libfuzzer_sys::fuzz_target!(|data: &[u8]| forge::packed(data));
