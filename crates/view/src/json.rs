//! JSON shapes: addresses as "0x..." strings, sizes in bytes, missing values `null` with a `..._why`.

use serde_json::{Map, Value, json};
use vmatlas_event::{Addr, ForkKind, Op, Outcome, Sharing, SnapshotReason, VmaRow};
use vmatlas_model::{Change, Done, PageChange};

/// An address.
pub fn addr(addr: Addr) -> Value {
    Value::String(addr.to_string())
}

/// Bytes that should be text: as text, or with what is no UTF-8 replaced and the exact bytes beside it in hexadecimal.
pub fn put_name(object: &mut Map<String, Value>, key: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => {
            object.insert(key.to_owned(), text.into());
        }
        Err(_) => {
            let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
            object.insert(key.to_owned(), String::from_utf8_lossy(bytes).into_owned().into());
            object.insert(format!("{key}_hex"), hex.into());
        }
    }
}

/// One VMA as the kernel tells it.
pub fn vma(row: &VmaRow) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("start".into(), addr(row.range.start()));
    object.insert("end".into(), addr(row.range.end()));
    object.insert("size".into(), row.range.len().0.into());
    object.insert("prot".into(), row.prot.to_string().into());
    object.insert("sharing".into(), if row.sharing == Sharing::Shared { "shared" } else { "private" }.into());
    if row.has_file() {
        object.insert("offset".into(), row.offset.into());
        object.insert("dev".into(), format!("{:02x}:{:02x}", row.dev.major, row.dev.minor).into());
        object.insert("inode".into(), row.inode.into());
    }
    put_name(&mut object, "name", row.name_bytes());
    object
}

/// What a change did: to the pages, and to the VMAs.
pub fn change(change: &Change, pages: &[PageChange]) -> Value {
    let pages: Vec<Value> = pages
        .iter()
        .map(|page| match page {
            PageChange::Added(row) => with(vma(row), "what", "added".into()),
            PageChange::Removed(row) => with(vma(row), "what", "removed".into()),
            PageChange::Altered { from, to } => {
                let object = with(vma(to), "what", "altered".into());
                match object {
                    Value::Object(object) => with(object, "from_prot", from.prot.to_string().into()),
                    other => other,
                }
            }
            PageChange::Moved { from, to } => json!({
                "what": "moved", "size": to.len().0, "from": addr(from.start()), "to": addr(to.start()),
            }),
        })
        .collect();
    let rows = |rows: &[VmaRow]| rows.iter().map(|row| Value::Object(vma(row))).collect::<Vec<_>>();
    json!({ "pages": pages, "vmas_before": rows(&change.before), "vmas_after": rows(&change.after) })
}

fn with(mut object: Map<String, Value>, key: &str, value: Value) -> Value {
    object.insert(key.to_owned(), value);
    Value::Object(object)
}

/// A call's arguments by name.
pub fn args(op: &Op) -> Value {
    match op {
        Op::Mmap { addr: a, len, prot, flags, fd, offset } => json!({
            "addr": addr(*a), "length": len.0, "prot": prot.0, "flags": flags.0, "fd": fd, "offset": offset,
            "prot_text": crate::call::prot(prot.0), "flags_text": crate::call::map_flags(flags.0),
        }),
        Op::Munmap { addr: a, len } => json!({ "addr": addr(*a), "length": len.0 }),
        Op::Mremap { old, old_len, new_len, flags, new } => json!({
            "old_addr": addr(*old), "old_length": old_len.0, "new_length": new_len.0, "flags": flags,
            "new_addr": addr(*new),
        }),
        Op::Mprotect { addr: a, len, prot, pkey } => json!({
            "addr": addr(*a), "length": len.0, "prot": prot.0, "prot_text": crate::call::prot(prot.0), "pkey": pkey,
        }),
        Op::Brk { addr: a } => json!({ "addr": addr(*a) }),
        Op::Madvise { addr: a, len, advice } => json!({
            "addr": addr(*a), "length": len.0, "advice": advice.0, "advice_text": advice.name(),
        }),
        Op::Shmat { id, addr: a, flags } => json!({ "id": id, "addr": addr(*a), "flags": flags }),
        Op::Shmdt { addr: a } => json!({ "addr": addr(*a) }),
        Op::Mlock { addr: a, len, flags } => json!({ "addr": addr(*a), "length": len.0, "flags": flags }),
        Op::Munlock { addr: a, len } => json!({ "addr": addr(*a), "length": len.0 }),
        Op::Mlockall { flags } => json!({ "flags": flags }),
        Op::Mseal { addr: a, len, flags } => json!({ "addr": addr(*a), "length": len.0, "flags": flags }),
        Op::Mbind { addr: a, len, mode, flags } => json!({
            "addr": addr(*a), "length": len.0, "mode": mode, "flags": flags,
        }),
        Op::SetMempolicyHomeNode { addr: a, len, node, flags } => json!({
            "addr": addr(*a), "length": len.0, "node": node, "flags": flags,
        }),
        Op::RemapFilePages { addr: a, len, prot, pgoff, flags } => json!({
            "addr": addr(*a), "length": len.0, "prot": prot.0, "page": pgoff, "flags": flags.0,
        }),
        Op::Prctl { option, args } => json!({ "option": option, "raw": args }),
        Op::ArchPrctl { code, addr: a } => json!({ "code": code, "raw": a }),
        Op::MapShadowStack { addr: a, len, flags } => json!({
            "addr": addr(*a), "length": len.0, "flags": flags,
        }),
        Op::IoSetup { events } => json!({ "events": events }),
        Op::IoDestroy { ctx } => json!({ "context": addr(*ctx) }),
        Op::Ioctl { fd, request, arg } => json!({ "fd": fd, "request": request, "arg": addr(*arg) }),
        Op::ProcessMadvise { pidfd, iovec, count, advice } => json!({
            "pidfd": pidfd, "iovec": addr(*iovec), "ranges": count, "advice": advice.0, "advice_text": advice.name(),
        }),
        Op::Seccomp { flags } => json!({ "flags": flags }),
        Op::Personality { persona } => json!({ "persona": persona }),
        Op::Other { arch, nr, args } => json!({ "arch": arch, "nr": nr, "raw": args }),
        Op::Fork { kind, child, child_mm } => json!({
            "how": match kind {
                ForkKind::Process => "process",
                ForkKind::SharedProcess => "shared-process",
                ForkKind::Thread => "thread",
            },
            "pid": child.pid.0, "tid": child.tid.0, "mm": child_mm.0,
        }),
        Op::Snapshot { reason, .. } => json!({ "reason": reason_name(*reason) }),
        Op::Exec { old_mm } => json!({ "old_mm": old_mm.0 }),
        Op::Mark { name } => json!({ "name": name }),
        Op::Fault { addr: a, ip: Some(ip), major } => {
            json!({ "addr": addr(*a), "ip": addr(*ip), "major": major })
        }
        Op::Fault { addr: a, ip: None, major } => json!({
            "addr": addr(*a), "ip": null, "ip_why": "kernel", "major": major,
        }),
        Op::Lost { count: Some(count), from, to, .. } => json!({
            "count": count, "from_ns": from.0, "to_ns": to.0,
        }),
        Op::Lost { count: None, from, to, .. } => json!({
            "count": null, "count_why": "unknown", "from_ns": from.0, "to_ns": to.0,
        }),
        Op::Exit { status, signal, last } => json!({ "status": status, "signal": signal, "last": last }),
        _ => json!({}),
    }
}

/// Why a whole map was read.
pub(crate) fn reason_name(reason: SnapshotReason) -> &'static str {
    match reason {
        SnapshotReason::Exec => "exec",
        SnapshotReason::Fork => "fork",
        SnapshotReason::Attach => "attach",
        SnapshotReason::Watch => "watch",
        SnapshotReason::Unclear => "unclear",
        SnapshotReason::Request => "request",
        SnapshotReason::Reconcile => "reconcile",
        SnapshotReason::Last => "last",
        SnapshotReason::Check => "check",
    }
}

/// One event with its change, as a line of `--jsonl`.
pub fn event(done: &Done, errno_name: fn(vmatlas_event::Errno) -> Option<&'static str>) -> Value {
    let event = &done.event;
    let (result, error) = match event.outcome {
        Outcome::Done(value) => (json!(format!("{value:#x}")), Value::Null),
        Outcome::Failed(errno) => (Value::Null, json!(errno_name(errno).unwrap_or("?"))),
        Outcome::NoReturn => (Value::Null, json!("ended inside the call")),
    };
    json!({
        "schema": "vmatlas/event/1",
        "seq": event.seq.0,
        "entered_ns": event.entered.0,
        "left_ns": event.left.0,
        "pid": event.task.pid.0,
        "tid": event.task.tid.0,
        "mm": event.mm.0,
        "call": event.op.kind().name(),
        "args": args(&event.op),
        "result": result,
        "error": error,
        "confirmed": done.confirmed,
        "change": change(&done.change, &done.pages),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that a name which is no UTF-8 is not lost.
    #[test]
    fn names_are_not_lost() {
        let mut object = Map::new();
        put_name(&mut object, "name", b"/a\xff");
        assert_eq!(object["name_hex"], "2f61ff");
        let mut object = Map::new();
        put_name(&mut object, "name", "/領".as_bytes());
        assert_eq!((object["name"].as_str(), object.len()), (Some("/領"), 1));
    }
}
