//! What `show` reads on request: the frames behind pages, and the kernel's own figures.

use serde_json::{Value, json};
use vmatlas_proc::parse::numa_maps;
use vmatlas_proc::parse::smaps::{FIELDS, SmapsFields};
use vmatlas_proc::read::smaps;
use vmatlas_proc::{Frames, NoFrames, ProcError, Process};
use vmatlas_view::show::{MapView, Mapped, Missing, Smaps};

/// Adds a part of the reading's cost.
fn add_cost(cost: &mut Value, part: Value) {
    if let (Some(cost), Value::Object(part)) = (cost.as_object_mut(), part) {
        cost.extend(part);
    }
}

/// Why frames are not told, as it is shown.
pub(crate) fn missing(why: NoFrames) -> Missing {
    match why {
        NoFrames::Hidden => Missing::Hidden,
        NoFrames::Unknown => Missing::Unknown,
    }
}

pub(super) fn frames(read: Frames, view: &mut MapView) {
    view.frames_why = read.why.map(missing);
    for (row, (counts, mapped)) in view.rows.iter_mut().zip(read.per_row.into_iter().zip(read.mapped)) {
        row.frames = counts;
        row.mapped = mapped.map(|m| Mapped { private: m.alone, shared: m.shared });
    }
    add_cost(
        &mut view.cost,
        json!({
            "frames_us": read.cost.time.as_micros() as u64,
            "frames_calls": read.cost.pagemap_reads + read.cost.frame_reads,
            "frames_bytes": read.cost.bytes,
            "frames_longest_hold_us": read.cost.longest_hold.as_micros() as u64,
        }),
    );
}

/// About how long smaps will hold the process: 9 ms for each GiB that is resident, 2.4 us for each VMA.
pub(super) fn smaps_hold_ms(view: &MapView, policies: bool) -> u64 {
    let resident = view.header.resident.map_or(0, |bytes| bytes.0);
    let ms = (resident.saturating_mul(9) >> 30) + view.rows.len() as u64 * 24 / 10_000;
    // numa_maps walks the same pages once more.
    if policies { 2 * ms + 1 } else { ms + 1 }
}

pub(super) fn smaps(process: &Process, policies: bool, view: &mut MapView) -> Result<(), ProcError> {
    let read = smaps::read(process, view.rows.iter().map(|row| row.vma.range))?;
    // Policies are an addition: a kernel without NUMA has none.
    let text = match policies {
        true => smaps::read_numa_maps(process).unwrap_or_default(),
        false => Vec::new(),
    };
    let mut policies = numa_maps::policies(&text).peekable();
    for (row, fields) in view.rows.iter_mut().zip(read.per_row) {
        let start = row.vma.range.start();
        while policies.peek().is_some_and(|(addr, _)| *addr < start) {
            policies.next();
        }
        let policy = policies.peek().filter(|(addr, _)| *addr == start).map(|(_, policy)| policy.to_vec());
        row.smaps = fields.map(|fields| Box::new(plain(fields, policy)));
    }
    view.has_smaps = true;
    add_cost(
        &mut view.cost,
        json!({ "smaps_us": read.cost.time.as_micros() as u64, "smaps_bytes": read.cost.bytes }),
    );
    Ok(())
}

pub(crate) fn plain(fields: SmapsFields, policy: Option<Vec<u8>>) -> Smaps {
    let known = FIELDS.iter().filter_map(|(field, name)| Some(((*name).into(), fields.get(*field)?)));
    let others =
        fields.others.iter().map(|(key, size)| (String::from_utf8_lossy(key).into_owned().into(), *size));
    Smaps {
        sizes: known.chain(others).collect(),
        flags: fields.flags,
        thp_eligible: fields.thp_eligible,
        protection_key: fields.protection_key,
        policy,
    }
}
