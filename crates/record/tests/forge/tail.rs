//! A tail: what comes after its first 16 bytes.

use super::{put, recording};
use vmatlas_record::VERSION;

const HEADER: usize = 32;

/// The first byte says what is put right: 1 not the checksums, 2 not the numbers, 4 not lengths beyond the end. The rest
/// are frames.
pub(crate) fn tail(data: &[u8]) {
    let Some((flags, frames)) = data.split_first() else { return };
    let mut bytes = b"VMATLAST".to_vec();
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    let mut frames = frames.to_vec();
    mend(&mut frames, *flags);
    bytes.extend_from_slice(&frames);
    recording(|folder| put(&folder.join("tail-000001"), &bytes));
}

fn mend(mut rest: &mut [u8], flags: u8) {
    let mut number = 0_u32;
    while rest.len() >= HEADER {
        let most = rest.len() - HEADER;
        let mut length = u32::from_le_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
        if length > most {
            if flags & 4 != 0 {
                return;
            }
            length = most;
            rest[..4].copy_from_slice(&(length as u32).to_le_bytes());
        }
        let (frame, behind) = rest.split_at_mut(HEADER + length);
        if flags & 2 == 0 {
            frame[8..12].copy_from_slice(&number.to_le_bytes());
        }
        if flags & 1 == 0 {
            frame[6..8].fill(0);
            frame[24..28].fill(0);
            let mut crc = crc32fast::Hasher::new();
            crc.update(&frame[..28]);
            crc.update(&frame[HEADER..]);
            let crc = crc.finalize();
            frame[28..32].copy_from_slice(&crc.to_le_bytes());
        }
        number += 1;
        rest = behind;
    }
}
