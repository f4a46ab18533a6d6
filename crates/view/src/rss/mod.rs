//! The reconciliation sheet: where every resident byte belongs, beside what the kernel, a profiler and the cgroup say.

mod arenas;
mod cgroup;
pub mod family;
mod json;
mod line;
mod sections;
mod text;
pub mod texts;

use crate::show::MapView;
use crate::units::size;
use crate::{Lang, Style};
use vmatlas_event::Bytes;
use vmatlas_model::kind::{Kind, RuntimeHint};
use vmatlas_model::rss::{Amounts, CgroupFigures, Inside, Sheet};

/// All that `rss` shows.
#[derive(Clone, Debug)]
pub struct RssView {
    /// The process and its map.
    pub map: MapView,
    /// The sums.
    pub sheet: Sheet,
    /// What glibc's malloc says of its arenas; `None` when there is none, or it was not looked into.
    pub inside: Option<Inside>,
    /// What the process's memory cgroup says, or why nothing is known.
    pub cgroup: Result<CgroupFigures, &'static str>,
    /// What a profiler counts.
    pub profiler: Option<Bytes>,
    /// Whether shares of physical pages (PSS, USS) were asked for.
    pub frames_asked: bool,
    /// Runtimes that were recognised, and the command that makes each tell more.
    pub hints: Vec<RuntimeHint>,
}

impl RssView {
    /// What is resident of malloc's big blocks in memory whose use is not known otherwise.
    fn of_malloc(&self) -> Bytes {
        self.inside.as_ref().and_then(|inside| inside.mapped_resident).unwrap_or_default()
    }
}

/// How it is written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// The language.
    pub lang: Lang,
    /// Colours.
    pub style: Style,
    /// The terminal's width; `None` for no limit.
    pub columns: Option<usize>,
    /// Only this line, opened.
    pub line: Option<Kind>,
}

/// `+1.5 MiB`, `-4 KiB`, `0 B`.
fn signed(bytes: i64) -> String {
    let sign = if bytes > 0 { "+" } else { "" };
    let sign = if bytes < 0 { "-" } else { sign };
    format!("{sign}{}", size(Bytes(bytes.unsigned_abs())))
}

/// Whole percents of a whole.
fn percent(part: Bytes, whole: Bytes) -> Option<u64> {
    let percent = (u128::from(part.0) * 100 + u128::from(whole.0 / 2)).checked_div(u128::from(whole.0))?;
    u64::try_from(percent).ok()
}

/// How sure the kinds of a line are, as one short text.
/// `mapped` is what malloc has of memory of unknown use.
fn evidence(kind: Kind, amounts: &Amounts, mapped: Option<Bytes>, lang: Lang) -> String {
    let [named, evident, guess] = amounts.by_confidence;
    if kind == Kind::Anonymous {
        let of_malloc = mapped.and_then(|mapped| percent(mapped, amounts.pages.resident)).filter(|p| *p > 0);
        return match of_malloc {
            Some(percent) => texts::OF_MALLOC.fill(lang, &[("percent", &percent)]),
            None => texts::PURPOSE_UNKNOWN.get(lang).to_owned(),
        };
    }
    match percent(guess, amounts.pages.resident) {
        Some(100) => texts::GUESS.get(lang).to_owned(),
        Some(percent) if percent > 0 => texts::PART_GUESS.fill(lang, &[("percent", &percent)]),
        _ if evident.0 == 0 && named.0 > 0 => texts::NAMED.get(lang).to_owned(),
        _ if evident.0 > 0 => texts::EVIDENT.get(lang).to_owned(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks signs and shares, nothing of nothing among them.
    #[test]
    fn signs_and_shares() {
        assert_eq!(
            (signed(4096), signed(-4096), signed(0)),
            ("+4 KiB".into(), "-4 KiB".into(), "0 B".into())
        );
        assert_eq!(percent(Bytes(1), Bytes(0)), None);
        assert_eq!(percent(Bytes(1), Bytes(3)), Some(33));
        assert_eq!(percent(Bytes(u64::MAX), Bytes(u64::MAX)), Some(100));
    }
}
