//! The keyframe that was taken right after a loss, where it is needed ahead of time: read in parts, as others are.

use crate::loading::Loading;
use crate::reader::{KeyframeRow, Reader};
use std::sync::PoisonError;
use vmatlas_event::Seq;

/// So many rows of it are read at a time.
const PART: usize = 512;

/// A keyframe that will be needed.
pub(crate) enum Early {
    /// Some of it, or all.
    Read(Box<Loading>),
    /// It cannot be read: who needs it is told why.
    Failed(u64),
}

impl Reader {
    /// Reads a part of the keyframe that was taken right after the loss `seq`; whether nothing is left to do now.
    pub(crate) fn prepare_state(&self, seq: u64) -> bool {
        let Some((number, wanted)) = self.keyframe_before(Seq(seq)).filter(|(_, k)| k.after == seq) else {
            return true;
        };
        let mut early = self.early.lock().unwrap_or_else(PoisonError::into_inner);
        let mut loading = match early.take() {
            Some(Early::Failed(failed)) if failed == seq => {
                *early = Some(Early::Failed(seq));
                return true;
            }
            Some(Early::Read(loading)) if loading.is_of(wanted) => loading,
            _ => Box::new(self.after_keyframes.begin(number, wanted)),
        };
        let read = loading.read(self, PART);
        let is_done = !matches!(read, Ok(false));
        *early = Some(if read.is_ok() { Early::Read(loading) } else { Early::Failed(seq) });
        is_done
    }

    /// What of a keyframe was read ahead of time.
    pub(crate) fn take_early(&self, wanted: KeyframeRow) -> Option<Loading> {
        let mut early = self.early.lock().unwrap_or_else(PoisonError::into_inner);
        match early.take() {
            Some(Early::Read(loading)) if loading.is_of(wanted) => Some(*loading),
            other => {
                *early = other;
                None
            }
        }
    }
}
