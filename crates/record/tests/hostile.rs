//! A recording from an enemy: any events at all must not end the model that replays them.

#![expect(clippy::unwrap_used, reason = "a test binary")]

mod common;

use common::any::any_event;
use proptest::collection::vec;
use proptest::prelude::*;
use vmatlas_event::{MmId, PageSize, Seq};
use vmatlas_model::Spaces;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Checks that the model takes any events, in few address spaces and of few tasks.
    #[test]
    fn the_model_takes_any_events(mut events in vec(any_event(), 1..60)) {
        let mut spaces = Spaces::new(PageSize::new(4096).unwrap());
        let tasks: Vec<_> = events.iter().map(|event| event.task).collect();
        for (n, event) in events.iter_mut().enumerate() {
            event.seq = Seq(n as u64);
            event.mm = MmId(event.mm.0 % 3);
            event.task = tasks[n % tasks.len().min(3)];
            if let Some(done) = spaces.event(event).done {
                let _ = done.bytes();
            }
        }
    }
}
