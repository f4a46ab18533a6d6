//! A comparison as one JSON document.

use super::{Comparison, Entry, Total, What, difference};
use crate::json;
use crate::show::{MapView, Missing};
use serde_json::{Map, Value};
use std::fmt::{self, Write};
use vmatlas_event::{Bytes, VmaRow};

/// A difference as a number, or as its nearest where it does not fit.
fn number(amount: i128) -> Value {
    i64::try_from(amount).unwrap_or(if amount < 0 { i64::MIN } else { i64::MAX }).into()
}

/// A VMA, or `null` where the map has none.
fn side(row: Option<&VmaRow>, view: &MapView) -> Value {
    let Some(row) = row else { return Value::Null };
    let mut object = json::vma(row);
    crate::source::adjust_vma(&mut object, view.header.source.as_ref(), row.offset);
    Value::Object(object)
}

impl Comparison<'_> {
    /// Writes all of it as one JSON document, difference by difference.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_json(&self, out: &mut dyn Write) -> fmt::Result {
        let [a, b] = self.views;
        write!(out, "{{\"schema\":\"vmatlas/diff/1\",\"by\":\"{}\",", self.by.id())?;
        write!(
            out,
            "\"by_why\":\"{}\",",
            match (self.by_itself, self.by) {
                (false, _) => "asked",
                (true, super::By::Origin) => "recorded",
                (true, _) => "layout",
            }
        )?;
        write!(out, "\"different\":{},", self.is_different())?;
        write!(out, "\"a\":{},", Value::Object(a.process_json()))?;
        write!(out, "\"b\":{},", Value::Object(b.process_json()))?;
        write_all(out, "changes", self.entries.iter().map(|entry| self.entry(entry)))?;
        let resident = self.resident.iter().map(|r| {
            let mut object = json::vma(&r.row);
            object.insert("kind".into(), r.kind.id().into());
            object.insert("resident_a".into(), r.a.0.into());
            object.insert("resident_b".into(), r.b.0.into());
            object.insert("resident_change".into(), number(difference(r.a, r.b)));
            object
        });
        write_all(out, "resident", resident)?;
        let mut counts = Map::new();
        for what in What::ALL {
            let of_these = || self.entries.iter().filter(|entry| entry.what == what);
            let bytes: Bytes = of_these().map(|entry| entry.size).sum();
            counts.insert(
                what.id().into(),
                serde_json::json!({ "count": of_these().count(), "size": bytes.0 }),
            );
        }
        write!(out, "\"counts\":{},", Value::Object(counts))?;
        let (all, kinds): (Vec<&Total>, Vec<&Total>) = self.totals.iter().partition(|t| t.kind.is_none());
        write_all(out, "totals", kinds.into_iter().map(of_total))?;
        let all = all.first().map_or(Value::Null, |total| Value::Object(of_total(total)));
        writeln!(out, "\"total\":{all}}}")
    }

    fn entry(&self, entry: &Entry) -> Map<String, Value> {
        let [a, b] = self.views;
        let mut object = Map::new();
        object.insert("what".into(), entry.what.id().into());
        object.insert("kind".into(), entry.kind.id().into());
        object.insert("size".into(), entry.size.0.into());
        object.insert("size_change".into(), number(entry.growth()));
        object.insert("a".into(), side(entry.a.as_ref(), a));
        object.insert("b".into(), side(entry.b.as_ref(), b));
        object
    }
}

fn write_all(
    out: &mut dyn Write,
    key: &str,
    objects: impl Iterator<Item = Map<String, Value>>,
) -> fmt::Result {
    write!(out, "\"{key}\":[")?;
    for (index, object) in objects.enumerate() {
        write!(out, "{}{}", if index == 0 { "" } else { "," }, Value::Object(object))?;
    }
    out.write_str("],")
}

fn of_total(total: &Total) -> Map<String, Value> {
    let mut object = Map::new();
    if let Some(kind) = total.kind {
        object.insert("kind".into(), kind.id().into());
    }
    let mut put = |key: &str, amount: Result<Value, Missing>| {
        if let Err(why) = &amount {
            object.insert(format!("{key}_why"), why.id().into());
        }
        object.insert(key.to_owned(), amount.unwrap_or(Value::Null));
    };
    let ([count_a, count_b], [size_a, size_b], [a, b]) = (total.count, total.size, total.resident);
    put("count_a", Ok(count_a.into()));
    put("count_b", Ok(count_b.into()));
    put("size_a", Ok(size_a.0.into()));
    put("size_b", Ok(size_b.0.into()));
    put("size_change", Ok(number(difference(size_a, size_b))));
    put("resident_a", a.map(|bytes| bytes.0.into()));
    put("resident_b", b.map(|bytes| bytes.0.into()));
    put("resident_change", a.and_then(|a| Ok(number(difference(a, b?)))));
    object
}
