//! The list as one JSON document.

use super::group::{Group, Key, Sum, Sums};
use super::{By, Figure, PsRow, PsView, Sort};
use crate::json::put_name;
use crate::lang::Lang;
use serde_json::{Map, Value, json};
use std::fmt::{self, Write};
use vmatlas_event::{Bytes, Workload};

/// Writes all of it as one JSON document, process by process.
///
/// # Errors
/// Those of `out`.
pub fn write_json(
    view: &PsView,
    out: &mut dyn Write,
    by: Option<By>,
    sort: Sort,
    limit: Option<usize>,
) -> fmt::Result {
    let about = &view.about;
    write!(
        out,
        "{{\"schema\":\"vmatlas/ps/1\",\"max_map_count\":{},\"processes\":[",
        json!(about.max_map_count)
    )?;
    // A limit of groups is none of processes.
    let limit_of_rows = if by.is_some() { None } else { limit };
    for (index, row) in view.rows.iter().take(limit_of_rows.unwrap_or(usize::MAX)).enumerate() {
        write!(out, "{}{}", if index == 0 { "" } else { "," }, process(view, row))?;
    }
    out.write_str("],")?;
    if let Some(by) = by {
        let groups: Vec<Value> = view
            .groups(by, sort)
            .iter()
            .take(limit.unwrap_or(usize::MAX))
            .map(|group| self::group(view, group))
            .collect();
        write!(out, "\"by\":{},\"groups\":{},", json!(by.id()), Value::Array(groups))?;
    }
    let totals = sums(view, &Sums::of(view.rows.iter()));
    write!(
        out,
        "\"totals\":{},\"ended\":{},\"hidepid\":{},",
        Value::Object(totals),
        about.ended,
        about.hidepid
    )?;
    let rollup = about.rollup.map(|cost| {
        json!({
            "processes": cost.processes, "longest_hold_us": cost.longest_us, "total_us": cost.total_us,
        })
    });
    let cost = json!({
        "time_us": about.time_us, "longest_hold_us": about.longest_hold_us, "smaps_rollup": rollup,
    });
    writeln!(out, "\"cost\":{cost}}}")
}

fn put<T: Into<Value>>(object: &mut Map<String, Value>, key: &str, figure: Result<T, super::Missing>) {
    match figure {
        Ok(value) => {
            object.insert(key.to_owned(), value.into());
        }
        Err(why) => {
            object.insert(key.to_owned(), Value::Null);
            object.insert(format!("{key}_why"), why.id().into());
        }
    }
}

fn process(view: &PsView, row: &PsRow) -> Value {
    let mut object = Map::new();
    let bytes = |figure: &Figure| figure.map(|Bytes(n)| n);
    object.insert("pid".into(), row.pid.0.into());
    match &row.name {
        Some(name) => put_name(&mut object, "name", name),
        None => put::<Value>(&mut object, "name", Err(super::Missing::Hidden)),
    }
    object.insert("what".into(), row.what.id().into());
    put(&mut object, "uid", row.uid.ok_or(super::Missing::Hidden));
    if let Some(user) = &row.user {
        put_name(&mut object, "user", user);
    }
    object.insert("threads".into(), row.threads.map_or(Value::Null, Into::into));
    for (key, figure) in [
        ("virtual", &row.virtual_size),
        ("resident", &row.resident),
        ("resident_anonymous", &row.anonymous),
        ("resident_file", &row.file),
        ("resident_shmem", &row.shmem),
        ("swapped", &row.swapped),
        ("page_tables", &row.page_tables),
    ] {
        put(&mut object, key, bytes(figure));
    }
    put(&mut object, "vmas", row.vmas);
    put(&mut object, "pss", bytes(&row.pss));
    put(&mut object, "uss", bytes(&row.uss));
    if let Some(source) = row.shares_from {
        object.insert("shares_from".into(), source.id().into());
    }
    if let Some(first) = row.space_of {
        object.insert("address_space_of".into(), first.0.into());
    }
    if let Some(cgroup) = &row.cgroup {
        put_name(&mut object, "cgroup", cgroup);
        workload(&mut object, &row.workload);
    }
    if view.with_args {
        let args = row.args.as_ref().map(|args| {
            let words = args.strip_suffix(b"\0").unwrap_or(args);
            words
                .split(|b| *b == 0)
                .map(|word| String::from_utf8_lossy(word).into_owned())
                .collect::<Vec<_>>()
        });
        put(&mut object, "args", args.map_err(|why| *why));
    }
    Value::Object(object)
}

fn workload(object: &mut Map<String, Value>, workload: &Workload) {
    if let Some(container) = &workload.container {
        object.insert("runtime".into(), container.runtime.id().into());
        put_name(object, "container", &container.id);
    }
    if let Some(pod) = &workload.pod {
        put_name(object, "pod", pod);
    }
    if let Some(unit) = &workload.unit {
        put_name(object, "unit", unit);
    }
}

fn group(view: &PsView, group: &Group) -> Value {
    let mut object = Map::new();
    match &group.key {
        Key::Container(container, pod) => workload(
            &mut object,
            &Workload { container: Some(container.clone()), pod: pod.clone(), unit: None },
        ),
        Key::User(uid, name) => {
            object.insert("uid".into(), (*uid).into());
            if let Some(name) = name {
                put_name(&mut object, "user", name);
            }
        }
        Key::Name(name) => put_name(&mut object, "name", name),
        Key::Cgroup(path) => put_name(&mut object, "cgroup", path),
        Key::NoContainer => {
            object.insert("container".into(), Value::Null);
        }
        Key::Hidden => {
            object.insert("hidden".into(), true.into());
        }
    }
    object.insert("label".into(), group.key.text(Lang::En).into());
    object.extend(sums(view, &group.sums));
    Value::Object(object)
}

fn sums(view: &PsView, sums: &Sums) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("processes".into(), sums.processes.into());
    let mut sum = |key: &str, sum: Sum| {
        put(&mut object, key, sum.figure());
        if sum.missing() > 0 {
            object.insert(format!("{key}_missing"), sum.missing().into());
        }
    };
    sum("virtual", sums.virtual_size);
    sum("resident", sums.resident);
    sum("swapped", sums.swapped);
    if view.with_vmas {
        sum("vmas", sums.vmas);
    }
    if view.with_shares {
        sum("pss", sums.pss);
        sum("uss", sums.uss);
    }
    object
}
