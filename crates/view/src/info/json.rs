//! What a recording holds, as JSON.

use super::date::date;
use super::{About, Counts};
use crate::json::put_name;
use serde_json::{Map, Value, json};
use vmatlas_event::MonoNs;

/// What a recording holds, as one JSON document.
pub fn json(about: &About, counts: &Counts) -> Value {
    let mut recording = Map::new();
    put_name(&mut recording, "path", &about.path);
    let kinds: Map<String, Value> = counts
        .kinds
        .iter()
        .map(|(kind, (n, failed))| (kind.name().to_owned(), json!({"count": n, "failed": failed})))
        .collect();
    let processes: Vec<Value> = counts
        .processes
        .iter()
        .map(|(pid, p)| {
            let programs: Vec<_> =
                p.programs.iter().map(|b| String::from_utf8_lossy(b).into_owned()).collect();
            let (status, signal) = p.end.unwrap_or_default();
            let mut process = json!({
                "pid": pid.0, "parent": p.parent.map(|p| p.0), "threads": p.threads + 1, "calls": p.calls,
                "programs": programs, "ended": p.end.is_some(), "status": status, "signal": signal,
            });
            if let (Some(object), Some(_)) = (process.as_object_mut(), &about.looks) {
                for key in ["threads", "calls"] {
                    object.insert(key.to_owned(), Value::Null);
                    object.insert(format!("{key}_why"), "not-read".into());
                }
            }
            process
        })
        .collect();
    let marks: Vec<Value> = counts
        .marks
        .iter()
        .map(|(name, seq, at)| json!({"name": name, "seq": seq.0, "time": since(counts.zero(about), *at)}))
        .collect();
    let end = about.ended.or(counts.times.map(|(_, last)| last));
    for (key, value) in [
        ("program", json!(about.program)),
        ("args", json!(about.args)),
        ("how", json!(about.how)),
        ("host", json!(about.host)),
        ("kernel", json!(about.kernel)),
        ("arch", json!(about.arch)),
        ("vmatlas", json!(about.vmatlas)),
        ("features", json!(about.features)),
        ("started", json!(date(about.started, about.clock_offset))),
        ("duration", json!(end.map(|end| since(counts.zero(about), end)))),
        ("ended", json!(about.ended.is_some())),
        ("being_recorded", json!(about.being_recorded)),
        ("status", json!(about.status)),
        ("lost", json!(about.lost)),
        ("drift", json!(about.drift)),
        ("other_changes", json!(about.others)),
        ("untracked", json!(about.untracked)),
        ("keyframes", json!(about.keyframes)),
        ("bytes", json!(about.size.0)),
        ("damage", json!(about.damage.iter().chain(&counts.broken).collect::<Vec<_>>())),
    ] {
        recording.insert(key.to_owned(), value);
    }
    for (key, is_missing, why) in [
        ("args_why", about.args.is_none(), "not-read"),
        ("lost_why", about.lost.is_none(), "unknown"),
        ("drift_why", about.drift.is_none(), "unknown"),
        ("other_changes_why", about.others.is_none(), "unknown"),
        ("untracked_why", about.untracked.is_none(), "unknown"),
    ] {
        if is_missing {
            recording.insert(key.to_owned(), json!(why));
        }
    }
    if let Some(faults) = &about.faults {
        let value = json!({
            "told": faults.told, "lost": faults.lost, "handled": faults.handled, "accounted": faults.accounted,
        });
        recording.insert("faults".to_owned(), value);
    }
    if let Some(looks) = &about.looks {
        recording.insert("looks".to_owned(), looks.json());
    }
    if about.page_snapshots > 0 {
        recording.insert("page_snapshots".to_owned(), about.page_snapshots.into());
    }
    json!({
        "schema": "vmatlas/info/1",
        "recording": recording,
        "events": counts.events,
        "kinds": kinds,
        "processes": processes,
        "marks": marks,
    })
}

/// Seconds as a number.
fn since(start: MonoNs, at: MonoNs) -> f64 {
    at.0.saturating_sub(start.0) as f64 / 1e9
}
