//! The sheet as JSON.

use super::RssView;
use crate::json::put_name;
use crate::show::Missing;
use serde_json::{Map, Value, json};
use vmatlas_event::{Bytes, Limit};
use vmatlas_model::rss::{Amounts, Arena, CgroupFigures, Difference, Reason, containment};

fn bytes(value: Option<Bytes>) -> Value {
    value.map_or(Value::Null, |b| b.0.into())
}

/// A figure, and why it is not there when it is not.
fn put(object: &mut Map<String, Value>, key: &str, value: Option<Bytes>, why: &str) {
    object.insert(key.to_owned(), bytes(value));
    if value.is_none() {
        object.insert(format!("{key}_why"), why.into());
    }
}

/// What the sums lack.
struct Lack {
    frames: &'static str,
    /// Zero pages are not told.
    zero: bool,
    /// Huge pages are not told.
    huge: bool,
}

fn amounts(a: &Amounts, lack: &Lack) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("count".into(), a.vmas.into());
    object.insert("size".into(), a.size.0.into());
    let known = a.unread < a.vmas || a.vmas == 0;
    let mut figure = |key: &str, value: Bytes| put(&mut object, key, known.then_some(value), "not-read");
    figure("touched", a.touched());
    figure("resident", a.pages.resident);
    figure("anonymous", a.pages.anonymous);
    figure("file", a.pages.of_files());
    figure("swapped", a.pages.swapped);
    if a.unread > 0 {
        object.insert("unread".into(), a.unread.into());
    }
    let not_told = |is_so: bool, value: Bytes| match (known, is_so) {
        (false, _) => (None, "not-read"),
        (true, true) => (None, "unknown"),
        (true, false) => (Some(value), ""),
    };
    for (key, (value, why)) in [
        ("huge", not_told(lack.huge, a.pages.huge)),
        ("hugetlb", not_told(lack.huge, a.pages.hugetlb)),
        ("zero", not_told(lack.zero, a.pages.zero)),
    ] {
        put(&mut object, key, value, why);
    }
    put(&mut object, "locked", a.locked, "not-read");
    put(&mut object, "pss", a.frames.map(|f| f.pss.bytes()), lack.frames);
    put(&mut object, "uss", a.frames.map(|f| f.private), lack.frames);
    let [named, evidence, guess] = a.by_confidence;
    object.insert("confidence".into(), json!({ "named": named.0, "evidence": evidence.0, "guess": guess.0 }));
    object
}

fn difference(d: Option<Difference>) -> Value {
    d.map_or(Value::Null, |d| json!({ "kernel": d.kernel.0, "ours": d.ours.0, "remainder": d.signed() }))
}

fn arena(a: &Arena) -> Value {
    json!({
        "address": a.addr.to_string(),
        "main": a.main,
        "threads": a.threads,
        "system": bytes(a.system),
        "used": bytes(a.used),
        "free": bytes(a.free),
        "free_blocks": a.free_blocks,
        "largest_free": bytes(a.largest_free),
        "top": bytes(a.top),
        "free_pages": bytes(a.free_pages),
        "free_resident": bytes(a.free_resident),
        "free_fragments": bytes(a.fragments()),
        "unknown_why": a.trouble,
    })
}

fn reason(reason: Reason) -> Value {
    let (id, value) = match reason {
        Reason::OtherMembers(n) => ("other-members", json!(n)),
        Reason::UnmappedCache(b) => ("unmapped-cache", json!(b.0)),
        Reason::CacheMayBeUnmapped => ("cache-may-be-unmapped", Value::Null),
        Reason::Kernel(b) => ("kernel-memory", json!(b.0)),
        Reason::ChargedElsewhere(b) => ("charged-elsewhere", json!(b.0)),
        Reason::AnonymousElsewhere(b) => ("anonymous-charged-elsewhere", json!(b.0)),
    };
    json!({ "reason": id, "value": value })
}

impl RssView {
    /// All of it as one document.
    pub fn json(&self) -> Value {
        let h = &self.map.header;
        let mut process = Map::new();
        process.insert("pid".into(), h.pid.map_or(Value::Null, |pid| pid.0.into()));
        put_name(&mut process, "name", &h.name);
        put_name(&mut process, "exe", &h.exe);
        let lack = Lack {
            frames: self.map.frames_why.unwrap_or(Missing::Unknown).id(),
            zero: h.zero_pages_unknown,
            huge: h.zero_pages_counted,
        };
        let lines: Vec<Value> = self
            .sheet
            .lines
            .iter()
            .map(|line| {
                let mut object = Map::new();
                object.insert("line".into(), line.kind.id().into());
                object.insert("profiler".into(), containment(line.kind).id().into());
                object.extend(amounts(&line.amounts, &lack));
                Value::Object(object)
            })
            .collect();
        json!({
            "schema": "vmatlas/rss/1",
            "process": process,
            "lines": lines,
            "mapped_again_most": bytes(self.sheet.mapped_again),
            "sum": amounts(&self.sheet.sum, &lack),
            "kernel": self.kernel_json(),
            "against_rollup": difference(self.sheet.against_rollup()),
            "against_counter": difference(self.sheet.against_counter()),
            "malloc": self.malloc_json(),
            "profiler": self.profiler_json(),
            "cgroup": self.cgroup_json(),
            "ask": self.hints.iter().map(|h| json!({
                "runtime": h.runtime.id(),
                "confidence": h.confidence.id(),
                "commands": self.commands(h),
            })).collect::<Vec<_>>(),
            "cost": self.map.cost,
        })
    }

    fn kernel_json(&self) -> Map<String, Value> {
        let kernel = &self.sheet.kernel;
        let is_saved = self.map.header.source.is_some();
        // The rollup of a living process is read only where it is asked for.
        let (status, rollup) =
            if is_saved { ("not-recorded", "not-recorded") } else { ("unknown", "not-read") };
        let mut object = Map::new();
        for (key, value, why) in [
            ("rss_before", kernel.rss_before, status),
            ("rss_after", kernel.rss_after, status),
            ("rss_anon", kernel.anonymous, status),
            ("rss_file", kernel.file, status),
            ("rss_shmem", kernel.shmem, status),
            ("rollup_rss", kernel.rollup, rollup),
            ("rollup_pss", kernel.pss, rollup),
            ("rollup_swap", kernel.rollup_swap, rollup),
            ("lazy_free", kernel.lazy_free, rollup),
            ("swap", kernel.swap, status),
            ("page_tables", kernel.page_tables, status),
            ("hugetlb", kernel.hugetlb, status),
            ("locked", kernel.locked, status),
            ("peak", kernel.peak, status),
        ] {
            put(&mut object, key, value, why);
        }
        object
    }

    fn malloc_json(&self) -> Value {
        self.inside.as_ref().map_or(Value::Null, |inside| {
            json!({
                "arenas": inside.arenas.iter().map(arena).collect::<Vec<_>>(),
                "thread_caches": bytes(inside.cached),
                "mapped": bytes(inside.mapped),
                "mapped_found": bytes(inside.mapped_found),
                "mapped_resident": bytes(inside.mapped_resident),
                "unknown_why": inside.trouble,
            })
        })
    }

    fn profiler_json(&self) -> Value {
        self.profiler.map_or(Value::Null, |total| {
            let view = self.sheet.profiler(total, self.of_malloc());
            let (least, most) = view.beyond();
            json!({
                "total": view.total.0,
                "can_contain": view.can.0,
                "may_contain_in_part": view.part.0,
                "cannot_contain": view.cannot.0,
                "beyond_least": least.0,
                "beyond_most": most.0,
                "not_resident": view.not_resident().0,
            })
        })
    }

    fn cgroup_json(&self) -> Value {
        let figures = match &self.cgroup {
            Err(why) => return json!({ "known": false, "why": why }),
            Ok(figures) => figures,
        };
        let mut object = cgroup(figures);
        let reasons = figures.reasons(&self.sheet).into_iter().map(reason).collect::<Vec<_>>();
        object.insert("why_different".into(), reasons.into());
        Value::Object(object)
    }
}

pub(super) fn cgroup(figures: &CgroupFigures) -> Map<String, Value> {
    let CgroupFigures { memory, members } = figures;
    let stat = &memory.stat;
    let mut object = Map::new();
    object.insert("known".into(), memory.current.is_some().into());
    object.insert("version".into(), memory.version.number().into());
    put_name(&mut object, "path", &memory.path);
    for (key, value) in [
        ("current", memory.current),
        ("peak", memory.peak),
        ("anonymous", stat.anon),
        ("file", stat.file),
        ("shmem", stat.shmem),
        ("mapped", stat.file_mapped),
        ("page_tables", stat.pagetables),
        ("kernel", stat.kernel),
        ("swap", memory.swap),
    ] {
        // Which figures there are depends on the version, the kernel and its settings.
        put(&mut object, key, value, "unknown");
    }
    let no_limit = if memory.max == Some(Limit::Unlimited) { "unlimited" } else { "unknown" };
    put(&mut object, "limit", memory.max.and_then(Limit::bytes), no_limit);
    object.insert("limited".into(), memory.max.map_or(Value::Null, |max| (max != Limit::Unlimited).into()));
    object.insert("members".into(), members.map_or(Value::Null, Into::into));
    object
}
