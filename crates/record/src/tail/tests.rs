//! Frames that an enemy made.

use super::*;
use crate::rows::{Cell, Rows};
use crate::table::{EVENTS, NAMES};
use std::fs;

/// A tail of two frames.
pub(crate) fn write(path: &Path) {
    let mut tail = TailWriter::create(path).unwrap();
    let mut names = Rows::new(&NAMES);
    (0..20).for_each(|id| names.push(&[Cell::Int(Some(id)), Cell::Bytes(b"/bin/x\xff")]));
    let (batch, key) = names.take().unwrap();
    tail.append(&NAMES, &batch, key).unwrap();
    let mut events = Rows::new(&EVENTS);
    let cell = |n| Cell::Int(Some(n));
    (5..25)
        .for_each(|n| events.push(&[cell(n), cell(n), cell(n), cell(0), cell(1), Cell::Word(Some("brk"))]));
    let (batch, key) = events.take().unwrap();
    tail.append(&EVENTS, &batch, key).unwrap();
}

/// A tail that has frames with these first keys, and nothing else.
pub(crate) fn of_keys(table: &'static Table, keys: &[i64]) -> Tail {
    let file = tempfile::tempfile().unwrap();
    let frame = |key: &i64| Frame { table, key: *key, rows: 1, at: 0, length: 0 };
    Tail { file, name: "tail".to_owned(), frames: keys.iter().map(frame).collect(), damage: None }
}

/// Checks that the payload of a forged frame, whose checksum is right, is an error or rows, and never more: not a
/// panic, not an allocation of what it claims.
#[test]
fn forged_frames_are_refused_or_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tail");
    write(&path);
    let whole = fs::read(&path).unwrap();
    let tail = Tail::open(&path).unwrap();
    assert_eq!(tail.frames.iter().map(|f| (f.key, f.rows)).collect::<Vec<_>>(), [(0, 20), (5, 20)]);
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let (mut good, mut bad) = (0, 0);
    for frame in &tail.frames {
        let (start, end) = (frame.at as usize, frame.at as usize + HEADER + frame.length as usize);
        for _ in 0..5000 {
            let mut bytes = whole.clone();
            for _ in 0..=random % 3 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                bytes[start + HEADER + (random >> 8) as usize % frame.length as usize] ^=
                    1 << (random >> 60 & 7);
            }
            let mut header = [0; HEADER];
            header.copy_from_slice(&bytes[start..start + HEADER]);
            let header = Header::from_bytes(&header).to_bytes(&bytes[start + HEADER..end]);
            bytes[start..start + HEADER].copy_from_slice(&header);
            fs::write(&path, &bytes).unwrap();
            let tail = Tail::open(&path).unwrap();
            assert_eq!(tail.frames.len(), 2);
            for frame in &tail.frames {
                match tail.batch(frame) {
                    Ok(batch) => good += (0..batch.len()).filter_map(|row| batch.row(row).get(0)).count(),
                    Err(_) => bad += 1,
                }
            }
        }
    }
    assert!(good > 0 && bad > 0, "{good} {bad}");
}

/// Checks that columns which share their bytes are refused, for each may be copied, and so are dictionaries.
#[test]
fn what_grows_in_the_decoder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tail");
    write(&path);
    let whole = fs::read(&path).unwrap();
    for frame in Tail::open(&path).unwrap().frames {
        let mut payload = whole[frame.at as usize + HEADER..][..frame.length as usize].to_vec();
        assert!(claims_fit(&payload));
        // The schema comes first, then the batch.
        let schema = 8 + u32::from_le_bytes(payload[4..8].try_into().unwrap()) as usize;
        let length = u32::from_le_bytes(payload[schema + 4..][..4].try_into().unwrap()) as usize;
        let message = arrow_ipc::root_as_message(&payload[schema + 8..][..length]).unwrap();
        let buffers = message.header_as_record_batch().unwrap().buffers().unwrap();
        let last = buffers.iter().rfind(|buffer| buffer.length() > 0).unwrap();
        let words = |offset: i64, length: i64| [offset.to_le_bytes(), length.to_le_bytes()].concat();
        let (was, becomes) = (words(last.offset(), last.length()), words(1, message.bodyLength() - 1));
        let at = payload.windows(16).rposition(|bytes| bytes == was).unwrap();
        payload[at..at + 16].copy_from_slice(&becomes);
        assert!(!claims_fit(&payload));
    }
    let words: arrow_array::DictionaryArray<arrow_array::types::Int32Type> =
        ["brk", "mmap", "brk"].into_iter().collect();
    let batch = RecordBatch::try_from_iter([("op", std::sync::Arc::new(words) as _)]).unwrap();
    let mut payload = Vec::new();
    let mut stream = StreamWriter::try_new(&mut payload, batch.schema_ref()).unwrap();
    stream.write(&batch).and_then(|()| stream.finish()).unwrap();
    drop(stream);
    assert!(!claims_fit(&payload));
}

/// Checks that a tail ends before the first of many frames of events at its end that cannot be decoded, and only there.
#[test]
fn events_that_cannot_be_decoded_end_a_tail() {
    let folder = tempfile::tempdir().unwrap();
    let path = crate::seal::tail(folder.path(), 1);
    write(&path);
    let mut tail =
        TailWriter { file: File::options().write(true).open(&path).unwrap(), length: 0, frames: 2 };
    tail.length = fs::metadata(&path).unwrap().len();
    let place = tail.length;
    let other = std::sync::Arc::new(arrow_array::StringArray::from(vec!["no number"]));
    let batch = RecordBatch::try_from_iter([("seq", other as _)]).unwrap();
    (0..500).for_each(|key| tail.append(&EVENTS, &batch, key).unwrap());
    let reader = crate::Reader::open(folder.path()).unwrap();
    assert_eq!(reader.last, Some(vmatlas_event::Seq(24)));
    let [_, damage] = reader.damage() else { panic!("{:?}", reader.damage()) };
    assert_eq!(damage.to_string(), format!("tail-000001, byte {place}: column seq is of another type"));
}
