use super::*;
use crate::{Lang, Style};
use vmatlas_event::{Container, Runtime};

fn row(pid: i32, name: &str, resident: Figure) -> PsRow {
    PsRow {
        pid: Pid(pid),
        name: Some(name.as_bytes().to_vec()),
        what: What::Process,
        uid: Some(0),
        user: Some(b"root".to_vec()),
        threads: Some(1),
        virtual_size: Ok(Bytes(8 << 20)),
        resident,
        anonymous: resident,
        file: Ok(Bytes(0)),
        shmem: Ok(Bytes(0)),
        swapped: Ok(Bytes(0)),
        page_tables: Ok(Bytes(4096)),
        vmas: Err(Missing::NotRead),
        pss: Err(Missing::NotRead),
        uss: Err(Missing::NotRead),
        shares_from: None,
        space_of: None,
        cgroup: None,
        workload: Workload::default(),
        args: Err(Missing::NotRead),
    }
}

fn text(view: &PsView, options: Options) -> String {
    let mut out = String::new();
    write_text(view, &mut out, &options).unwrap();
    out
}

/// Checks the list letter by letter: figures, what is hidden, threads of the kernel, the totals last.
#[test]
fn the_list_reads_as_a_table() {
    let mut view = PsView {
        rows: vec![
            row(7, "b\x1bd", Ok(Bytes(4096))),
            row(1234, "init", Ok(Bytes(1 << 20))),
            PsRow { uid: None, user: None, name: None, ..row(8, "", Err(Missing::Hidden)) },
            PsRow {
                what: What::KernelThread,
                virtual_size: Err(Missing::NoMemory),
                swapped: Err(Missing::NoMemory),
                ..row(2, "kthreadd", Err(Missing::NoMemory))
            },
        ],
        about: About { ended: 2, ..About::default() },
        ..PsView::default()
    };
    view.sort(Sort::Rss);
    let wanted = " PID  USER       VIRTUAL  RESIDENT  NAME
1234  root       8.0 MiB   1.0 MiB  init
   7  root       8.0 MiB     4 KiB  b\\x1bd
   2  root             -         -  [kthreadd]
   8  hidden     8.0 MiB    hidden  hidden
      total (4)   24 MiB   1.0 MiB
RESIDENT counts a shared page once for each process; PSS divides it (--pss)
RESIDENT: not in the sum: 1 hidden
2 ended meanwhile
";
    assert_eq!(text(&view, Options::default()), wanted);
    view.rows[0].swapped = Ok(Bytes(4096));
    assert!(text(&view, Options::default()).contains("  RESIDENT  SWAPPED  NAME\n"));
    let short = text(&view, Options { limit: Some(1), lang: Lang::Ja, ..Options::default() });
    assert!(short.contains("4 のうち 1 を表示") && !short.contains("kthreadd"), "{short}");
}

/// Checks that a process near the limit of VMAs stands out, and only that one.
#[test]
fn many_vmas_stand_out() {
    let view = PsView {
        rows: vec![
            PsRow { vmas: Ok(80_000), ..row(1, "ok", Ok(Bytes(1))) },
            PsRow { vmas: Ok(80_001), ..row(2, "near", Ok(Bytes(1))) },
        ],
        about: About { max_map_count: Some(100_000), ..About::default() },
        with_vmas: true,
        ..PsView::default()
    };
    let text = text(&view, Options { style: Style { color: true }, ..Options::default() });
    let red = Style { color: true }.on(crate::Paint::Failed);
    assert_eq!(text.matches(red).count(), 1, "{text}");
    assert!(text.contains(&format!("{red}80,001")));
}

/// Checks groups: sums, what is missing in them, and that the hidden are a group of their own.
#[test]
fn groups_are_sums() {
    let container = Container { runtime: Runtime::Crio, id: b"ab".to_vec() };
    let inside = |pid, pss| PsRow {
        pss,
        cgroup: Some(b"/x".to_vec()),
        workload: Workload { container: Some(container.clone()), pod: Some(b"p".to_vec()), unit: None },
        ..row(pid, "a", Ok(Bytes(1 << 20)))
    };
    let view = PsView {
        rows: vec![
            inside(1, Ok(Bytes(1000))),
            inside(2, Err(Missing::Hidden)),
            PsRow { cgroup: Some(b"/".to_vec()), ..row(3, "b", Ok(Bytes(3 << 20))) },
            row(4, "c", Ok(Bytes(0))),
        ],
        with_shares: true,
        ..PsView::default()
    };
    let groups = view.groups(By::Container, Sort::Rss);
    let told: Vec<(String, u64, Figure<u64>)> =
        groups.iter().map(|g| (g.key.text(Lang::En), g.sums.processes, g.sums.pss.figure())).collect();
    assert_eq!(
        told,
        [
            ("no container".to_owned(), 1, Err(Missing::NotRead)),
            ("cri-o ab in pod p".to_owned(), 2, Ok(1000)),
            ("hidden".to_owned(), 1, Err(Missing::NotRead)),
        ]
    );
    assert_eq!(view.groups(By::User, Sort::Pss).len(), 1);
    assert_eq!(view.groups(By::Cgroup, Sort::Pss).len(), 3);
    assert_eq!(view.groups(By::Name, Sort::Name).len(), 3);
}

/// Checks the JSON: missing values are null with a reason, never 0, and groups come with what they have in common.
#[test]
fn json_says_why() {
    let view = PsView {
        rows: vec![
            PsRow { cgroup: Some(b"/x".to_vec()), pss: Ok(Bytes(7)), ..row(1, "a", Ok(Bytes(5))) },
            row(2, "b", Err(Missing::Hidden)),
        ],
        with_shares: true,
        ..PsView::default()
    };
    let mut out = String::new();
    write_json(&view, &mut out, Some(By::Name), Sort::Name, None).unwrap();
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["schema"], "vmatlas/ps/1");
    let hidden = &json["processes"][1];
    assert!(hidden["resident"].is_null());
    assert_eq!((&hidden["resident_why"], &hidden["vmas_why"]), (&"hidden".into(), &"not-read".into()));
    assert_eq!(json["processes"][0]["cgroup"], "/x");
    assert!(json["processes"][0].get("args").is_none());
    assert_eq!((&json["totals"]["resident"], &json["totals"]["resident_missing"]), (&5.into(), &1.into()));
    assert_eq!((&json["groups"][1]["name"], &json["groups"][1]["processes"]), (&"b".into(), &1.into()));
    assert_eq!(json["groups"][1]["pss_why"], "not-read");
}

/// Checks that those without the figure come last, and that equal ones are in the order of their PIDs.
#[test]
fn the_unknown_come_last() {
    let mut view = PsView {
        rows: vec![
            row(3, "x", Err(Missing::Hidden)),
            row(2, "y", Ok(Bytes(0))),
            row(1, "z", Ok(Bytes(0))),
            row(9, "w", Ok(Bytes(9))),
        ],
        ..PsView::default()
    };
    let mut order = |sort| {
        view.sort(sort);
        view.rows.iter().map(|row| row.pid.0).collect::<Vec<_>>()
    };
    assert_eq!(order(Sort::Rss), [9, 1, 2, 3]);
    assert_eq!(order(Sort::Name), [9, 3, 2, 1]);
    assert_eq!(order(Sort::Vsz), [1, 2, 3, 9]);
}

/// Checks that what several processes use as one address space is in the sums of PSS and USS once, and that this is said.
#[test]
fn one_address_space_counts_once() {
    let shares = |row: PsRow| PsRow { pss: Ok(Bytes(300)), uss: Ok(Bytes(200)), ..row };
    let first = shares(row(5, "shell", Ok(Bytes(4096))));
    let second = PsRow { pid: Pid(6), space_of: Some(Pid(5)), ..first.clone() };
    let view = PsView { rows: vec![first, second], with_shares: true, ..PsView::default() };
    let sums = Sums::of(view.rows.iter());
    assert_eq!((sums.pss.total, sums.uss.total, sums.same_space), (300, 200, 1));
    let options = Options {
        lang: Lang::En,
        style: Style::default(),
        columns: None,
        by: None,
        sort: Sort::Rss,
        limit: None,
    };
    let text = text(&view, options);
    assert!(text.contains("1 use the address space of another process"), "{text}");
}
