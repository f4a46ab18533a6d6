//! What a change did, in words: always from the change itself, never from the arguments of the call.

use crate::escape;
use crate::lang::Lang;
use crate::style::{Paint, Style};
use crate::texts;
use crate::units::size;
use vmatlas_event::{AddrRange, Name, Sharing, VmaRow};
use vmatlas_model::{Change, PageChange};

/// What is mapped there: a file's path, the kernel's label, or what kind of anonymous memory.
pub fn what(row: &VmaRow, lang: Lang) -> String {
    match row.name.as_ref().map(Name::as_bytes) {
        Some(b"/dev/zero (deleted)") if row.sharing == Sharing::Shared => {
            texts::SHARED_ANONYMOUS.get(lang).to_owned()
        }
        Some(name) => escape::terminal(name),
        None => texts::ANONYMOUS.get(lang).to_owned(),
    }
}

/// The change and its [`pages`](Change::pages) in one line: `+1.0 GiB anonymous rw- 0x7f12…`, `grew [heap] by 132 KiB`, `split 1 into 3`, `no change`.
pub fn describe(change: &Change, pages: &[PageChange], lang: Lang, style: Style) -> String {
    const MOST: usize = 6;
    if change.is_empty() {
        return style.paint(Paint::Faint, texts::NO_CHANGE.get(lang));
    }
    let mut parts: Vec<(Paint, String)> =
        pages.iter().map(|page| describe_pages(page, change, lang)).collect();
    if let Some(part) = boundaries(pages, change, lang) {
        parts.push((Paint::Changed, part));
    }
    if parts.is_empty() {
        return style.paint(Paint::Faint, texts::FLAGS_ONLY.get(lang));
    }
    let more = parts.len().saturating_sub(MOST);
    parts.truncate(MOST);
    let mut out: Vec<String> = parts.iter().map(|(paint, text)| style.paint(*paint, text)).collect();
    if more > 0 {
        out.push(format!("… +{more}"));
    }
    out.join(", ")
}

fn describe_pages(page: &PageChange, change: &Change, lang: Lang) -> (Paint, String) {
    let plain = |sign: &str, row: &VmaRow| {
        format!("{sign}{} {} {} {}", size(row.range.len()), what(row, lang), row.prot, row.range.start())
    };
    match page {
        PageChange::Added(row) => {
            // It grew a neighbour when the VMA that holds it also holds pages that were there before.
            let holder = change.after.iter().find(|after| after.range.covers(row.range));
            let grown = holder.filter(|h| {
                h.range != row.range
                    && change.before.iter().any(|b| b.range.intersects(h.range) && !row.range.covers(b.range))
                    && !change.before.iter().any(|b| b.range.intersects(row.range))
            });
            let text = match grown {
                Some(holder) => texts::GREW
                    .fill(lang, &[("what", &place(holder, lang)), ("size", &size(row.range.len()))]),
                None => plain("+", row),
            };
            (Paint::Added, text)
        }
        PageChange::Removed(row) => {
            let holder = change.before.iter().find(|before| before.range.covers(row.range));
            let one_end = |h: &&VmaRow| {
                h.range != row.range
                    && (h.range.start() == row.range.start()) != (h.range.end() == row.range.end())
                    && !change.after.iter().any(|a| a.range.intersects(row.range))
            };
            let text = match holder.filter(one_end) {
                Some(holder) => texts::SHRANK
                    .fill(lang, &[("what", &place(holder, lang)), ("size", &size(row.range.len()))]),
                None => plain("-", row),
            };
            (Paint::Removed, text)
        }
        PageChange::Altered { from, to } => {
            let sizes = size(to.range.len());
            let text = format!("{sizes} {} → {} {} {}", from.prot, to.prot, what(to, lang), to.range.start());
            (Paint::Changed, text)
        }
        PageChange::Moved { from, to } => {
            let values: [(&str, &dyn std::fmt::Display); 3] =
                [("size", &size(to.len())), ("from", &from.start()), ("to", &to.start())];
            (Paint::Changed, texts::MOVED.fill(lang, &values))
        }
    }
}

/// A VMA by its label, or by what it is and where.
fn place(row: &VmaRow, lang: Lang) -> String {
    match row.special() {
        Some(_) => what(row, lang),
        None => format!("{} {} {}", what(row, lang), row.prot, row.range.start()),
    }
}

/// How many VMAs became how many, leaving out those that came or went as a whole.
fn boundaries(pages: &[PageChange], change: &Change, lang: Lang) -> Option<String> {
    let whole = |row: &VmaRow, ranges: &[AddrRange]| ranges.iter().any(|r| r.covers(row.range));
    let mut gone = Vec::new();
    let mut come = Vec::new();
    for page in pages {
        match page {
            PageChange::Added(row) => come.push(row.range),
            PageChange::Removed(row) => gone.push(row.range),
            PageChange::Moved { from, to } => {
                gone.push(*from);
                come.push(*to);
            }
            PageChange::Altered { .. } => {}
        }
    }
    let from = change.before.iter().filter(|row| !whole(row, &gone)).count();
    let to = change.after.iter().filter(|row| !whole(row, &come)).count();
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
    use vmatlas_event::{Addr, Dev, Prot};

    fn anon(a: u64, b: u64, prot: Prot) -> VmaRow {
        VmaRow {
            range: AddrRange::new(Addr(a << 12), Addr(b << 12)).unwrap(),
            prot,
            sharing: Sharing::Private,
            offset: 0,
            dev: Dev::default(),
            inode: 0,
            name: None,
        }
    }

    fn change(before: Vec<VmaRow>, after: Vec<VmaRow>) -> Change {
        Change { before, after, ..Change::default() }
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
            before: vec![anon(1, 9, Prot::RW)],
            after: vec![anon(1, 9, Prot::RW)],
            fresh: vec![anon(3, 5, Prot::RW).range],
            ..Change::default()
        };
        assert_eq!(say(&replaced), "-8 KiB anonymous rw- 0x3000, +8 KiB anonymous rw- 0x3000");
        let bridged = change(vec![anon(1, 3, Prot::RW), anon(5, 9, Prot::RW)], vec![anon(1, 9, Prot::RW)]);
        assert_eq!(say(&bridged), "grew anonymous rw- 0x1000 by 8 KiB, merged 2 into 1");
        assert_eq!(say(&Change::default()), "no change");
    }
}
