//! How far a long piece of work is: one line on standard error that is written anew, for a person who waits.
//!
//! It is there on a terminal only, not before a second has passed, and it is gone when the work is done or something else
//! is to be written. It has no colour and no thread of its own: who works tells it how far it is.

use crate::context::{Context, Stream};
use std::ffi::OsStr;
use std::fmt::Display;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::time::{Duration, Instant};
use vmatlas_event::Bytes;
use vmatlas_view::{Lang, Text, table, units};

/// Nothing is said before.
const PATIENCE: Duration = Duration::from_secs(1);
/// So often it is written anew.
const AGAIN: Duration = Duration::from_millis(100);
/// A rate over less time is none.
const SHORTEST: Duration = Duration::from_millis(200);

vmatlas_view::texts! {
    /// One file is made of a recording.
    PACKING: "packing", "まとめています";
    /// Checksums are compared.
    CHECKING: "checking", "検査しています";
    /// Events are replayed.
    REPLAYING: "replaying", "再生しています";
    /// What was not sealed is read again.
    RECOVERING: "recovering", "復元しています";
    /// Events are read.
    READING: "reading", "読み取っています";
    /// Tables are made of what was recorded.
    SEALING: "sealing the recording", "記録を仕上げています";
    /// Places in code get names.
    NAMING: "looking up names", "関数名を調べています";
    /// What is done, of what there is.
    PERCENT: "{verb} {percent} %", "{verb} {percent} %";
    /// Amounts.
    OF: "{done} of {total}", "{done} / {total}";
    /// Events.
    EVENTS_OF: "{done} of {total} events", "イベント {done} / {total}";
    /// Rows of tables.
    ROWS_OF: "{done} of {total} rows", "{done} / {total} 行";
    /// Places in code.
    PLACES_OF: "{done} of {total} places", "{done} / {total} 箇所";
    /// How fast.
    RATE: "{rate}/s", "毎秒 {rate}";
    /// How long it may take.
    LEFT: "{time} left", "残り {time}";
    /// A time.
    SECONDS: "{s} s", "{s} 秒";
    /// A longer time.
    MINUTES: "{min} min {s} s", "{min} 分 {s} 秒";
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    Bytes,
    Events,
    Rows,
    Places,
}

/// The line.
#[derive(Debug)]
pub(crate) struct Progress {
    verb: Text,
    of: Of,
    lang: Lang,
    /// `None` where nobody sees it.
    columns: Option<usize>,
    start: Instant,
    /// When this round of the work began, and how far it was then.
    round: (Instant, u64),
    done: u64,
    /// When it was written last; `None` while it is not on the screen.
    written: Option<Instant>,
    calls: u32,
}

impl Progress {
    /// A line that nobody has seen yet.
    pub(crate) fn new(context: &Context, verb: Text, of: Of) -> Progress {
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == OsStr::new("dumb"));
        let is_seen = context.shows_progress && !is_dumb && !is_piped();
        let columns = context.columns(Stream::Stderr).filter(|_| is_seen);
        let now = Instant::now();
        let (lang, round) = (context.lang, (now, 0));
        Progress { verb, of, lang, columns, start: now, round, done: 0, written: None, calls: 0 }
    }

    /// Says how far the work is. It costs little: a clock is read now and then.
    pub(crate) fn tick(&mut self, done: u64, total: u64) {
        if self.columns.is_none() {
            return;
        }
        let is_new_round = done < self.done;
        self.done = done;
        if is_new_round {
            self.round = (Instant::now(), done);
        }
        // Events come by the million, blocks of bytes and rows do not.
        self.calls = self.calls.wrapping_add(1);
        if self.of == Of::Events && !self.calls.is_multiple_of(256) {
            return;
        }
        let now = Instant::now();
        let due = match self.written {
            Some(written) => now.duration_since(written) >= AGAIN,
            None => now.duration_since(self.start) >= PATIENCE,
        };
        // The last column stays free: a terminal may begin a new line there.
        if let (true, Some(columns)) = (due, self.columns.filter(|columns| *columns > 1)) {
            let taken = now.duration_since(self.round.0);
            let line = self.line(done, total, taken, columns.saturating_sub(1));
            self.written = Some(now);
            show(&format!("\r{line}\x1b[K"));
        }
    }

    /// Takes the line away, because something else is to be written; it comes again with the next word of the work.
    pub(crate) fn clear(&mut self) {
        if self.written.take().is_some() {
            show("\r\x1b[K");
        }
    }

    /// Takes the line away for good.
    pub(crate) fn end(&mut self) {
        self.clear();
        self.columns = None;
    }

    fn line(&self, done: u64, total: u64, taken: Duration, columns: usize) -> String {
        let amount = |n: u64| match self.of {
            Of::Bytes => units::size(Bytes(n)),
            Of::Events | Of::Rows | Of::Places => units::count(n),
        };
        let verb = self.verb.get(self.lang);
        let fill = |text: Text, values: &[(&str, &dyn Display)]| text.fill(self.lang, values);
        if total == 0 {
            return table::shorten(verb, columns);
        }
        let percent = u128::from(done.min(total)) * 100 / u128::from(total);
        let line = fill(PERCENT, &[("verb", &verb), ("percent", &percent)]);
        let of = match self.of {
            Of::Bytes => OF,
            Of::Events => EVENTS_OF,
            Of::Rows => ROWS_OF,
            Of::Places => PLACES_OF,
        };
        let amounts = fill(of, &[("done", &amount(done)), ("total", &amount(total))]);
        let (mut left, mut rate) = (None, None);
        let since = done.saturating_sub(self.round.1);
        if taken >= SHORTEST && since > 0 {
            let speed = since as f64 / taken.as_secs_f64();
            let time = total.saturating_sub(done) as f64 / speed;
            left = Some(fill(LEFT, &[("time", &self.time(time.ceil() as u64))]));
            rate = Some(fill(RATE, &[("rate", &amount(speed as u64))]));
        }
        let (amounts, left, rate) = (Some(&amounts), left.as_ref(), rate.as_ref());
        // Where there is little room, what a person waits for is said first.
        let all = [[amounts, left, rate], [amounts, left, None], [None, left, None], [amounts, None, None]];
        let lines =
            all.map(|parts| parts.into_iter().flatten().fold(line.clone(), |line, part| line + ", " + part));
        let fits = lines.into_iter().find(|line| table::width(line) <= columns);
        fits.unwrap_or_else(|| table::shorten(&line, columns))
    }

    fn time(&self, seconds: u64) -> String {
        match seconds {
            0..60 => SECONDS.fill(self.lang, &[("s", &seconds)]),
            _ => MINUTES.fill(self.lang, &[("min", &(seconds / 60)), ("s", &(seconds % 60))]),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Whether standard output is a pipe: what reads it may be a pager, and have the terminal.
fn is_piped() -> bool {
    let file = io::stdout().as_fd().try_clone_to_owned().map(File::from);
    file.and_then(|file| file.metadata()).is_ok_and(|meta| meta.file_type().is_fifo())
}

fn show(text: &str) {
    // With nobody to tell there is nothing else to do.
    let mut out = io::stderr().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(lang: Lang, of: Of) -> Progress {
        let now = Instant::now();
        let (verb, columns) = (PACKING, Some(80));
        Progress { verb, of, lang, columns, start: now, round: (now, 0), done: 0, written: None, calls: 0 }
    }

    /// Checks that every text has both languages with the same values.
    #[test]
    fn both_languages_are_there() {
        assert_eq!(vmatlas_view::gaps(ALL), Vec::<String>::new());
    }

    /// Checks what the line says, and that it says less where there is less room, and never more than fits.
    #[test]
    fn the_line_fits() {
        let taken = Duration::from_secs(10);
        let english = progress(Lang::En, Of::Bytes);
        let line = |columns| english.line(512 << 20, 2 << 30, taken, columns);
        assert_eq!(line(79), "packing 25 %, 512 MiB of 2.0 GiB, 30 s left, 51.2 MiB/s");
        assert_eq!(line(47), "packing 25 %, 512 MiB of 2.0 GiB, 30 s left");
        assert_eq!(line(40), "packing 25 %, 30 s left");
        assert_eq!(line(20), "packing 25 %");
        let japanese = progress(Lang::Ja, Of::Events);
        assert_eq!(
            japanese.line(2_000_000, 10_000_000, Duration::from_secs(1000), 90),
            "まとめています 20 %, イベント 2,000,000 / 10,000,000, 残り 66 分 40 秒, 毎秒 2,000"
        );
        for of in [Of::Bytes, Of::Events, Of::Rows, Of::Places] {
            for lang in [Lang::En, Lang::Ja] {
                for columns in 1..100 {
                    for (done, total) in
                        [(0, 0), (0, 9), (9, 9), (12, 9), (u64::MAX, u64::MAX), (1, u64::MAX)]
                    {
                        let line = progress(lang, of).line(done, total, taken, columns);
                        assert!(table::width(&line) <= columns, "{columns}: {line}");
                    }
                }
            }
        }
    }

    /// Checks that nothing is written in the first second, nor where nobody sees it.
    #[test]
    fn nothing_at_first() {
        let mut line = progress(Lang::En, Of::Bytes);
        line.tick(1, 10);
        assert_eq!(line.written, None);
        line.columns = None;
        line.start = line.start.checked_sub(Duration::from_secs(9)).unwrap();
        line.tick(2, 10);
        assert_eq!(line.written, None);
    }
}
