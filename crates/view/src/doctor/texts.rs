//! The words about what is allowed, in both languages. Names and purposes fit a line of 80 columns together.

use crate::lang::Text;

crate::texts! {
    /// Heading.
    TITLE: "Linux {kernel} {arch}, user {uid}; each line was tried, not concluded from a version",
        "Linux {kernel} {arch}, ユーザー {uid} (各項目は実際に試した結果です)";
    /// State.
    WORKS: "works", "使用可";
    /// State.
    IN_PART: "in part", "一部可";
    /// State.
    MISSING: "missing", "使用不可";
    /// State.
    UNKNOWN: "unknown", "不明";
    /// Behind a purpose.
    NOT_USED: "(not yet used)", "(未使用)";

    /// Heading of what is chosen.
    CHOICES: "With --backend auto", "--backend auto の選択";
    /// Who became root.
    INVOKER: "started through {via}: 'run' starts programs as {user}, and files of 'run' and 'attach' belong to {user} (--as-root: root)",
        "{via} からの起動なので、'run' はプログラムを {user} として起動し、'run' と 'attach' のファイルも {user} のものになります (--as-root で root)";

    /// Group.
    BACKENDS: "Ways to watch", "監視の手段";
    /// Group.
    READING: "Reading maps and pages", "メモリマップとページの読み取り";
    /// Group.
    TRACING: "Tracing", "トレース";
    /// Group.
    FAULTS: "Page-fault events", "ページフォールトのイベント";
    /// Group.
    BPF: "BPF", "BPF";
    /// Group.
    SYSTEM: "System", "システム";

    /// Name.
    RUN: "run", "run";
    /// Purpose.
    FOR_RUN: "memory calls of a program we start", "起動したプログラムの呼び出し";
    /// Purpose.
    FOR_ATTACH: "the same of your running processes", "自分の動作中プロセスの呼び出し";
    /// Name.
    ATTACH_OTHERS: "attach, other users", "attach (ほかのユーザー)";
    /// Purpose.
    FOR_ATTACH_OTHERS: "the same of everybody's", "全ユーザーのプロセスの呼び出し";
    /// Name.
    PAGE_FAULTS: "page faults", "ページフォールト";
    /// Purpose.
    FOR_PAGE_FAULTS: "--faults: who touched, and when", "--faults: だれがいつ触れたか";
    /// Name.
    BPF_BACKEND: "BPF", "BPF";
    /// Purpose.
    FOR_BPF: "watching without stops", "停止させない監視";

    /// Purpose.
    FOR_MAP_QUERY: "one VMA without the whole map", "領域 1 つだけの問い合わせ";
    /// Purpose.
    FOR_PAGE_SCAN: "resident pages, in short holds", "常駐ページを短い占有で読む";
    /// Purpose.
    FOR_GUARDS: "guard markers told from swap", "ガードとスワップの区別";
    /// Purpose.
    FOR_FRAMES: "page frames, PSS, families", "物理ページ, PSS, プロセス群";
    /// Purpose.
    FOR_ROLLUP: "the kernel's own sums (--rollup)", "カーネルの集計 (--rollup)";
    /// Name.
    SOFT_DIRTY: "soft-dirty bits", "soft-dirty ビット";
    /// Purpose.
    FOR_SOFT_DIRTY: "pages written since a moment", "ある時点以降の書き込み";
    /// Name.
    OTHERS_MAPS: "maps of other users", "ほかのユーザーの maps";
    /// Purpose.
    FOR_OTHERS_MAPS: "show, rss, ps of everybody's", "全プロセスの show, rss, ps";
    /// Purpose.
    FOR_HIDEPID: "seeing processes of others", "ほかのユーザーのプロセス一覧";

    /// Name.
    SECCOMP: "seccomp filters", "seccomp フィルター";
    /// Purpose.
    FOR_SECCOMP: "only memory calls stop", "メモリの呼び出しだけで停止";
    /// Purpose.
    FOR_SYSCALL_INFO: "calls told without a filter", "フィルターなしの呼び出し判別";
    /// Purpose.
    FOR_KCMP: "which tasks share a map", "メモリマップの共有の判別";
    /// Purpose.
    FOR_YAMA: "who may attach to what", "だれが attach できるか";

    /// Purpose.
    FOR_PARANOID: "faults of your own programs", "自分のプログラムのフォールト";
    /// Name.
    KERNEL_TOUCHES: "touches by the kernel", "カーネルのアクセス";
    /// Purpose.
    FOR_KERNEL_TOUCHES: "faults inside system calls", "システムコール中のフォールト";
    /// Purpose.
    FOR_MLOCK: "room, so that none is lost", "取りこぼさないための容量";

    /// Name.
    BTF: "BTF of the kernel", "カーネルの BTF";
    /// Purpose.
    FOR_BTF: "one program for all kernels", "カーネルによらない BPF";
    /// Name.
    FAULT_BEGINS: "page fault tracepoints", "フォールトのトレース";
    /// Purpose.
    FOR_FAULT_BEGINS: "--faults under BPF at less cost", "BPF での低コストな --faults";
    /// Name.
    UNPRIVILEGED_BPF: "unprivileged BPF", "特権なしの BPF";
    /// Purpose.
    FOR_UNPRIVILEGED_BPF: "not needed", "不要";
    /// Name.
    JIT: "BPF JIT", "BPF JIT";
    /// Purpose.
    FOR_JIT: "BPF at full speed", "BPF の高速実行";
    /// Purpose.
    FOR_LOCKDOWN: "BPF may read the kernel", "BPF によるカーネルの読み取り";
    /// Purpose.
    FOR_TRACEFS: "tracepoints of the kernel", "カーネルのトレースポイント";

    /// Name.
    CGROUP: "cgroups", "cgroup";
    /// Purpose.
    FOR_CGROUP: "containers, and their charge", "コンテナとその課金量";
    /// Purpose.
    FOR_USERFAULTFD: "faults handled by a program", "プログラムによる処理";

    /// Note: an error.
    REFUSED: "the kernel says: {value}", "カーネルの応答: {value}";
    /// Note: a privilege.
    NEEDS: "needs {value}", "{value} が必要です";
    /// Note: an option of the kernel.
    NOT_BUILT: "not in this kernel ({value})", "このカーネルにはありません ({value})";
    /// Note: even root is refused by one.
    EXCEPT_FIRST: "but not of process 1 (a container's rule): {value}",
        "ただしプロセス 1 は読めません (コンテナの制限): {value}";
    /// Note: no filters.
    ALL_STOP: "every system call stops the program: {value}", "すべてのシステムコールで停止します: {value}";
    /// Note: a whole map is read.
    MAPS_ARE_READ: "maps is read whole: {value}", "代わりに maps 全体を読みます: {value}";
    /// Note: entries are read.
    ENTRIES_ARE_READ: "entries of pagemap are read, which count zero pages: {value}",
        "代わりに pagemap のエントリーを読みます (ゼロページも数えます): {value}";
    /// Note: guards count as swapped.
    NO_GUARDS: "guard markers cannot be told apart: {value}", "ガードを区別できません: {value}";
    /// Note: no frames.
    NO_FRAMES: "who else maps a page is told by its own entry; page frames are hidden: {value}",
        "ページの共有はエントリーの情報で判断します。物理ページは非公開です: {value}";
    /// Note: only own maps.
    OWN_MAPS: "those of other users are hidden: {value}", "ほかのユーザーのものは非公開です: {value}";
    /// Note: PIDs are hidden.
    PIDS_HIDDEN: "/proc is mounted with hidepid={value}", "/proc は hidepid={value} でマウントされています";
    /// Note: Yama.
    YAMA_LEVEL: "kernel.yama.ptrace_scope is {value}: only our own children (run)",
        "kernel.yama.ptrace_scope は {value}: 自分の子プロセスだけ (run)";
    /// Note: Yama forbids all.
    YAMA_NONE: "kernel.yama.ptrace_scope is {value}: nobody may trace until the machine is started anew",
        "kernel.yama.ptrace_scope は {value}: 再起動するまでだれもトレースできません";
    /// Note: no Yama.
    NO_YAMA: "not in this kernel, so it forbids nothing", "このカーネルにはないため、制限もありません";
    /// Note: the tracepoint that is missing.
    FAULTS_BY_EVENTS: "no {value} in this kernel: software events tell page faults, which costs them more",
        "このカーネルに {value} がないため、ソフトウェアイベントで調べます (その分遅くなります)";
    /// Note: a setting.
    SETTING: "{value}", "{value}";
    /// Note: another tracer.
    TRACED: "another tracer has us: what we start cannot be traced a second time ({value})",
        "すでに別のトレーサーの下にあるため、起動したプログラムを重ねてトレースできません ({value})";
    /// Note: the kernel's touches are missing.
    USER_ONLY: "read(2) into fresh memory and the like are counted, not told: {value}",
        "read(2) による新しいメモリへのアクセスなどは集計だけになります: {value}";
    /// Note: small rings.
    ROOM: "{value} per CPU", "CPU あたり {value}";
    /// Note: no mount.
    NOT_MOUNTED: "not mounted or not readable at {value}", "{value} にマウントされていないか、読めません";
    /// Note: no file.
    NO_FILE: "{value} is not there", "{value} がありません";
    /// Note: it can be switched on.
    SWITCHED_OFF: "{value} is 0", "{value} が 0 です";
    /// Note: only the user's part.
    ONLY_USER_FAULTS: "{value}: faults of system calls cannot be handled", "{value}: システムコール中のフォールトは処理できません";
}

// What the kernel calls so is called so in both languages.

/// Name.
pub const ATTACH: Text = same("attach");
/// Name.
pub const MAP_QUERY: Text = same("PROCMAP_QUERY");
/// Name.
pub const PAGE_SCAN: Text = same("PAGEMAP_SCAN");
/// Name.
pub const GUARDS: Text = same("PAGE_IS_GUARD");
/// Name.
pub const FRAMES: Text = same("/proc/kpagecount");
/// Name.
pub const ROLLUP: Text = same("smaps_rollup");
/// Name.
pub const HIDEPID: Text = same("hidepid");
/// Name.
pub const SYSCALL_INFO: Text = same("PTRACE_GET_SYSCALL_INFO");
/// Name.
pub const KCMP: Text = same("kcmp");
/// Name.
pub const YAMA: Text = same("Yama ptrace_scope");
/// Name.
pub const PARANOID: Text = same("perf_event_paranoid");
/// Name.
pub const MLOCK: Text = same("perf_event_mlock_kb");
/// Name.
pub const LOCKDOWN: Text = same("lockdown");
/// Name.
pub const TRACEFS: Text = same("tracefs");
/// Name.
pub const USERFAULTFD: Text = same("userfaultfd");

const fn same(name: &'static str) -> Text {
    Text { en: name, ja: name }
}

#[cfg(test)]
mod tests {
    /// Checks that every text has both languages with the same values.
    #[test]
    fn both_languages_are_there() {
        assert_eq!(crate::gaps(super::ALL), Vec::<String>::new());
    }
}
