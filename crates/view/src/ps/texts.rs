//! The words of the list of processes, in both languages.

crate::texts! {
    /// Column: PID.
    PID: "PID", "PID";
    /// Column: user.
    USER: "USER", "ユーザー";
    /// Column: virtual size.
    VIRTUAL: "VIRTUAL", "仮想";
    /// Column: number of VMAs.
    VMAS: "VMAS", "領域";
    /// Column: proportional size.
    PSS: "PSS", "PSS";
    /// Column: unique size.
    USS: "USS", "USS";
    /// Column: arguments.
    COMMAND: "COMMAND", "コマンド";
    /// Column: number of processes.
    PROCESSES: "PROCESSES", "プロセス";
    /// Column: container.
    CONTAINER: "CONTAINER", "コンテナー";
    /// Column: cgroup.
    CGROUP: "CGROUP", "cgroup";
    /// A figure that is not for us.
    HIDDEN: "hidden", "非公開";
    /// A container of a Kubernetes pod.
    IN_POD: "{runtime} {id} in pod {pod}", "{runtime} {id} (pod {pod})";
    /// Processes of the host itself.
    NO_CONTAINER: "no container", "コンテナー外";
    /// The name of one that has ended.
    ZOMBIE: "{name} (zombie)", "{name} (ゾンビ)";
    /// Row: sums, and of how many.
    TOTAL_N: "total ({n})", "合計 ({n})";
    /// A sum that lacks some of them.
    LACKS: "{columns}: not in the sum: {parts}", "{columns}: 合計に含まれないプロセス: {parts}";
    /// Some that are not for us.
    HIDDEN_N: "{n} hidden", "非公開 {n}";
    /// Some that could not be read.
    UNKNOWN_N: "{n} unknown", "不明 {n}";
    /// Not all are shown.
    LIMITED: "{n} of {all} shown; the totals are those of all", "{all} のうち {n} を表示。合計は全体のものです";
    /// Nothing to show.
    NONE: "no process is as asked", "条件に合うプロセスはありません";
    /// What sums of resident sizes are.
    SHARED_TWICE: "RESIDENT counts a shared page once for each process; PSS divides it (--pss)",
        "常駐は共有ページをプロセスごとに数えます。PSS は共有する数で割ります (--pss)";
    /// The same where PSS is shown.
    SHARED_ONCE: "RESIDENT counts a shared page once for each process, the sum of PSS once in all",
        "共有ページは、常駐ではプロセスごとに、PSS の合計では全体で 1 度だけ数えます";
    /// vfork and CLONE_VM.
    SAME_SPACE: "{n} use the address space of another process (vfork, CLONE_VM): sums of PSS and USS count it once",
        "ほかのプロセスのアドレス空間を使うプロセス (vfork, CLONE_VM): {n}。PSS と USS の合計では 1 度だけ数えます";
    /// Came and went.
    ENDED: "{n} ended meanwhile", "読み取り中に終了: {n}";
    /// /proc hides others.
    HIDEPID: "/proc is mounted with hidepid: processes of other users are hidden or not listed; run as root (sudo)",
        "/proc が hidepid 付きでマウントされています: ほかのユーザーのプロセスは非公開か、一覧に出ません。root (sudo) で実行してください";
    /// Large processes.
    TOO_LARGE: "PSS of those over {size} ({n}) was not read; --rollup does, and holds each for about 9 ms per GiB",
        "{size} を超えるプロセス ({n}) の PSS は読んでいません。--rollup で読めますが、対象を 1 GiB あたり約 9 ms 待たせます";
    /// Frame counts are hidden.
    NEEDS_ROOT: "PSS needs root; --rollup reads that of your own processes, and holds each for about 9 ms per GiB",
        "PSS には root が必要です。--rollup なら自分のプロセスの PSS を読めますが、対象を 1 GiB あたり約 9 ms 待たせます";
    /// What smaps_rollup cost.
    ROLLUP: "processes read by smaps_rollup: {n}; held for {longest} at most, {total} in all",
        "smaps_rollup を読んだプロセス: {n}。待たせた時間は最長 {longest}、合計 {total}";
    /// Arguments that did not come.
    ARGS_LATE: "arguments that did not come in time: {n}", "時間内に読めなかった引数: {n}";
}

#[cfg(test)]
mod tests {
    /// Checks that every text has both languages with the same values.
    #[test]
    fn both_languages_are_there() {
        assert_eq!(crate::gaps(super::ALL), Vec::<String>::new());
    }
}
