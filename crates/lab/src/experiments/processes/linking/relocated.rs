//! A library after relocation: which of its pages are this process's own, and which are still those of the file.

use crate::elf::Elf;
use crate::error::LabError;
use crate::facts::{Expected, Measured, Value};
use crate::lab::Lab;
use crate::report::{Part, TablePart};
use crate::say::Say;
use crate::squares::part_of;
use crate::state::State;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use vmatlas_event::{Addr, AddrRange, Bytes, Prot, VmaRow};
use vmatlas_proc::parse::smaps::{Field, SmapsFields};
use vmatlas_proc::read::smaps;
use vmatlas_view::{escape, units};

/// Pages in the picture.
const SHOWN: u64 = 6;

/// One piece of the library, with what the kernel says of its pages (smaps).
struct Piece {
    row: VmaRow,
    fields: SmapsFields,
}

impl Piece {
    fn size(&self, fields: &[Field]) -> Option<u64> {
        self.fields.sum(fields).map(|sum| sum.0)
    }
}

/// Looks at the library that was asked for.
pub(super) fn look(lab: &mut Lab<'_>, static_why: Option<&'static str>) -> Result<(), LabError> {
    let wanted = lab.settings.text("library").unwrap_or_default().to_owned();
    lab.set("library", escape::terminal(wanted.as_bytes()));
    let pieces = pieces(lab, wanted.as_bytes())?;
    let path = pieces.first().map(|piece| piece.row.name_bytes().to_vec()).unwrap_or_default();
    let base = pieces.first().map_or(0, |piece| piece.row.range.start().0);
    let relro = relro(&path, base, lab.page());
    lab.step_alone("relocated", |lab| {
        if pieces.is_empty() {
            lab.say("no-library");
            return Ok(());
        }
        table(lab, &pieces);
        lab.say("relocated");
        Ok(())
    })?;
    let missing = static_why.unwrap_or("no-library");
    let told = |lab: &Lab<'_>, value: Option<Value>| {
        value.map_or_else(|| Measured::NotRead(lab.why(missing)), Measured::Is)
    };
    let text = || pieces.iter().filter(|piece| piece.row.prot.has(Prot::new(false, false, true)));
    let sum = |fields: &[Field]| {
        text().map(|piece| piece.size(fields)).sum::<Option<u64>>().filter(|_| text().next().is_some())
    };
    let page = lab.page();

    let dirty = told(lab, sum(&[Field::PrivateDirty, Field::SharedDirty]).map(Value::Bytes));
    lab.fact("code-own", Expected::Is(Value::Bytes(0)), dirty);
    let shared = told(lab, sum(&[Field::SharedClean]).map(Value::Bytes));
    lab.fact("code-shared", Expected::AtLeast(Value::Bytes(page)), shared);
    let at_relro =
        relro.and_then(|relro| pieces.iter().find(|piece| piece.row.range.contains(relro.start())));
    let prot = at_relro.map(|piece| Value::Word(format!("{}p", piece.row.prot)));
    let prot = told(lab, prot);
    lab.fact("relro", Expected::Is(Value::Word("r--p".to_owned())), prot);
    let own = at_relro.and_then(|piece| piece.size(&[Field::PrivateDirty, Field::SharedDirty]));
    let own = told(lab, own.map(Value::Bytes));
    lab.fact("relro-own", Expected::AtLeast(Value::Bytes(page)), own);
    if let Some(relro) = relro.or_else(|| pieces.first().map(|piece| piece.row.range)) {
        let before = Addr(relro.start().0.saturating_sub(page));
        let area = AddrRange::from_len(before, Bytes(0)).unwrap_or(relro);
        lab.draw("relocated", part_of(area, 0, SHOWN), &[], &[])?;
    }
    Ok(())
}

/// What is mapped of the first library whose file's name begins like this.
fn pieces(lab: &Lab<'_>, wanted: &[u8]) -> Result<Vec<Piece>, LabError> {
    let process = lab.subject.process();
    let rows = State::read(process)?.rows;
    let is_wanted = |row: &&VmaRow| {
        let file = row.name_bytes().rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        row.has_file() && !wanted.is_empty() && file.starts_with(wanted)
    };
    let Some(first) = rows.iter().find(is_wanted) else { return Ok(Vec::new()) };
    let own: Vec<&VmaRow> =
        rows.iter().filter(|row| (row.dev, row.inode) == (first.dev, first.inode)).collect();
    let seen = smaps::read(process, own.iter().map(|row| row.range))?;
    let piece =
        |(row, fields): (&&VmaRow, Option<SmapsFields>)| Some(Piece { row: (*row).clone(), fields: fields? });
    Ok(own.iter().zip(seen.per_row).filter_map(piece).collect())
}

/// What ld.so makes read-only after relocation, in whole pages (_dl_protect_relro()).
fn relro(path: &[u8], base: u64, page: u64) -> Option<AddrRange> {
    let (addr, len) = Elf::read(File::open(OsStr::from_bytes(path)).ok()?)?.relro?;
    let start = base.checked_add(addr)? / page * page;
    let end = base.checked_add(addr)?.checked_add(len.0)? / page * page;
    AddrRange::new(Addr(start), Addr(end)).filter(|range| !range.is_empty())
}

fn table(lab: &mut Lab<'_>, pieces: &[Piece]) {
    let head = |name: &str| Say::new(lab.report.info.text(&format!("label {name}")));
    let heads = ["offset", "allows", "mapped", "resident", "shared", "copied"].map(head).into();
    let size = |piece: &Piece, fields: &[Field]| {
        piece.size(fields).map_or_else(|| "?".to_owned(), |size| units::size(Bytes(size)))
    };
    let line = |piece: &Piece| {
        vec![
            format!("{:#x}", piece.row.offset),
            format!("{}p", piece.row.prot),
            units::size(piece.row.range.len()),
            size(piece, &[Field::Rss]),
            size(piece, &[Field::SharedClean, Field::SharedDirty]),
            size(piece, &[Field::Anonymous]),
        ]
    };
    let rows = pieces.iter().map(line).collect();
    lab.show(Part::Table(TablePart { heads, rows }));
}
