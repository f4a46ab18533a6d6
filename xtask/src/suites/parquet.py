"""Every sealed table in DuckDB and in pyarrow, and the queries of docs/QUERIES.md, against what vmatlas says itself.

usage: parquet.py VMATLAS TREE FOLDER
"""

import collections
import glob
import json
import os
import re
import subprocess
import sys

import duckdb
import pyarrow.parquet

VMATLAS, TREE, FOLDER = map(os.path.abspath, sys.argv[1:])
# Everything else is BIGINT.
TYPES = {"op": "VARCHAR", "source": "VARCHAR", "detail": "VARCHAR", "how": "VARCHAR", "what": "VARCHAR", "why": "VARCHAR", "extent": "VARCHAR", "method": "VARCHAR", "backing": "VARCHAR", "bytes": "BLOB", "build_id": "BLOB"}
PHYSICAL = {"BIGINT": ("INT64", "None"), "VARCHAR": ("BYTE_ARRAY", "String"), "BLOB": ("BYTE_ARRAY", "None")}
# Threads that map at the same time, a call that fails, a fork and exec, mappings that stay; enough calls for keyframes.
SUBJECT = """
import ctypes, subprocess, threading
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
subprocess.run(["/bin/true"])
assert libc.mmap(None, 1 << 62, 3, 0x22, -1, 0) == 2**64 - 1
for length in (8 << 20, 3 << 20, 5000): libc.mmap(None, length, 3, 0x22, -1, 0)
def loop():
    for _ in range(1500):
        libc.munmap(libc.mmap(None, 9000, 3, 0x22, -1, 0), 9000)
threads = [threading.Thread(target=loop) for _ in range(3)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


# These are of a recording that has all of it.
DEEPER = ("functions", "ends", "faults", "resident")


def vmatlas(*words):
    return subprocess.run([VMATLAS, *words], check=True, stdout=subprocess.PIPE).stdout.decode()


def same(what, ours, theirs):
    if ours != theirs:
        sys.exit(f"{what}: {str(theirs)[:2000]}\nbut vmatlas says {str(ours)[:2000]}")


def tables(rec):
    """Rows and types of every table, by both; their names."""
    document = open(f"{TREE}/docs/RECORDING-FORMAT.md").read()
    names = set()
    for seal in sorted(glob.glob(f"{rec}/seg-*/seal.json")):
        for table, sealed in json.load(open(seal))["tables"].items():
            path = f"{os.path.dirname(seal)}/{table}.parquet"
            names.add(table)
            file = pyarrow.parquet.ParquetFile(path)
            read = pyarrow.parquet.read_table(path)
            count = duckdb.sql(f"SELECT count(*) FROM '{path}'").fetchall()[0][0]
            same(f"rows of {path}", sealed["rows"], count)
            same(f"rows of {path} in pyarrow", sealed["rows"], read.num_rows)
            described = duckdb.sql(f"DESCRIBE SELECT * FROM '{path}'").fetchall()
            same(f"columns of {path}", read.column_names, [row[0] for row in described])
            for index, (column, kind, *_) in enumerate(described):
                wanted = TYPES.get(column, "BIGINT")
                same(f"type of {table}.{column}", wanted, kind)
                found = file.schema.column(index)
                same(f"type of {table}.{column} in the file", PHYSICAL[wanted], (found.physical_type, str(found.logical_type.type).title()))
                if not re.fullmatch("arg[1-4]", column) and f"`{column}`" not in document:
                    sys.exit(f"docs/RECORDING-FORMAT.md does not tell of {table}.{column}")
            # Not only the descriptions: every value, the same in both.
            whole = duckdb.sql(f"SELECT * FROM '{path}'").fetchall()
            same(f"values of {path}", list(zip(*(column.to_pylist() for column in read.columns))), whole)
    return names


def unsigned(text):
    return int(text, 16) if isinstance(text, str) else text


def values(db, log):
    """The events as vmatlas tells them."""
    rows = db.sql(
        "SELECT seq, op, pid, tid, mm, ended - took, ended, result, addr, len FROM events JOIN tasks ON tasks.id = task ORDER BY seq"
    ).fetchall()
    # As run does, log leaves out the kernel's answers, and what pages alone are about.
    rows = [row for row in rows if row[1] not in ("observed", "madvise")]
    told = [event for event in log if event["call"] not in ("observed", "madvise")]
    same("number of events", len(told), len(rows))
    compared = 0
    for event, (seq, op, pid, tid, mm, entered, left, result, addr, length) in zip(told, rows):
        same("event", [event[key] for key in ("seq", "call", "pid", "tid", "mm", "entered_ns", "left_ns")], [seq, op, pid, tid, mm, entered, left])
        if event.get("result") is not None and result is not None:
            same(f"result of event {seq}", unsigned(event["result"]), result & 2**64 - 1)
        if op in ("mmap", "munmap", "mprotect"):
            same(f"arguments of event {seq}", [unsigned(event["args"]["addr"]), event["args"]["length"]], [addr & 2**64 - 1, length & 2**64 - 1])
            compared += 1
    return compared


def queries(page):
    """The blocks of SQL of a page by the names in their first lines."""
    blocks = re.findall(r"```sql\n-- (\w+)\n(.*?)```", open(f"{TREE}/docs/{page}").read(), re.S)
    return {name: text.strip() for name, text in blocks}


def pages(length):
    return -(-length // 4096) * 4096


def answers(db, rec, log):
    """Every query, and what it must be."""
    texts = queries("QUERIES.md")
    same("the queries in Japanese", texts, queries("QUERIES.ja.md"))
    texts = {name: text for name, text in texts.items() if name not in ("views", "more", *DEEPER)}
    found = {name: db.sql(text).fetchall() for name, text in texts.items()}
    left = set(found)

    def compare(name, wanted):
        same(f"query {name}", wanted, found[name])
        left.remove(name)

    info = json.loads(vmatlas("info", rec, "--json"))
    compare("calls", sorted(((op, k["count"], k["failed"]) for op, k in info["kinds"].items()), key=lambda row: (-row[1], row[0])))
    failed = [json.loads(line) for line in vmatlas("log", rec, "--failed", "--jsonl").splitlines()]
    same("failed calls", [(e["seq"], e["pid"], e["call"]) for e in failed], [row[:3] for row in found["failed"]])
    same("the call that must fail", [(1 << 62, 12)], [row[3:] for row in found["failed"] if row[3] == 1 << 62])
    left.remove("failed")
    good = [e for e in log if e["call"] in ("mmap", "munmap") and e["error"] is None]
    start = min(e["entered_ns"] for e in log)
    rate = collections.defaultdict(lambda: [0, None, 0, None])
    who = collections.defaultdict(lambda: [0, 0])
    for event in good:
        second, length, at = rate[(event["entered_ns"] - start) // 10**9], event["args"]["length"], 0 if event["call"] == "mmap" else 2
        second[at] += 1
        second[at + 1] = (second[at + 1] or 0) + pages(length)
        if at == 0:
            mine = who[event["pid"], event["tid"]]
            mine[0] += 1
            mine[1] += length
    compare("rate", [(second, *row) for second, row in sorted(rate.items())])
    compare("who", sorted(((*task, *row) for task, row in who.items()), key=lambda row: (-row[3], row[1])))
    # Each mapping that was kept is in the map at the end of its address space, one after the other.
    kept = 0
    for seq, mm, address, length in found["kept"]:
        last = max(e["seq"] for e in log if e["mm"] == mm and e["call"] not in ("exit", "exec"))
        pid = next(e["pid"] for e in log if e["seq"] == seq)
        shown = json.loads(vmatlas("show", f"{rec}:{pid}@{last}", "--json"))
        at, end = unsigned(address), unsigned(address) + pages(length)
        for vma in shown["vmas"]:
            if unsigned(vma["start"]) <= at < unsigned(vma["end"]):
                at = unsigned(vma["end"])
        if at < end:
            sys.exit(f"query kept: event {seq}, {address} of {length} bytes, is not in the map after event {last}")
        kept += 1
    sizes = [row[3] for row in found["kept"]]
    if not {8 << 20, 3 << 20} <= set(sizes) or kept < 10:
        sys.exit(f"query kept: {found['kept']}")
    left.remove("kept")
    calls = collections.defaultdict(list)
    for event in log:
        if event["call"] in {row[0] for row in found["took"]} - {"madvise"}:
            calls[event["call"]].append(event["left_ns"] - event["entered_ns"])
    same("query took", [(op, len(t), min(t), max(t)) for op, t in sorted(calls.items(), key=lambda c: (-len(c[1]), c[0]))], [(*row[:3], row[5]) for row in found["took"] if row[0] != "madvise"])
    for op, _, _, median, p99, _ in found["took"]:
        times = sorted(calls[op])
        same(f"quantiles of {op}", True, not times or (median in times and p99 in times and times[(len(times) - 1) // 2] <= median <= times[len(times) // 2]))
    left.remove("took")
    snapshots = [e for e in log if e["call"] == "snapshot"]
    same("snapshots", [(e["seq"], e["mm"], e["args"]["reason"]) for e in snapshots], [row[:3] for row in found["maps"]])
    for seq, mm, _, vmas, size in found["maps"][:6]:
        pid = next(e["pid"] for e in snapshots if e["seq"] == seq)
        shown = json.loads(vmatlas("show", f"{rec}:{pid}@{seq}", "--json"))
        same(f"the map of event {seq}", (len(shown["vmas"]), sum(vma["size"] for vma in shown["vmas"])), (vmas, size))
    left.remove("maps")
    last = snapshots[-1]
    shown = json.loads(vmatlas("show", f"{rec}:{last['pid']}@{last['seq']}", "--json"))
    files = collections.defaultdict(lambda: [0, 0])
    for vma in shown["vmas"]:
        if vma.get("inode"):
            files[vma["name"]][0] += 1
            files[vma["name"]][1] += vma["size"]
    compare("files", sorted(((name, *row) for name, row in files.items()), key=lambda row: (-row[2], row[0])))
    same("queries without a comparison", set(), left)
    return {name: len(rows) for name, rows in found.items()}


def symbols(event):
    """The functions of an event's call stack."""
    frames = event["stack"]["frames"] if event.get("stack") else []
    return {symbol["function"] for frame in frames for symbol in frame.get("symbols", []) if symbol["function"]}


def deeper(db, rec, log):
    """The queries on faults, stacks and pages."""
    texts = queries("QUERIES.md")
    found = {name: db.sql(texts[name]).fetchall() for name in DEEPER}
    functions, ends, faults = collections.defaultdict(lambda: [0, 0]), collections.defaultdict(lambda: [0, 0]), {}
    for event in log:
        if event["call"] == "mmap" and event["error"] is None:
            for function in symbols(event):
                functions[function][0] += 1
                functions[function][1] += event["args"]["length"]
        if event.get("stack"):
            end = ends[event["call"], event["stack"]["end"]]
            end[0] += 1
            end[1] = max(end[1], len(event["stack"]["frames"]))
        if event["call"] == "fault":
            mine = faults.setdefault(event["pid"], [0, 0, 0, set()])
            mine[0] += 1
            mine[1] += event["args"]["major"]
            mine[2] += event["args"].get("ip") is None
            mine[3].add((event["mm"], unsigned(event["args"]["addr"]) // 4096))
    same("query functions", sorted(((name, *row) for name, row in functions.items()), key=lambda row: (-row[2], row[0]))[:20], found["functions"])
    # What pages alone are about log leaves out.
    told = sorted(((*key, *row) for key, row in ends.items() if key[0] != "madvise"), key=lambda row: (-row[2], row[0], row[1]))
    same("query ends", told, [row for row in found["ends"] if row[0] != "madvise"])
    same("query faults", sorted(((pid, *row[:3], len(row[3])) for pid, row in faults.items()), key=lambda row: (-row[1], row[0])), found["faults"])
    moments = collections.defaultdict(lambda: [0, 0])
    for seq, mm, *_, size, resident in found["resident"]:
        moments[seq, mm][0] += size
        moments[seq, mm][1] += resident or 0
    for (seq, mm), sums in moments.items():
        pid = next(e["pid"] for e in log if e["seq"] == seq and e["mm"] == mm)
        shown = json.loads(vmatlas("show", f"{rec}:{pid}@{seq}", "--json"))
        same(f"resident after event {seq}", [sum(vma[key] or 0 for vma in shown["vmas"]) for key in ("size", "resident")], sums)
    for name, rows in found.items():
        if not rows:
            sys.exit(f"query {name} finds nothing")
    return {name: len(rows) for name, rows in found.items()}


def main():
    print(f"DuckDB {duckdb.__version__}, pyarrow {pyarrow.__version__}")
    os.chdir(FOLDER)
    vmatlas("run", "-o", "REC", "--force", "--", sys.executable, "-c", SUBJECT)
    found = tables("REC")
    wanted = {"events", "rows", "in_flight", "names", "tasks", "spaces", "keyframes", "states", "state_rows", "state_parts"}
    if not wanted <= found:
        sys.exit(f"the recording has no table {', '.join(sorted(wanted - found))}")
    golden = sorted(glob.glob(f"{TREE}/fixtures/recordings/v*/sealed"))
    for path in golden:
        tables(path)
    print(f"{len(found)} tables, and those of {len(golden)} older recordings: rows, types and values are the same in both")
    db = duckdb.connect()
    db.sql(queries("QUERIES.md")["views"])
    log = [json.loads(line) for line in vmatlas("log", "REC", "--jsonl").splitlines()]
    print(f"{len(log)} events as vmatlas log tells them, {values(db, log)} with the same arguments")
    rows = answers(db, "REC", log)
    os.mkdir("deeper")
    os.chdir("deeper")
    vmatlas("run", "--faults", "--stacks", "--pages", "-o", "REC", "--", sys.executable, "-c", "import json; x = bytearray(1 << 22)")
    if not {"modules", "frames", "stacks", "symbols", "looks", "pages"} <= tables("REC"):
        sys.exit("the second recording has no stacks or no pages")
    db = duckdb.connect()
    for views in ("views", "more"):
        db.sql(queries("QUERIES.md")[views])
    log = [json.loads(line) for line in vmatlas("log", "REC", "--stacks", "--jsonl").splitlines()]
    rows.update(deeper(db, "REC", log))
    print("queries of docs/QUERIES.md:", ", ".join(f"{name} ({count} rows)" for name, count in rows.items()))


main()
