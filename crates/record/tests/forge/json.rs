//! meta.json and seal.json, up to the checksum.

use super::{put, recording, sealed_json};
use std::fs;

/// An odd first byte makes the rest the body of seal.json, an even one that of meta.json.
pub(crate) fn json(data: &[u8]) {
    let Some((which, body)) = data.split_first() else { return };
    recording(|folder| {
        let segment = folder.join("seg-000001");
        fs::create_dir(&segment).expect("a folder in a temporary folder");
        let path = if which % 2 == 1 { segment.join("seal.json") } else { folder.join("meta.json") };
        put(&path, &sealed_json(body));
    });
}
