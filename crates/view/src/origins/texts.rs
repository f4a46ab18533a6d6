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
    BEFORE: "before attach: mapped before we looked", "接続前: 観測を始める前にマップされたもの";
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
    /// Who caused faults, below a row.
    TOUCHED_BY: "touched by ({n} faults): {who}", "アクセス元 (フォールト {n} 回): {who}";
    /// Those that have no line.
    MORE_TOUCHERS: "… {n} more that touched it ({faults} faults; --top 0 shows all)", "… アクセス元はほかに {n} 箇所 (フォールト {faults} 回、--top 0 ですべて表示)";
    /// No stack: the instruction that touched.
    BY_INSTRUCTION: "the instruction at {ip}", "命令 {ip}";
    /// The kernel touched it.
    BY_KERNEL: "the kernel, inside of a system call", "カーネル (システムコールの中)";
    /// How much of the budget of VMAs is used.
    BUDGET: "{n} of at most {limit} VMAs (vm.max_map_count): {share} %", "領域数 {n} / 上限 {limit} (vm.max_map_count): {share} %";
    /// Heading: bytes that are shared no more.
    UNSHARED: "UNSHARED", "共有解消";
    /// Heading: pages.
    PAGES: "PAGES", "ページ数";
    /// Heading: the process.
    PROCESS: "PROCESS", "プロセス";
    /// Heading: which side of the fork.
    SIDE: "SIDE", "親子";
    /// Heading: who touched the pages.
    WHO_TOUCHED: "WHO TOUCHED", "アクセス元";
    /// A side: the copy.
    CHILD: "child", "子";
    /// A side: the original.
    PARENT: "parent", "親";
    /// Rows left out.
    MORE_UNSHARED: "… {n} more: {size} (--top 0 shows all)", "… ほかに {n} 行: {size} (--top 0 ですべて表示)";
    /// The sum.
    ALL_UNSHARED: "{size} shared no more ({n} pages) after {forks} forks", "合計 {size} ({n} ページ) の共有が解消、fork {forks} 回";
    /// What is evidence.
    UNSHARED_IS: "Evidence: the page had a recorded fault before the fork, so parent and child shared it; a fault on it was recorded after the fork, and only a write faults there. The kernel then copied the page, or left it to the last one that had it.", "根拠: fork の前にフォールトが記録されたページは親子で共有されています。fork の後にそのページでフォールトが起きるのは書き込みのときだけで、カーネルはページを複製するか、最後に残ったプロセスにそのまま渡します。";
    /// What is not.
    UNSHARED_IS_NOT: "Not counted: pages without a recorded fault before the fork (filled in advance, before attach, by a huge page or around another page) and private pages of files, whose fault may be the first.", "数えていないもの: fork の前にフォールトの記録がないページ (事前の割り当て、接続前、ヒュージページや周辺ページとしてのマップ)、およびファイルのプライベートなページ (初めてのフォールトかもしれないため)。";
    /// Something is missing.
    UNSHARED_INCOMPLETE: "Events or faults were lost, or there were too many pages: there may be more.", "イベントやフォールトの一部が失われたか、ページが多すぎたため、実際にはこれより多い可能性があります。";
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
