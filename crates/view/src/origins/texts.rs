//! The words of `origins`, in both languages.

crate::texts! {
    /// Heading: mapped now.
    MAPPED: "MAPPED", "マップ中";
    /// Heading: asked for.
    ASKED: "ASKED FOR", "要求";
    /// Heading: touched.
    TOUCHED: "TOUCHED", "アクセス済";
    /// Heading: resident.
    RESIDENT: "RESIDENT", "常駐";
    /// Heading: faults.
    FAULTS: "FAULTS", "フォールト";
    /// Heading: calls.
    CALLS: "CALLS", "呼び出し";
    /// Heading: VMAs.
    VMAS: "VMAS", "領域数";
    /// Heading: who asked.
    WHO: "WHO ASKED", "呼び出し元";
    /// A call without a stack.
    BY_CALL: "{call} of process {pid}", "プロセス {pid} の {call}";
    /// Origin: the start of a program.
    BY_EXEC: "the start of the program (the kernel)", "プログラムの開始 (カーネル)";
    /// Origin: there before attach.
    BEFORE: "before attach: mapped before we looked", "アタッチ前: 観測を始める前にマップされたもの";
    /// Origin: a copy.
    BY_FORK: "the fork: copied from the parent", "fork: 親プロセスからの複製";
    /// Origin: no call that was seen.
    FOUND: "no call: found when the map was read (a stack that grew, the kernel)", "呼び出しなし: メモリマップの読み取りで見つかったもの (伸びたスタック、カーネルなど)";
    /// Origin: not known.
    UNKNOWN: "not known: a part of the recording is missing", "不明: 記録の一部が欠けています";
    /// A stack that the recording has not.
    NO_STACK: "a call stack that the recording does not hold (number {id})", "記録に含まれていないコールスタック (番号 {id})";
    /// Frames left out.
    MORE_FRAMES: "… {n} more frames", "… ほかに {n} フレーム";
    /// Rows left out.
    MORE_ROWS: "… {n} more call sites: {size} mapped (--top 0 shows all)", "… ほかに {n} 箇所: マップ中 {size} (--top 0 ですべて表示)";
    /// Last line of the table.
    TOTAL: "total of {n} call sites", "合計 ({n} 箇所)";
    /// Nobody recorded stacks.
    NO_STACKS: "No call stacks were recorded: 'vmatlas run --stacks -o REC' (or 'attach --stacks') tells which code asked.", "コールスタックは記録されていません。'vmatlas run --stacks -o REC' (または 'attach --stacks') で記録すると、どのコードが要求したか分かります。";
    /// Nobody recorded faults.
    NO_FAULTS: "No page faults were recorded: with --faults the recording tells who touched the memory.", "ページフォールトは記録されていません。--faults を付けて記録すると、メモリに触れたのは誰か分かります。";
    /// What a fault is.
    FAULTS_ARE_NOT_PAGES: "A fault is not a page: for one the kernel may map 16 pages of a file or a huge page, and pages filled in advance cause none.", "フォールト数はページ数ではありません。1 回のフォールトでファイルの 16 ページやヒュージページがマップされることがあり、先に読み込まれたページではフォールトは起きません。";
    /// No pages were read.
    NO_PAGES: "Resident sizes are not known at this moment: 'run --pages', 'attach --pages' and 'watch' record them, at some moments.", "この時点の常駐サイズは分かりません ('run --pages'、'attach --pages'、'watch' がいくつかの時点で記録します)。";
    /// No calls were seen.
    NOT_RECORDED: "The kernel does not remember who asked. From now on: 'vmatlas attach PID --stacks -o REC'.", "誰が要求したかをカーネルは覚えていません。これから記録するには: 'vmatlas attach PID --stacks -o REC'";
}
