//! Saved maps and smaps, line by line: a map of a million VMAs has a gigabyte of smaps.

use super::{Saved, SavedError, SavedKind};
use crate::parse::maps::{Parsed, parse_at};
use crate::parse::smaps::{Field, SmapsFields};
use crate::read::snapshot::{Maps, push};
use crate::read::walk::has_pages;
use rustc_hash::FxHashSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use vmatlas_event::{Bytes, Name, PageCounts, PageSize, VmaRow};

/// The most text that is read.
const LIMIT: u64 = 1 << 30;
/// The longest line there can be: a path may need a few pages, never a megabyte.
const LINE_LIMIT: u64 = 1 << 20;

/// Rows, with their figures where the text is smaps.
#[derive(Debug, Default)]
pub(super) struct Text {
    pub(super) maps: Maps,
    pub(super) smaps: Option<Vec<SmapsFields>>,
}

pub(super) fn read_saved(path: &Path, file: File) -> Result<Saved, SavedError> {
    let text = read(file)?;
    let mut saved = Saved::new(SavedKind::Maps, path);
    if text.smaps.is_some() {
        saved.kind = SavedKind::Smaps;
    }
    take(&mut saved, text);
    Ok(saved)
}

/// Puts rows and figures into what is given.
pub(super) fn take(saved: &mut Saved, text: Text) {
    saved.torn = text.maps.torn;
    saved.rows = text.maps.rows;
    if let Some(fields) = text.smaps {
        saved.pages = Some(saved.rows.iter().zip(&fields).map(|(row, f)| pages(row, f)).collect());
        // The kernel's page size of any VMA that is not hugetlb is that of the machine: the smallest one.
        let sizes = fields.iter().filter_map(|f| f.get(Field::KernelPageSize));
        if let Some(page) = sizes.min().and_then(|size| PageSize::new(size.0)) {
            saved.facts.page = page;
        }
        saved.smaps = Some(fields);
    }
}

/// What smaps tells of pages; `None` where it tells too little. Kernels that do not know huge pages have none.
fn pages(row: &VmaRow, fields: &SmapsFields) -> Option<PageCounts> {
    if !has_pages(row) {
        return None;
    }
    let or_none = |list: &[Field]| list.iter().filter_map(|f| fields.get(*f)).sum::<Bytes>();
    Some(PageCounts {
        resident: fields.get(Field::Rss)?,
        anonymous: fields.get(Field::Anonymous)?,
        swapped: fields.get(Field::Swap)?,
        huge: or_none(&[Field::AnonHugePages, Field::ShmemPmdMapped, Field::FilePmdMapped]),
        hugetlb: or_none(&[Field::SharedHugetlb, Field::PrivateHugetlb]),
        zero: Bytes(0),
    })
}

/// Reads maps or smaps to its end.
pub(super) fn read(file: File) -> Result<Text, SavedError> {
    let mut reader = BufReader::with_capacity(256 << 10, file);
    let mut text = Text::default();
    let mut names: FxHashSet<Name> = FxHashSet::default();
    let (mut line, mut number, mut total, mut crlf) = (Vec::new(), 0u64, 0u64, false);
    loop {
        line.clear();
        let n = reader.by_ref().take(LINE_LIMIT).read_until(b'\n', &mut line)? as u64;
        if n == 0 {
            break;
        }
        number += 1;
        total += n;
        if total > LIMIT {
            return Err(SavedError::TooLarge(LIMIT >> 20));
        }
        if n == LINE_LIMIT {
            return Err(refuse(&text, number, &line));
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        // A path may end with a carriage return, so the first line decides for all.
        if number == 1 {
            crlf = line.last() == Some(&b'\r');
        }
        if crlf && line.last() == Some(&b'\r') {
            line.pop();
        }
        if !line.trim_ascii().is_empty() && !take_line(&mut text, &mut names, &mut line)? {
            return Err(refuse(&text, number, &line));
        }
    }
    if text.maps.rows.is_empty() {
        return Err(SavedError::Empty);
    }
    if let [only] = text.maps.rows.as_slice()
        && only.special() == Some(b"rollup")
    {
        return Err(SavedError::Rollup);
    }
    Ok(text)
}

/// When not even the first line fits, the file is something else.
fn refuse(text: &Text, line: u64, found: &[u8]) -> SavedError {
    if text.maps.rows.is_empty() {
        return SavedError::Unknown;
    }
    SavedError::Line { line, found: found.get(..80).unwrap_or(found).to_vec() }
}

/// Takes one line without its end; `false` when it is neither a VMA nor a figure.
fn take_line(text: &mut Text, names: &mut FxHashSet<Name>, line: &mut Vec<u8>) -> Result<bool, SavedError> {
    // Figures start with a capital letter, VMAs with a hexadecimal digit.
    if line.first().is_some_and(u8::is_ascii_uppercase) {
        let rows = text.maps.rows.len();
        let fields = text.smaps.get_or_insert_default();
        fields.resize_with(rows, SmapsFields::default);
        return Ok(fields.last_mut().is_some_and(|f| f.take(line)));
    }
    // Editors take the space away with which a line without a name ends.
    for end in [&b"\n"[..], b" \n"] {
        let len = line.len();
        line.extend_from_slice(end);
        if let Ok(Parsed::Line(parsed, next)) = parse_at(line, 0)
            && next == line.len()
        {
            push(&mut text.maps, names, &parsed);
            let rows = text.maps.rows.len();
            if let Some(fields) = &mut text.smaps {
                // Rows that this one overlapped are gone.
                fields.truncate(rows.saturating_sub(1));
                fields.resize_with(rows, SmapsFields::default);
            }
            return Ok(true);
        }
        line.truncate(len);
    }
    Ok(false)
}
