//! The words of the reconciliation sheet.

crate::texts! {
    /// Column: the line.
    LINE: "WHAT", "内訳";
    /// Column: what has a page behind it.
    TOUCHED: "TOUCHED", "使用済み";
    /// Column: share of the whole.
    PERCENT: "%", "%";
    /// Column: of no file.
    ANON: "ANON", "無名";
    /// Column: of files and shared objects.
    FILE: "FILE", "ファイル";
    /// Column: proportional share.
    PSS: "PSS", "PSS";
    /// Column: this process alone.
    USS: "USS", "USS";
    /// Column: locked.
    LOCKED: "LOCKED", "ロック";
    /// Column: how the kind is known.
    EVIDENCE: "KNOWN BY", "根拠";
    /// Evidence: by name.
    NAMED: "name", "名前";
    /// Evidence: by evidence.
    EVIDENT: "evidence", "証拠";
    /// Evidence: a guess.
    GUESS: "guess", "推測";
    /// Evidence: in part a guess.
    PART_GUESS: "guess {percent} %", "推測 {percent} %";
    /// Evidence: nothing is known.
    PURPOSE_UNKNOWN: "use unknown", "用途不明";
    /// Row: sum of all lines.
    SUM: "sum of all pages", "全ページの合計";
    /// Header: resident by the kernel.
    COUNTED: "resident {size} by the kernel's counter", "常駐 {size} (カーネルのカウンター)";
    /// Header: peak.
    PEAK: "peak {size}", "最大 {size}";
    /// Inside malloc: heading of a part.
    USED: "used", "使用中";
    /// Inside malloc: free, whole pages.
    FREE_PAGES: "  in whole pages", "  うちページ単位";
    /// Inside malloc: free, in pages that hold something used.
    FRAGMENTS: "  in fragments", "  うち断片";
    /// How the use of anonymous memory is known in part.
    OF_MALLOC: "malloc's {percent} %", "malloc {percent} %";
    /// Inside malloc: free.
    FREE: "free in malloc", "malloc内の空き";
    /// Heading: beside the kernel's.
    KERNEL: "Beside the kernel's own figures", "カーネル自身の数値との比較";
    /// Our own PSS.
    OWN_SUM: "our own sum: {size}", "自前の合計: {size}";
    /// PSS was asked for and is not shown.
    PSS_HIDDEN: "PSS and USS are hidden: page frames are shown to root alone (--rollup tells PSS)",
        "PSS と USS は非公開: ページフレームは root だけが見られます (--rollup は PSS を表示)";
    /// Equal.
    EQUAL: "equal", "一致";
    /// Remainder against the walk.
    REMAINDER: "remainder {size}", "差 {size}";
    /// The process went on.
    MOVED: "the process went on: VmRSS moved by {size} meanwhile", "読み取り中も動作: その間に VmRSS が {size} 変化";
    /// The counter's error.
    COUNTER_ERROR: "the counter is kept per processor and summed late", "カウンターはCPUごとに保持され、遅れて合計される";
    /// What is not read.
    ROLLUP_NOT_READ: "not read (--rollup; it holds the process about 9 ms per GiB)", "未取得 (--rollup で取得; 1 GiB あたり約 9 ms プロセスを待たせます)";
    /// No page is known.
    NO_PAGES: "what is resident is not recorded in this file", "このファイルには常駐の記録がありません";
    /// A saved source.
    NOT_RECORDED: "not recorded", "記録なし";
    /// Not all pages were read.
    UNREAD: "{n} VMAs have no page tables to read", "{n} 領域は読めるページテーブルがありません";
    /// Heading: outside.
    OUTSIDE: "Not in RSS", "RSS に含まれないもの";
    /// Page tables.
    PAGE_TABLES: "page tables", "ページテーブル";
    /// hugetlb.
    HUGETLB: "hugetlb pages", "hugetlb ページ";
    /// Swap.
    SWAP: "swapped out", "スワップアウト";
    /// Swap note.
    SWAP_NOTE: "shared memory in swap is not among it: the page tables do not hold it (--rollup)", "スワップ中の共有メモリは含まない: ページテーブルに現れない (--rollup)";
    /// Zero page.
    ZERO: "mapped to the page of zeros", "ゼロページへのマップ";
    /// Zero page note.
    ZERO_NOTE: "read before it was written", "書き込み前に読まれた";
    /// Heading: inside RSS, worth knowing.
    WITHIN: "Within RSS", "RSS のうち";
    /// Huge pages.
    HUGE: "in transparent huge pages", "トランスペアレントヒュージページ";
    /// Huge surplus.
    HUGE_NOTE: "resident as a whole once one byte is touched; what was never touched of it is unknown without a recording",
        "1 バイト触れると全体が常駐する。触れられていない量は記録なしでは不明";
    /// Locked, by the kernel's counter alone.
    LOCKED_ALL: "locked (mlock)", "ロック済み (mlock)";
    /// Which lines it lies in.
    LOCKED_NOTE: "which VMAs: show --smaps, column locked", "対象の領域は show --smaps の locked 列";
    /// The same pages at several addresses.
    AGAIN: "the same file pages again, at most", "同じページの再マップ (最大)";
    /// Why it matters.
    AGAIN_NOTE: "shared memory mapped at several addresses: RSS counts a page at each, PSS once (--pss)",
        "共有メモリを複数のアドレスにマップしている: RSS は各アドレスで、PSS は 1 回だけ数える (--pss)";
    /// Free in malloc and resident, over all arenas.
    TRIM: "free in malloc, whole pages", "malloc内の空き (ページ単位)";
    /// What would give them back.
    TRIM_NOTE: "malloc_trim(3) gives them back", "malloc_trim(3) で返却できる";
    /// Free in malloc, in pages that hold something used.
    TRIM_FRAGMENTS: "free in malloc, fragments", "malloc内の空き (断片)";
    /// Why they stay.
    TRIM_FRAGMENTS_NOTE: "used blocks in the same pages keep them in memory", "同じページに使用中のブロックがあり、返却できない";
    /// Lazily freed.
    LAZY: "freed lazily (MADV_FREE)", "遅延解放 (MADV_FREE)";
    /// Lazily freed note.
    LAZY_NOTE: "the kernel takes it back when it needs memory", "メモリが必要になるとカーネルが回収する";
    /// Lazily freed, unknown.
    LAZY_UNKNOWN: "unknown (--rollup, or root with --pss)", "不明 (--rollup、または root で --pss)";
    /// Peak of malloc's caches.
    CACHED: "in thread caches of malloc (counted as used)", "malloc のスレッドキャッシュ内 (使用中に数える)";
    /// Blocks from mmap directly.
    MALLOC_MAPPED: "malloc's big blocks", "mallocの大ブロック";
    /// Heading: profiler.
    PROFILER: "Beside a profiler's {size}", "プロファイラーの {size} との比較";
    /// Profiler: can.
    CAN: "it can contain", "含み得る";
    /// Profiler: in part.
    PART: "it may contain in part", "一部を含み得る";
    /// Profiler: cannot.
    CANNOT: "it cannot contain", "含み得ない";
    /// Profiler: beyond.
    BEYOND: "heaps hold {least} to {most} more than it counts: free blocks, the allocator's own data, garbage not yet collected, or what it did not see",
        "ヒープには計測値より {least}〜{most} 多くあります: 空きブロック、アロケータ自身のデータ、未回収のゴミ、または計測されなかったもの";
    /// Profiler: beyond, by one figure.
    BEYOND_ABOUT: "heaps hold about {most} more than it counts: free blocks, the allocator's own data, garbage not yet collected, or what it did not see",
        "ヒープには計測値より約 {most} 多くあります: 空きブロック、アロケータ自身のデータ、未回収のゴミ、または計測されなかったもの";
    /// Profiler: beyond, of which free.
    BEYOND_FREE: "of that, malloc holds free: {pages} in whole pages, {fragments} in fragments",
        "そのうち malloc 内の空き: ページ単位で {pages}、断片で {fragments}";
    /// Profiler: it counts more.
    NOT_RESIDENT: "at least {size} of its figure is not resident: it counts what was asked for, touched or not",
        "計測値のうち少なくとも {size} は常駐していません: 触れたかどうかによらず要求量を数えるためです";
    /// Heading: cgroup.
    CGROUP: "The cgroup's view of the same bytes: {path} (v{version})", "cgroup から見た同じメモリ: {path} (v{version})";
    /// Heading: cgroup, not there.
    CGROUP_UNKNOWN: "The cgroup's view: unknown ({why})", "cgroup から見た同じメモリ: 不明 ({why})";
    /// Column of the process.
    PROCESS_COLUMN: "THIS PROCESS", "このプロセス";
    /// All.
    CHARGED: "charged in all", "計上の合計";
    /// Of no file.
    ANONYMOUS: "anonymous", "無名";
    /// Page cache.
    CACHE: "files and shared memory", "ファイルと共有メモリ";
    /// Shared memory alone.
    SHMEM: "  of it shared memory", "  うち共有メモリ";
    /// Kernel memory.
    KERNEL_MEMORY: "kernel memory", "カーネルメモリ";
    /// Limit.
    LIMIT: "limit", "上限";
    /// Reasons.
    WHY_DIFFERENT: "why they differ:", "違いの理由:";
    /// Reason.
    R_MEMBERS: "the cgroup has {n} more processes", "この cgroup にはほかに {n} 個のプロセスがある";
    /// Reason.
    R_CACHE: "{size} of page cache is mapped by nobody: files can be dropped, tmpfs and memfds cannot",
        "ページキャッシュのうち {size} は誰にもマップされていない: ファイルは捨てられるが、tmpfs と memfd は捨てられない";
    /// Reason.
    R_MAYBE: "page cache counts there also where nobody maps it", "誰もマップしていないページキャッシュも数える";
    /// Reason.
    R_KERNEL: "{size} of kernel memory is charged, which no RSS counts", "RSS に含まれないカーネルメモリ {size} も計上される";
    /// Reason.
    R_ELSEWHERE: "{size} of the files and shared memory mapped here is charged to another cgroup that touched it first",
        "ここにマップされたファイル・共有メモリのうち {size} は、先に触れた別の cgroup に計上されている";
    /// Reason.
    R_ANON: "{size} of the anonymous memory is charged elsewhere: it was there before the process came into this cgroup",
        "無名メモリのうち {size} は別の cgroup に計上されている: この cgroup に移る前に獲得したもの";
    /// Arenas: heading.
    ARENAS: "glibc's malloc arenas", "glibc の malloc アリーナ";
    /// Column.
    ARENA: "ARENA", "アリーナ";
    /// Column.
    THREADS: "THREADS", "スレッド";
    /// Column.
    SYSTEM: "FROM KERNEL", "カーネルから";
    /// Column.
    IN_USE: "USED", "使用中";
    /// Column.
    FREE_COLUMN: "FREE", "空き";
    /// Column.
    BLOCKS: "BLOCKS", "空き個数";
    /// Column.
    LARGEST: "LARGEST", "最大空き";
    /// Column.
    TOP: "TOP", "末尾の残り";
    /// Column.
    FREE_RESIDENT_COLUMN: "FREE+RESIDENT", "空きで常駐";
    /// Not known.
    UNKNOWN: "unknown", "不明";
    /// Unknown with its reason.
    UNKNOWN_WHY: "unknown: {why}", "不明: {why}";
    /// Heading: runtimes.
    ASK: "Ask the runtime itself", "ランタイム自身に聞く";
    /// Title: a tree.
    TREE: "process {pid} and its descendants, processes: {n}", "プロセス {pid} とその子孫: {n} プロセス";
    /// Title: a cgroup.
    CGROUP_FAMILY: "cgroup {path}, processes: {n}", "cgroup {path}: {n} プロセス";
    /// As one.
    AS_ONE: "resident {one} as one · the sum of their RSS is {sum}, which counts shared pages several times",
        "全体で常駐 {one} · RSS の合計は {sum} (共有ページを重複して数える)";
    /// Only the sum.
    SUM_ALONE: "the sum of their RSS is {sum}, which counts shared pages several times; as one: unknown ({why})",
        "RSS の合計は {sum} (共有ページを重複して数える)。全体としての量は不明 ({why})";
    /// Why frames are not known.
    WHY_HIDDEN: "hidden: page frames are shown to root alone", "非公開: ページフレームは root だけが見られます";
    /// Why frames are not known.
    WHY_TOO_MANY: "too many pages to compare", "ページが多すぎて比較できません";
    /// Ended.
    GONE: "ended while they were read, and left out: {n}", "読み取り中に終了したため除外: {n} プロセス";
    /// Not permitted.
    HIDDEN_MEMBERS: "not permitted to read, and left out: {n}", "読み取る権限がないため除外: {n} プロセス";
    /// Column.
    RSS: "RSS", "RSS";
    /// Column.
    ALONE: "ALONE", "専有";
    /// Column.
    WITH_OTHERS: "SHARED", "共有";
    /// Heading.
    SHARED_BETWEEN: "Shared between", "共有しているプロセス";
    /// All members.
    ALL_OF_THEM: "all {n}", "全 {n} プロセス";
    /// More members.
    AND_MORE: "and {n} more", "ほか {n}";
    /// Column: the part that belongs to no file.
    SINCE_FORK: "SINCE FORK", "fork以来";
    /// Column: who maps it.
    MAPPED_BY: "MAPPED BY", "マップしているプロセス";
    /// Heading.
    COPIED: "Inherited by fork and since then", "fork で受け継いだあと";
    /// Column.
    STILL_SHARED: "STILL SHARED", "共有のまま";
    /// Column.
    COPIED_COLUMN: "COPIED", "コピー済み";
    /// Column.
    NEW_COLUMN: "NEW", "新規";
    /// Note.
    COPIED_NOTE: "COPIED: parent and child have different pages at the same address, because one of them wrote (copy-on-write), or both touched it first after the fork",
        "コピー済み: 親と子が同じアドレスに別のページを持つ。どちらかが書いた (コピーオンライト) か、fork のあとで両方が初めて触れた";
    /// Heading.
    CHARGED_TO_IT: "Charged to the cgroup", "この cgroup への計上";
    /// Row.
    SHMEM_UNMAPPED: "  of that, mapped by no process (tmpfs files, memfds)", "  そのうちどのプロセスもマップしていない (tmpfs, memfd)";
    /// More lines.
    MORE_LINES: "and {n} more (--json has all)", "ほか {n} 行 (--json ですべて表示)";
    /// After a name: the address space of another member.
    SAME_MEMORY: " (the very memory of {pid}: vfork)", " (PID {pid} と同じメモリ空間: vfork)";
    /// Arenas that were not found, with the reason.
    MISSING_ARENAS: "arenas may be missing here: {why}", "ここにないアリーナがあるかもしれません: {why}";
    /// More sets of processes than are listed anywhere.
    MORE_SETS: "and {n} more (--json has the {most} largest)", "ほか {n} 行 (--json は大きい順に {most} 行まで)";
    /// No such line.
    NO_LINE: "this process has no memory of kind '{kind}'", "このプロセスに種類が「{kind}」のメモリはありません";
}

#[cfg(test)]
mod tests {
    /// Checks that every text has both languages with the same values.
    #[test]
    fn both_languages_are_there() {
        assert_eq!(crate::lang::gaps(super::ALL), Vec::<String>::new());
    }
}
