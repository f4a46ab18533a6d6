//! Sums of pages.

use super::Run;
use vmatlas_event::PageState;

/// Pages of one state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// How many.
    pub pages: u64,
    /// How many of them are mapped by huge pages.
    pub huge: u64,
    /// How many of them are mapped here and nowhere else.
    pub alone: u64,
    /// How many of them are mapped by others too.
    pub shared: u64,
    /// How many runs.
    pub runs: u64,
}

/// Sums of runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    sums: [Sum; PageState::ALL.len()],
    /// Pages with a frame whose number is hidden.
    pub hidden: u64,
}

impl Totals {
    /// Adds a run.
    pub fn add(&mut self, run: &Run) {
        let Some(sum) = self.sums.get_mut(index(run.state)) else { return };
        sum.pages += run.pages;
        sum.runs += 1;
        for (part, is_so) in [
            (&mut sum.huge, run.huge),
            (&mut sum.alone, run.alone == Some(true)),
            (&mut sum.shared, run.alone == Some(false)),
            (&mut self.hidden, run.state.has_frame() && run.frame_runs == 0),
        ] {
            if is_so {
                *part += run.pages;
            }
        }
    }

    /// The pages of one state.
    pub fn of(&self, state: PageState) -> Sum {
        self.sums.get(index(state)).copied().unwrap_or_default()
    }

    /// All states together.
    pub fn all(&self) -> Sum {
        self.sums.iter().fold(Sum::default(), |a, b| Sum {
            pages: a.pages + b.pages,
            huge: a.huge + b.huge,
            alone: a.alone + b.alone,
            shared: a.shared + b.shared,
            runs: a.runs + b.runs,
        })
    }

    /// Pages with frames of their own.
    pub fn present(&self) -> u64 {
        PageState::ALL.into_iter().filter(|state| state.has_frame()).map(|state| self.of(state).pages).sum()
    }
}

fn index(state: PageState) -> usize {
    PageState::ALL.iter().position(|s| *s == state).unwrap_or(0)
}
