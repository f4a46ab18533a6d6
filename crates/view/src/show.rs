//! The map of a process as a table: header, VMAs with gaps, totals per kind.

use crate::change::what;
use crate::escape;
use crate::json;
use crate::kind_text::{kind_name, why_text};
use crate::lang::Lang;
use crate::style::{Paint, Style};
use crate::table::{Align, Cell, Table, width};
use crate::texts;
use crate::units::{count, size};
use serde_json::{Map, Value};
use std::fmt::{self, Write};
use vmatlas_event::{Addr, Bytes, PageCounts, Pid, Prot, VmaRow};
use vmatlas_model::kind::{Confidence, Kind, Verdict};

/// One VMA with all that is known of it.
#[derive(Clone, Debug)]
pub struct ShowRow {
    /// As the kernel tells it.
    pub vma: VmaRow,
    /// What it is for.
    pub verdict: Verdict,
    /// Its pages; `None` when they were not read.
    pub pages: Option<PageCounts>,
}

/// What stands above the map.
#[derive(Clone, Debug, Default)]
pub struct Header {
    /// The process.
    pub pid: Option<Pid>,
    /// Its name, bytes of any kind.
    pub name: Vec<u8>,
    /// Its program's path; empty where hidden.
    pub exe: Vec<u8>,
    /// How many VMAs it may have.
    pub max_map_count: Option<u64>,
    /// Virtual size as the kernel counts it.
    pub virtual_size: Option<Bytes>,
    /// Resident size as the kernel counts it.
    pub resident: Option<Bytes>,
    /// Its threads.
    pub threads: Option<u64>,
    /// Whether its first thread has ended while others live.
    pub leader_ended: bool,
    /// Lines that overlapped while the map was read.
    pub torn: u64,
    /// Whether resident sizes may hold zero pages.
    pub zero_pages_counted: bool,
}

/// All that `show` shows.
#[derive(Clone, Debug)]
pub struct MapView {
    /// Above the map.
    pub header: Header,
    /// The VMAs in address order.
    pub rows: Vec<ShowRow>,
    /// Why pages were not read; `None` when they were.
    pub pages_why: Option<&'static str>,
    /// What reading cost, as it goes into JSON; `null` where it was not measured.
    pub cost: Value,
}

/// How rows are ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// By address, with the gaps.
    #[default]
    Address,
    /// Largest first.
    Size,
    /// Most resident first.
    Resident,
}

/// Which rows are shown; the totals are those of the rows shown.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of these kinds; empty for all.
    pub kinds: Vec<Kind>,
    /// Allowing at least this.
    pub prot: Option<Prot>,
    /// At least this large.
    pub min_size: Option<Bytes>,
    /// With this text in the name.
    pub name: Option<Vec<u8>>,
    /// Holding this address.
    pub addr: Option<Addr>,
}

impl Filter {
    /// Whether everything is shown.
    pub fn is_all(&self) -> bool {
        self.kinds.is_empty()
            && self.prot.is_none()
            && self.min_size.is_none()
            && self.name.is_none()
            && self.addr.is_none()
    }

    fn takes(&self, row: &ShowRow) -> bool {
        let name_has = |part: &Vec<u8>| {
            part.is_empty() || row.vma.name_bytes().windows(part.len()).any(|window| window == part)
        };
        (self.kinds.is_empty() || self.kinds.contains(&row.verdict.kind))
            && self.prot.is_none_or(|prot| row.vma.prot.has(prot))
            && self.min_size.is_none_or(|min| row.vma.range.len() >= min)
            && self.name.as_ref().is_none_or(name_has)
            && self.addr.is_none_or(|addr| row.vma.range.contains(addr))
    }
}

/// How it is written.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The language.
    pub lang: Lang,
    /// Colours.
    pub style: Style,
    /// The terminal's width; `None` for no limit.
    pub columns: Option<usize>,
    /// Which rows.
    pub filter: Filter,
    /// In which order.
    pub sort: Sort,
    /// Only the header and the totals.
    pub summary: bool,
    /// With the reason for each kind.
    pub why_kind: bool,
}

/// Sums of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Total {
    /// The kind.
    pub kind: Kind,
    /// How many VMAs.
    pub count: u64,
    /// Their size.
    pub size: Bytes,
    /// Their pages; `None` when not read.
    pub pages: Option<PageCounts>,
}

/// Sums per kind, most resident (else largest) first.
pub fn totals<'a>(rows: impl Iterator<Item = &'a ShowRow>) -> Vec<Total> {
    let mut sums: Vec<Total> = Vec::new();
    for row in rows {
        let kind = row.verdict.kind;
        let at = sums.iter().position(|t| t.kind == kind).unwrap_or_else(|| {
            sums.push(Total { kind, count: 0, size: Bytes(0), pages: None });
            sums.len() - 1
        });
        let total = &mut sums[at];
        total.count += 1;
        total.size += row.vma.range.len();
        if let Some(pages) = row.pages {
            *total.pages.get_or_insert_default() += pages;
        }
    }
    sums.sort_by_key(|t| {
        let resident = t.pages.map_or(Bytes(0), |p| p.resident);
        std::cmp::Reverse((resident, t.size))
    });
    sums
}

/// The colour of a kind.
pub fn paint_of(kind: Kind) -> Paint {
    match kind {
        Kind::Image | Kind::Jit => Paint::Code,
        Kind::Heap | Kind::MallocArena | Kind::Allocator | Kind::ManagedHeap => Paint::Heap,
        Kind::ThreadStack | Kind::MainStack => Paint::Stack,
        Kind::MappedFile => Paint::File,
        Kind::Shared => Paint::Shared,
        Kind::Guard | Kind::Reserved | Kind::Kernel => Paint::Faint,
        Kind::Anonymous | Kind::Huge | Kind::Device | Kind::Aio => Paint::Plain,
    }
}

/// The addresses of a row; on a narrow terminal only the first, so that the name has room (the size tells the end).
fn address(row: &ShowRow, options: &Options) -> String {
    const WIDE: usize = 100;
    match options.columns {
        Some(columns) if columns < WIDE => row.vma.range.start().to_string(),
        _ => row.vma.range.to_string(),
    }
}

/// The kind's name, with a question mark when it is a guess.
fn kind_label(verdict: &Verdict, lang: Lang) -> String {
    let name = kind_name(verdict.kind, lang);
    if verdict.confidence == Confidence::Guess && verdict.kind != Kind::Anonymous {
        format!("{name}?")
    } else {
        name.to_owned()
    }
}

impl MapView {
    /// The rows that the filter takes, in the order asked for.
    pub fn selected(&self, filter: &Filter, sort: Sort) -> Vec<&ShowRow> {
        let mut rows: Vec<&ShowRow> = self.rows.iter().filter(|row| filter.takes(row)).collect();
        match sort {
            Sort::Address => {}
            Sort::Size => rows.sort_by_key(|r| std::cmp::Reverse(r.vma.range.len())),
            Sort::Resident => {
                rows.sort_by_key(|r| std::cmp::Reverse(r.pages.map_or(Bytes(0), |p| p.resident)));
            }
        }
        rows
    }

    fn has_pages(&self) -> bool {
        self.pages_why.is_none()
    }

    fn has_swap(&self) -> bool {
        self.rows.iter().any(|r| r.pages.is_some_and(|p| p.swapped.0 > 0))
    }

    /// Writes all of it as text.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_text(&self, out: &mut dyn Write, options: &Options) -> fmt::Result {
        self.write_header(out, options)?;
        let rows = self.selected(&options.filter, options.sort);
        if !options.summary {
            writeln!(out)?;
            self.write_rows(out, &rows, options)?;
        }
        if !options.filter.is_all() {
            let values: [(&str, &dyn fmt::Display); 2] =
                [("n", &count(rows.len() as u64)), ("all", &count(self.rows.len() as u64))];
            writeln!(out, "\n{}", texts::SHOWN.fill(options.lang, &values))?;
        }
        writeln!(out)?;
        self.write_totals(out, &rows, options)?;
        self.write_cost(out, options)
    }

    /// One faint line: what the reading cost the reader and the process.
    fn write_cost(&self, out: &mut dyn Write, options: &Options) -> fmt::Result {
        let us = |name: &str| self.cost.get(name).and_then(Value::as_u64);
        let Some(maps) = us("maps_us") else { return Ok(()) };
        let ms = |us: u64| format!("{:.1} ms", us as f64 / 1e3);
        let time = ms(maps + us("pages_us").unwrap_or(0));
        let how = self.cost.get("pages_method").and_then(Value::as_str);
        let line = match (us("pages_longest_hold_us"), how) {
            (Some(hold), Some(how)) => {
                let values: [(&str, &dyn fmt::Display); 3] =
                    [("time", &time), ("hold", &ms(hold)), ("how", &how)];
                texts::COST.fill(options.lang, &values)
            }
            _ => texts::COST_OF_MAP.fill(options.lang, &[("time", &time)]),
        };
        writeln!(out, "\n{}", options.style.paint(Paint::Faint, &line))
    }

    fn write_header(&self, out: &mut dyn Write, options: &Options) -> fmt::Result {
        let (h, lang, style) = (&self.header, options.lang, options.style);
        let name = escape::terminal(&h.name);
        let title = match h.pid {
            Some(pid) => texts::PROCESS.fill(lang, &[("name", &name), ("pid", &pid)]),
            None => name,
        };
        write!(out, "{}", style.paint(Paint::Heading, &title))?;
        if !h.exe.is_empty() {
            write!(out, "  {}", style.paint(Paint::Faint, &escape::terminal(&h.exe)))?;
        }
        writeln!(out)?;
        let n = count(self.rows.len() as u64);
        let mut facts = vec![match h.max_map_count {
            Some(max) => texts::VMAS_OF.fill(lang, &[("n", &n), ("max", &count(max))]),
            None => texts::VMAS.fill(lang, &[("n", &n)]),
        }];
        if let Some(bytes) = h.virtual_size {
            facts.push(texts::VIRTUAL.fill(lang, &[("size", &size(bytes))]));
        }
        if let Some(bytes) = h.resident {
            facts.push(texts::RESIDENT_SIZE.fill(lang, &[("size", &size(bytes))]));
        }
        let sum = totals(self.rows.iter()).into_iter().filter_map(|t| t.pages).fold(
            PageCounts::default(),
            |mut sum, pages| {
                sum += pages;
                sum
            },
        );
        if sum.swapped.0 > 0 {
            facts.push(texts::SWAPPED_SIZE.fill(lang, &[("size", &size(sum.swapped))]));
        }
        if sum.hugetlb.0 > 0 {
            facts.push(texts::HUGETLB_SIZE.fill(lang, &[("size", &size(sum.hugetlb))]));
        }
        if let Some(threads) = h.threads.filter(|n| *n > 1) {
            facts.push(texts::THREADS.fill(lang, &[("n", &count(threads))]));
        }
        writeln!(out, "{}", facts.join(" · "))?;
        if h.leader_ended {
            writeln!(out, "{}", texts::LEADER_ENDED.get(lang))?;
        }
        if h.torn > 0 {
            writeln!(out, "{}", texts::TORN.fill(lang, &[("n", &h.torn)]))?;
        }
        if h.zero_pages_counted {
            writeln!(out, "{}", texts::ZERO_PAGES_COUNTED.get(lang))?;
        }
        Ok(())
    }

    fn write_rows(&self, out: &mut dyn Write, rows: &[&ShowRow], options: &Options) -> fmt::Result {
        let lang = options.lang;
        let (pages, swap) = (self.has_pages(), self.has_swap());
        let headings = |list: Vec<Option<&'static str>>| -> Vec<Cell> {
            list.into_iter().flatten().map(|text| Cell::new(text).paint(Paint::Heading)).collect()
        };
        let head = headings(vec![
            Some(texts::ADDRESS.get(lang)),
            Some(texts::SIZE.get(lang)),
            pages.then_some(texts::RESIDENT.get(lang)),
            swap.then_some(texts::SWAPPED.get(lang)),
            Some(texts::PROT.get(lang)),
            Some(texts::KIND.get(lang)),
            options.why_kind.then_some(texts::WHY.get(lang)),
            Some(texts::NAME.get(lang)),
        ]);
        let mut aligns = vec![Align::Left, Align::Right];
        aligns.extend(pages.then_some(Align::Right));
        aligns.extend(swap.then_some(Align::Right));
        aligns.extend([Align::Left, Align::Left]);
        aligns.extend(options.why_kind.then_some(Align::Left));
        aligns.push(Align::Left);
        let mut table = Table::new(&aligns, options.style, options.columns);
        table.fit_row(&head);
        let kind_column = aligns.len() - 2 - usize::from(options.why_kind);
        for row in rows {
            table.fit(0, address(row, options).len());
            table.fit(1, size(row.vma.range.len()).len());
            table.fit(kind_column, width(&kind_label(&row.verdict, lang)));
            if options.why_kind {
                table.fit(kind_column + 1, width(&why_text(&row.verdict.why, lang)));
            }
            if let Some(counts) = row.pages {
                table.fit(2, size(counts.resident).len());
            }
        }
        table.fit(kind_column - 1, 4);
        table.row(out, &head)?;
        let mut previous: Option<&ShowRow> = None;
        for row in rows {
            let gap = previous
                .filter(|_| options.sort == Sort::Address && options.filter.is_all())
                .and_then(|p| vmatlas_event::AddrRange::new(p.vma.range.end(), row.vma.range.start()))
                // What lies below [vsyscall] is no address space of the process but the hole of the architecture.
                .filter(|gap| !gap.is_empty() && row.vma.special() != Some(b"vsyscall"));
            if let Some(gap) = gap {
                let text = texts::GAP.fill(lang, &[("size", &size(gap.len()))]);
                writeln!(out, "{}", options.style.paint(Paint::Faint, &format!("  · {text}")))?;
            }
            table.row(out, &self.cells(row, options, pages, swap))?;
            previous = Some(row);
        }
        Ok(())
    }

    fn cells(&self, row: &ShowRow, options: &Options, pages: bool, swap: bool) -> Vec<Cell> {
        let lang = options.lang;
        let paint = paint_of(row.verdict.kind);
        let amount = |bytes: Option<Bytes>| match bytes {
            Some(Bytes(0)) => Cell::new("0").paint(Paint::Faint),
            Some(bytes) => Cell::new(size(bytes)),
            None => Cell::new("-").paint(Paint::Faint),
        };
        let sharing = if row.vma.sharing == vmatlas_event::Sharing::Shared { 's' } else { 'p' };
        let mut cells = vec![Cell::new(address(row, options)), Cell::new(size(row.vma.range.len()))];
        cells.extend(pages.then(|| amount(row.pages.map(|p| p.resident + p.hugetlb))));
        cells.extend(swap.then(|| amount(row.pages.map(|p| p.swapped))));
        cells.push(Cell::new(format!("{}{sharing}", row.vma.prot)));
        cells.push(Cell::new(kind_label(&row.verdict, lang)).paint(paint));
        cells.extend(
            options.why_kind.then(|| Cell::new(why_text(&row.verdict.why, lang)).paint(Paint::Faint)),
        );
        let name = if row.vma.name.is_some() { what(&row.vma, lang).into_owned() } else { String::new() };
        cells.push(Cell::new(name));
        cells
    }

    fn write_totals(&self, out: &mut dyn Write, rows: &[&ShowRow], options: &Options) -> fmt::Result {
        let lang = options.lang;
        let (pages, swap) = (self.has_pages(), self.has_swap());
        let mut aligns = vec![Align::Left, Align::Right, Align::Right];
        aligns.extend(pages.then_some(Align::Right));
        aligns.extend(swap.then_some(Align::Right));
        let line = |label: Cell, n: u64, bytes: Bytes, sum: Option<PageCounts>| {
            let of = |pick: fn(PageCounts) -> Bytes| {
                Cell::new(sum.map_or_else(|| "-".to_owned(), |p| size(pick(p))))
            };
            let mut cells = vec![label, Cell::new(count(n)), Cell::new(size(bytes))];
            cells.extend(pages.then(|| of(|p| p.resident + p.hugetlb)));
            cells.extend(swap.then(|| of(|p| p.swapped)));
            cells
        };
        let heading = |text: &crate::Text| Cell::new(text.get(lang)).paint(Paint::Heading);
        let mut head = vec![heading(&texts::KIND), heading(&texts::COUNT), heading(&texts::SIZE)];
        head.extend(pages.then(|| heading(&texts::RESIDENT)));
        head.extend(swap.then(|| heading(&texts::SWAPPED)));
        let mut lines = vec![head];
        let mut sum = Total { kind: Kind::Anonymous, count: 0, size: Bytes(0), pages: None };
        for total in totals(rows.iter().copied()) {
            sum.count += total.count;
            sum.size += total.size;
            if let Some(p) = total.pages {
                *sum.pages.get_or_insert_default() += p;
            }
            let label = Cell::new(kind_name(total.kind, lang)).paint(paint_of(total.kind));
            lines.push(line(label, total.count, total.size, total.pages));
        }
        lines.push(line(heading(&texts::TOTAL), sum.count, sum.size, sum.pages));
        crate::table::write_table(out, &aligns, &lines, options.style, None)
    }

    /// Writes all of it as one JSON document, VMA by VMA: a map can have a million of them.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_json(&self, out: &mut dyn Write, filter: &Filter, sort: Sort, summary: bool) -> fmt::Result {
        let rows = self.selected(filter, sort);
        let h = &self.header;
        let mut process = Map::new();
        process.insert("pid".into(), h.pid.map_or(Value::Null, |pid| pid.0.into()));
        json::put_name(&mut process, "name", &h.name);
        json::put_name(&mut process, "exe", &h.exe);
        let number = |bytes: Option<Bytes>| bytes.map_or(Value::Null, |b| b.0.into());
        process.insert("vmas".into(), self.rows.len().into());
        process.insert("max_map_count".into(), h.max_map_count.map_or(Value::Null, Into::into));
        process.insert("virtual".into(), number(h.virtual_size));
        process.insert("resident".into(), number(h.resident));
        process.insert("threads".into(), h.threads.map_or(Value::Null, Into::into));
        process.insert("leader_ended".into(), h.leader_ended.into());
        process.insert("torn".into(), h.torn.into());
        let put_pages = |object: &mut Map<String, Value>, pages: Option<PageCounts>| match pages {
            Some(p) => {
                object.insert("resident".into(), p.resident.0.into());
                object.insert("swapped".into(), p.swapped.0.into());
                object.insert("huge".into(), p.huge.0.into());
                object.insert("hugetlb".into(), p.hugetlb.0.into());
            }
            None => {
                object.insert("resident".into(), Value::Null);
                object.insert("resident_why".into(), self.pages_why.unwrap_or("no-pages").into());
            }
        };
        let totals: Vec<Value> = totals(rows.iter().copied())
            .iter()
            .map(|t| {
                let mut object = Map::new();
                object.insert("kind".into(), t.kind.id().into());
                object.insert("count".into(), t.count.into());
                object.insert("size".into(), t.size.0.into());
                put_pages(&mut object, t.pages);
                Value::Object(object)
            })
            .collect();
        write!(out, "{{\"schema\":\"vmatlas/show/1\",\"process\":{},", Value::Object(process))?;
        write!(out, "\"totals\":{},", Value::Array(totals))?;
        if !summary {
            out.write_str("\"vmas\":[")?;
            for (index, row) in rows.iter().enumerate() {
                let mut object = json::vma(&row.vma);
                object.insert("kind".into(), row.verdict.kind.id().into());
                object.insert("confidence".into(), row.verdict.confidence.id().into());
                object.insert("why_kind".into(), why_text(&row.verdict.why, Lang::En).into());
                put_pages(&mut object, row.pages);
                write!(out, "{}{}", if index == 0 { "" } else { "," }, Value::Object(object))?;
            }
            out.write_str("],")?;
        }
        writeln!(out, "\"cost\":{}}}", self.cost)
    }
}
