//! A difference between the model and the kernel, for the person who will look for its cause.

use crate::call;
use crate::escape;
use crate::run::LineOptions;
use crate::texts;
use crate::units::size;
use std::fmt::Write;
use vmatlas_event::{Event, Sharing, VmaRow};
use vmatlas_model::{Difference, Level};

/// Several lines: what differs, the last call, the rows of both maps around it.
pub fn difference(difference: &Difference, last_call: Option<&Event>, options: &LineOptions) -> String {
    let lang = options.lang;
    let text = match difference.level {
        Level::Coverage => &texts::DIFFERENT_PAGES,
        Level::Boundaries => &texts::DIFFERENT_BOUNDARIES,
    };
    let at = format!("{}-{}", difference.at.start(), difference.at.end());
    let mut out = text.fill(lang, &[("at", &at)]);
    if let Some(event) = last_call {
        let mut line = call::text(&event.op);
        line.push_str(" = ");
        call::push_result(&mut line, &event.op, event.outcome, options.errno_name);
        // Writing to a String does not fail.
        let _ = write!(out, "\n  {}", texts::AFTER_CALL.fill(lang, &[("call", &line)]));
        let _ = write!(out, " [#{}, tid {}]", event.seq.0, event.task.tid);
    }
    for (heading, rows) in
        [(&texts::MODEL_ROWS, &difference.model), (&texts::KERNEL_ROWS, &difference.kernel)]
    {
        let _ = write!(out, "\n  {}", heading.get(lang));
        for row in rows {
            let _ = write!(out, "\n    {}", line(row));
        }
    }
    out
}

fn line(row: &VmaRow) -> String {
    let sharing = if row.sharing == Sharing::Shared { 's' } else { 'p' };
    let mut out = format!(
        "{}-{} {}{sharing} {:>9}",
        row.range.start(),
        row.range.end(),
        row.prot,
        size(row.range.len())
    );
    if row.has_file() {
        let _ = write!(out, " {:02x}:{:02x} {} +{:#x}", row.dev.major, row.dev.minor, row.inode, row.offset);
    }
    if let Some(name) = &row.name {
        let _ = write!(out, " {}", escape::terminal(name.as_bytes()));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Lang, Style};
    use vmatlas_event::{
        Addr, AddrRange, Bytes, MmId, MonoNs, Name, Op, Outcome, Pid, Prot, Seq, Source, TaskId, Tid,
    };

    /// Checks that a difference is told with its call and both maps, in both languages, and that names are escaped.
    #[test]
    fn both_maps_are_shown() {
        let range = |a: u64, b: u64| AddrRange::new(Addr(a << 12), Addr(b << 12)).unwrap();
        let row = |a, b| VmaRow::anonymous(range(a, b), Prot::RW);
        let named = VmaRow { name: Some(Name::new(b"\x1b[31m")), ..row(3, 4) };
        let different = Difference {
            level: Level::Boundaries,
            at: range(1, 3),
            model: vec![row(1, 3), named],
            kernel: vec![row(1, 2), row(2, 3)],
        };
        let event = Event {
            seq: Seq(7),
            entered: MonoNs(0),
            left: MonoNs(0),
            task: TaskId { pid: Pid(1), tid: Tid(2), started: None },
            mm: MmId(1),
            op: Op::Munmap { addr: Addr(0x4000), len: Bytes(4096) },
            outcome: Outcome::Done(0),
            stack: None,
            source: Source::Ptrace,
        };
        let options = |lang| LineOptions {
            lang,
            style: Style::default(),
            start: MonoNs(0),
            columns: None,
            errno_name: |_| None,
            signal_name: |_| String::new(),
        };
        let text = difference(&different, Some(&event), &options(Lang::En));
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        assert_eq!(lines[0], "the model is not the kernel's map: VMAs end elsewhere at 0x1000-0x3000");
        assert_eq!(lines[1], "after munmap(0x4000, 4 KiB) = 0 [#7, tid 2]");
        assert_eq!((lines[2], lines[5], lines.len()), ("model:", "kernel:", 8));
        assert!(lines[3].starts_with("0x1000-0x3000 rw-p") && !text.contains('\x1b'), "{text}");
        assert!(difference(&different, None, &options(Lang::Ja)).contains("領域の境界"));
    }
}
