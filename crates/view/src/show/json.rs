//! All of it as one JSON document.

use super::column::{Column, Missing};
use super::totals::{sum, totals};
use super::{Columns, Filter, MapView, ShowRow, Smaps, Sort};
use crate::json;
use crate::kind_text::why_text;
use crate::lang::Lang;
use serde_json::{Map, Value};
use std::fmt::{self, Write};
use vmatlas_event::Bytes;

/// Amounts that are there whenever pages were read.
const ALWAYS: [Column; 7] = [
    Column::Anonymous,
    Column::File,
    Column::Shmem,
    Column::Swapped,
    Column::Huge,
    Column::Hugetlb,
    Column::Zero,
];

impl MapView {
    /// What is known of the process.
    pub(crate) fn process_json(&self) -> Map<String, Value> {
        let h = &self.header;
        let mut process = Map::new();
        process.insert("pid".into(), h.pid.map_or(Value::Null, |pid| pid.0.into()));
        json::put_name(&mut process, "name", &h.name);
        json::put_name(&mut process, "exe", &h.exe);
        let why = if h.source.is_some() { "not-recorded" } else { "unknown" };
        process.insert("vmas".into(), self.rows.len().into());
        let bytes = |bytes: Option<Bytes>| bytes.map(|b| b.0);
        for (key, value) in [
            ("max_map_count", h.max_map_count),
            ("virtual", bytes(h.virtual_size)),
            ("resident", bytes(h.resident)),
            ("threads", h.threads),
        ] {
            process.insert(key.to_owned(), value.map_or(Value::Null, Into::into));
            if value.is_none() {
                process.insert(format!("{key}_why"), why.into());
            }
        }
        process.insert("leader_ended".into(), h.leader_ended.into());
        process.insert("torn".into(), h.torn.into());
        if let Some(source) = &h.source {
            process.insert("source".into(), source.json());
        }
        process
    }

    /// Writes all of it as one JSON document, VMA by VMA: a map can have a million of them.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_json(
        &self,
        out: &mut dyn Write,
        filter: &Filter,
        sort: Sort,
        show: &Columns,
        summary: bool,
    ) -> fmt::Result {
        let rows = self.selected(filter, sort);
        let process = self.process_json();
        let extra: Vec<Column> = match show {
            Columns::Usual => Vec::new(),
            Columns::These(list) => {
                let is_new = |c: &Column| {
                    c.is_amount() && !matches!(c, Column::Size | Column::Resident) && !ALWAYS.contains(c)
                };
                list.iter().copied().filter(is_new).collect()
            }
        };
        let put_all = |object: &mut Map<String, Value>, rows: &[&ShowRow]| {
            let of = |column| sum(column, rows.iter().copied(), self);
            // RSS alone: what hugetlb holds has a field of its own.
            let resident: Result<Bytes, Missing> = of(Column::Resident)
                .map(|all| Bytes(all.0.saturating_sub(of(Column::Hugetlb).map_or(0, |h| h.0))));
            let has_pages = resident.is_ok();
            put(object, "resident", resident);
            let always = ALWAYS.iter().filter(|_| has_pages);
            let dumped = self.has_dumped().then_some(&Column::Dumped);
            always.chain(&extra).chain(dumped).for_each(|column| {
                put(object, column.id(), of(*column));
                if rows.iter().any(|row| column.is_from_smaps(row, self)) {
                    object.insert(format!("{}_from", column.id()), "smaps".into());
                }
            });
        };
        let totals: Vec<Value> = totals(rows.iter().copied())
            .iter()
            .map(|t| {
                let mut object = Map::new();
                object.insert("kind".into(), t.kind.id().into());
                object.insert("count".into(), t.count.into());
                object.insert("size".into(), t.size.0.into());
                let of_kind: Vec<&ShowRow> =
                    rows.iter().copied().filter(|row| row.verdict.kind == t.kind).collect();
                put_all(&mut object, &of_kind);
                Value::Object(object)
            })
            .collect();
        write!(out, "{{\"schema\":\"vmatlas/show/1\",\"process\":{},", Value::Object(process))?;
        write!(out, "\"totals\":{},", Value::Array(totals))?;
        if !summary {
            out.write_str("\"vmas\":[")?;
            for (index, row) in rows.iter().enumerate() {
                let mut object = json::vma(&row.vma);
                crate::source::adjust_vma(&mut object, self.header.source.as_ref(), row.vma.offset);
                object.insert("kind".into(), row.verdict.kind.id().into());
                object.insert("confidence".into(), row.verdict.confidence.id().into());
                object.insert("why_kind".into(), why_text(&row.verdict.why, Lang::En).into());
                object.insert("backing".into(), row.backing.id().into());
                put_all(&mut object, &[row]);
                if self.has_smaps {
                    let smaps = row.smaps.as_ref();
                    object.insert("smaps".into(), smaps.map_or(Value::Null, |smaps| of_smaps(smaps)));
                    if smaps.is_none() {
                        object.insert("smaps_why".into(), Missing::Unknown.id().into());
                    }
                }
                write!(out, "{}{}", if index == 0 { "" } else { "," }, Value::Object(object))?;
            }
            out.write_str("],")?;
        }
        writeln!(out, "\"cost\":{}}}", self.cost)
    }
}

/// An amount, or `null` and why.
fn put(object: &mut Map<String, Value>, key: &str, amount: Result<Bytes, Missing>) {
    match amount {
        Ok(bytes) => {
            object.insert(key.to_owned(), bytes.0.into());
        }
        Err(why) => {
            object.insert(key.to_owned(), Value::Null);
            object.insert(format!("{key}_why"), why.id().into());
        }
    }
}

/// The kernel's figures under the kernel's keys, in bytes.
fn of_smaps(smaps: &Smaps) -> Value {
    let mut object = Map::new();
    for (key, size) in &smaps.sizes {
        object.insert(key.clone().into_owned(), size.0.into());
    }
    if let Some(eligible) = smaps.thp_eligible {
        object.insert("THPeligible".into(), eligible.into());
    }
    if let Some(key) = smaps.protection_key {
        object.insert("ProtectionKey".into(), key.into());
    }
    let flags: Vec<Value> = smaps.flags.iter().map(|f| String::from_utf8_lossy(f).into()).collect();
    object.insert("VmFlags".into(), Value::Array(flags));
    if let Some(policy) = &smaps.policy {
        object.insert("policy".into(), String::from_utf8_lossy(policy).into());
    }
    Value::Object(object)
}
