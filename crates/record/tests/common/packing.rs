//! Recordings, torn, sealed and packed.

use super::{create, small, write};
use std::path::{Path, PathBuf};
use vmatlas_event::Event;
use vmatlas_record::{End, Existing, Options, Packing, Reader, RecordError};

/// A recording that was never ended, each event flushed alone.
pub(crate) fn torn(folder: &Path, calls: u64) -> (PathBuf, Vec<Event>) {
    let path = folder.join("torn");
    let events = small(calls);
    let mut writer = create(&path, Options { flush_after: 0, ..Options::default() });
    write(&mut writer, &events, 7);
    drop(writer);
    (path, events)
}

/// A sealed recording in several parts.
pub(crate) fn sealed(folder: &Path, calls: u64) -> (PathBuf, Vec<Event>) {
    let path = folder.join("sealed");
    let events = small(calls);
    let mut writer = create(&path, Options { rotate_at: 40_000, ..Options::default() });
    write(&mut writer, &events, 97);
    writer.finish(End::default()).unwrap();
    (path, events)
}

/// Packs it, to the end.
pub(crate) fn pack(from: &Path, to: &Path, existing: Existing) -> Result<Packing, RecordError> {
    Reader::open(from)?.pack(to, existing, &mut |_, _| true)
}
