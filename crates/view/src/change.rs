//! What a change did, in words: always from the change itself, never from the arguments of the call.

use crate::escape;
use crate::lang::Lang;
use crate::style::{Paint, Style};
use crate::texts;
use crate::units::{push_decimal, push_hex, push_size, size};
use std::borrow::Cow;
use std::fmt;
use vmatlas_event::{Name, Sharing, VmaRow};
use vmatlas_model::{Change, PageChange};

/// What is mapped there: a file's path, the kernel's label, or what kind of anonymous memory.
pub fn what(row: &VmaRow, lang: Lang) -> Cow<'static, str> {
    match row.name.as_ref().map(Name::as_bytes) {
        Some(b"/dev/zero (deleted)") if row.sharing == Sharing::Shared => {
            texts::SHARED_ANONYMOUS.get(lang).into()
        }
        Some(name) => escape::terminal(name).into(),
        None => texts::ANONYMOUS.get(lang).into(),
    }
}

/// The change and its [`pages`](Change::pages) in one line.
pub fn describe(change: &Change, pages: &[PageChange], lang: Lang, style: Style) -> String {
    let mut out = String::new();
    push(&mut out, change, pages, lang, style);
    out
}

/// Adds the change and its [`pages`](Change::pages) in one line: `+1.0 GiB anonymous rw- 0x7f12…`,
/// `grew [heap] by 132 KiB`, `split 1 into 3`, `no change`.
pub fn push(out: &mut String, change: &Change, pages: &[PageChange], lang: Lang, style: Style) {
    const MOST: usize = 6;
    let mut painted = |paint: Paint, text: &str| {
        out.push_str(style.on(paint));
        out.push_str(text);
        out.push_str(style.off(paint));
    };
    if change.is_empty() {
        return painted(Paint::Faint, texts::NO_CHANGE.get(lang));
    }
    let boundaries = boundaries(pages, change, lang);
    if pages.is_empty() {
        return match boundaries {
            Some(text) => painted(Paint::Changed, &text),
            None => painted(Paint::Faint, texts::FLAGS_ONLY.get(lang)),
        };
    }
    for (index, page) in pages.iter().take(MOST).enumerate() {
        let paint = match page {
            PageChange::Added(_) => Paint::Added,
            PageChange::Removed(_) => Paint::Removed,
            PageChange::Altered { .. } | PageChange::Moved { .. } => Paint::Changed,
        };
        out.push_str(if index == 0 { "" } else { ", " });
        out.push_str(style.on(paint));
        push_pages(out, page, change, lang);
        out.push_str(style.off(paint));
    }
    if pages.len() > MOST {
        out.push_str(", … +");
        push_decimal(out, (pages.len() - MOST) as u64);
    }
    if let Some(text) = boundaries {
        out.push_str(", ");
        out.push_str(style.on(Paint::Changed));
        out.push_str(&text);
        out.push_str(style.off(Paint::Changed));
    }
}

fn push_pages(out: &mut String, page: &PageChange, change: &Change, lang: Lang) {
    match page {
        PageChange::Added(row) => {
            // It grew a neighbour when the VMA that holds it also holds pages that were there before.
            let holder = change.after.iter().find(|after| after.range.covers(row.range));
            let grown = holder.filter(|h| {
                h.range != row.range
                    && change.before.iter().any(|b| b.range.intersects(h.range) && !row.range.covers(b.range))
                    && !change.before.iter().any(|b| b.range.intersects(row.range))
            });
            match grown {
                Some(holder) => push_resized(out, &texts::GREW, holder, row, lang),
                None => {
                    out.push('+');
                    push_row(out, row, lang);
                }
            }
        }
        PageChange::Removed(row) => {
            let holder = change.before.iter().find(|before| before.range.covers(row.range));
            let one_end = |h: &&VmaRow| {
                h.range != row.range
                    && (h.range.start() == row.range.start()) != (h.range.end() == row.range.end())
                    && !change.after.iter().any(|a| a.range.intersects(row.range))
            };
            match holder.filter(one_end) {
                Some(holder) => push_resized(out, &texts::SHRANK, holder, row, lang),
                None => {
                    out.push('-');
                    push_row(out, row, lang);
                }
            }
        }
        PageChange::Altered { from, to } => {
            push_size(out, to.range.len());
            out.push(' ');
            out.push_str(from.prot.as_str());
            out.push_str(" → ");
            push_place(out, to, lang);
        }
        PageChange::Moved { from, to } => {
            let values: [(&str, &dyn fmt::Display); 3] =
                [("size", &size(to.len())), ("from", &from.start()), ("to", &to.start())];
            out.push_str(&texts::MOVED.fill(lang, &values));
        }
    }
}

/// `64 KiB anonymous rw- 0x7f12…`
fn push_row(out: &mut String, row: &VmaRow, lang: Lang) {
    push_size(out, row.range.len());
    out.push(' ');
    out.push_str(&what(row, lang));
    out.push(' ');
    out.push_str(row.prot.as_str());
    out.push(' ');
    push_hex(out, row.range.start().0);
}

/// `rw- anonymous 0x7f12…`
fn push_place(out: &mut String, row: &VmaRow, lang: Lang) {
    out.push_str(row.prot.as_str());
    out.push(' ');
    out.push_str(&what(row, lang));
    out.push(' ');
    push_hex(out, row.range.start().0);
}

/// A text about a VMA that became larger or smaller.
fn push_resized(out: &mut String, text: &crate::Text, holder: &VmaRow, row: &VmaRow, lang: Lang) {
    text.fill_into(out, lang, &mut |out, name| match name {
        "what" if holder.special().is_some() => out.push_str(&what(holder, lang)),
        "what" => {
            out.push_str(&what(holder, lang));
            out.push(' ');
            out.push_str(holder.prot.as_str());
            out.push(' ');
            push_hex(out, holder.range.start().0);
        }
        _ => push_size(out, row.range.len()),
    });
}

/// How many VMAs became how many, leaving out those that came or went as a whole.
fn boundaries(pages: &[PageChange], change: &Change, lang: Lang) -> Option<String> {
    let went = |row: &VmaRow| {
        pages.iter().any(|page| match page {
            PageChange::Removed(gone) => gone.range.covers(row.range),
            PageChange::Moved { from, .. } => from.covers(row.range),
            _ => false,
        })
    };
    let came = |row: &VmaRow| {
        pages.iter().any(|page| match page {
            PageChange::Added(new) => new.range.covers(row.range),
            PageChange::Moved { to, .. } => to.covers(row.range),
            _ => false,
        })
    };
    let from = change.before.iter().filter(|row| !went(row)).count();
    let to = change.after.iter().filter(|row| !came(row)).count();
    let text = match from.cmp(&to) {
        _ if from == 0 || to == 0 => return None,
        std::cmp::Ordering::Less => texts::SPLIT,
        std::cmp::Ordering::Greater => texts::MERGED,
        std::cmp::Ordering::Equal => return None,
    };
    Some(text.fill(lang, &[("from", &from), ("to", &to)]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmatlas_event::{Addr, AddrRange, Prot};

    fn anon(a: u64, b: u64, prot: Prot) -> VmaRow {
        VmaRow::anonymous(AddrRange::new(Addr(a << 12), Addr(b << 12)).unwrap(), prot)
    }

    fn change(before: Vec<VmaRow>, after: Vec<VmaRow>) -> Change {
        Change { before: before.into(), after: after.into(), ..Change::default() }
    }

    fn say(change: &Change) -> String {
        describe(change, &change.pages(), Lang::En, Style::default())
    }

    /// Checks the words for what calls do: new, grown, shrunk, split, replaced, altered, nothing.
    #[test]
    fn changes_read_well() {
        assert_eq!(say(&change(vec![], vec![anon(16, 32, Prot::RW)])), "+64 KiB anonymous rw- 0x10000");
        assert_eq!(
            say(&change(vec![anon(16, 32, Prot::RW)], vec![anon(16, 48, Prot::RW)])),
            "grew anonymous rw- 0x10000 by 64 KiB"
        );
        let heap = |a, b| VmaRow { name: Some(Name::new(b"[heap]")), ..anon(a, b, Prot::RW) };
        assert_eq!(say(&change(vec![heap(16, 32)], vec![heap(16, 65)])), "grew [heap] by 132 KiB");
        assert_eq!(say(&change(vec![heap(16, 32)], vec![heap(16, 17)])), "shrank [heap] by 60 KiB");
        assert_eq!(
            say(&change(vec![anon(1, 9, Prot::RW)], vec![anon(1, 3, Prot::RW), anon(5, 9, Prot::RW)])),
            "-8 KiB anonymous rw- 0x3000, split 1 into 2"
        );
        let middle = vec![anon(1, 3, Prot::RW), anon(3, 5, Prot::READ), anon(5, 9, Prot::RW)];
        assert_eq!(
            say(&change(vec![anon(1, 9, Prot::RW)], middle)),
            "8 KiB rw- → r-- anonymous 0x3000, split 1 into 3"
        );
        let replaced = Change {
            before: vec![anon(1, 9, Prot::RW)].into(),
            after: vec![anon(1, 9, Prot::RW)].into(),
            fresh: [anon(3, 5, Prot::RW).range].into_iter().collect(),
            ..Change::default()
        };
        assert_eq!(say(&replaced), "-8 KiB anonymous rw- 0x3000, +8 KiB anonymous rw- 0x3000");
        let bridged = change(vec![anon(1, 3, Prot::RW), anon(5, 9, Prot::RW)], vec![anon(1, 9, Prot::RW)]);
        assert_eq!(say(&bridged), "grew anonymous rw- 0x1000 by 8 KiB, merged 2 into 1");
        assert_eq!(say(&Change::default()), "no change");
    }
}
