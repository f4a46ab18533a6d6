//! Calls into decoders that others wrote: where an enemy's bytes make one panic, that is an error like any other.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::sync::Once;

thread_local! {
    static IS_GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Ends the guard, also where what was guarded panics.
struct Guard {
    before: bool,
}

impl Drop for Guard {
    fn drop(&mut self) {
        IS_GUARDED.set(self.before);
    }
}

/// Calls a decoder; `None` where it panicked, and nothing is printed of that.
///
/// What is printed of a panic is the choice of the process, not of a thread. So the hook of the process is wrapped
/// once, and asks the thread; panics elsewhere go where they went before.
pub(crate) fn guarded<T>(decode: impl FnOnce() -> T) -> Option<T> {
    static WRAPPED: Once = Once::new();
    WRAPPED.call_once(|| {
        let hook = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !IS_GUARDED.get() {
                hook(info);
            }
        }));
    });
    let _guard = Guard { before: IS_GUARDED.replace(true) };
    catch_unwind(AssertUnwindSafe(decode)).ok()
}

/// What a decoder says, short enough for a line: some of them tell the whole way they came.
pub(crate) fn brief(error: &impl ToString) -> String {
    const LONGEST: usize = 120;
    let text = error.to_string();
    let mut line: String = text.lines().next().unwrap_or_default().chars().take(LONGEST).collect();
    if line.len() < text.len() {
        line.push_str("...");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that a long or broken text becomes one short line, and any other stays as it is.
    #[test]
    fn texts_become_lines() {
        assert_eq!(brief(&"short"), "short");
        assert_eq!(brief(&"two\nlines"), "two...");
        assert_eq!(brief(&"長".repeat(500)), format!("{}...", "長".repeat(120)));
    }

    /// Checks that a panic inside is a value, that guards may stand in each other, and that they end.
    #[test]
    fn a_panic_inside_is_a_value() {
        assert_eq!(guarded(|| 5), Some(5));
        let inner = guarded(|| {
            assert_eq!(guarded(|| -> u32 { panic!("an inner one") }), None);
            assert!(IS_GUARDED.get());
            panic!("an outer one")
        });
        assert_eq!(inner, None::<u32>);
        assert!(!IS_GUARDED.get());
    }
}
