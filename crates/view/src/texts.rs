//! The words of the views, in both languages.

crate::texts! {
    /// Column: addresses.
    ADDRESS: "ADDRESS", "アドレス";
    /// Column: size.
    SIZE: "SIZE", "サイズ";
    /// Column: resident size.
    RESIDENT: "RESIDENT", "常駐";
    /// Column: swapped size.
    SWAPPED: "SWAPPED", "スワップ";
    /// Column: protection.
    PROT: "PROT", "保護";
    /// Column: kind.
    KIND: "KIND", "種類";
    /// Column: name.
    NAME: "NAME", "名前";
    /// Column: how the kind is known.
    WHY: "WHY THIS KIND", "種類の根拠";
    /// Column: count of VMAs.
    COUNT: "COUNT", "個数";
    /// Column: calls.
    CALLS: "CALLS", "回数";
    /// Column: failed calls.
    FAILED: "FAILED", "失敗";
    /// Column: bytes mapped.
    MAPPED: "MAPPED", "マップ";
    /// Column: bytes unmapped.
    UNMAPPED: "UNMAPPED", "マップ解除";
    /// Row: sums.
    TOTAL: "total", "合計";
    /// A gap between VMAs.
    GAP: "{size} unallocated", "未割当 {size}";
    /// Header: process.
    PROCESS: "{name} (PID {pid})", "{name} (PID {pid})";
    /// Header: VMAs out of the limit.
    VMAS_OF: "{n} of {max} VMAs", "領域 {n} / 上限 {max}";
    /// Header: VMAs without a known limit.
    VMAS: "{n} VMAs", "領域 {n}";
    /// Header: virtual size.
    VIRTUAL: "virtual {size}", "仮想 {size}";
    /// Header: resident size.
    RESIDENT_SIZE: "resident {size}", "常駐 {size}";
    /// Header: swapped size.
    SWAPPED_SIZE: "swapped {size}", "スワップ {size}";
    /// Header: hugetlb, which RSS does not count.
    HUGETLB_SIZE: "huge pages outside of RSS {size}", "RSS に含まれないヒュージページ {size}";
    /// Header: threads.
    THREADS: "{n} threads", "スレッド {n}";
    /// Header: the first thread has ended.
    LEADER_ENDED: "its first thread has ended; the others run on", "最初のスレッドは終了し、ほかのスレッドが動いています";
    /// Rows were filtered.
    SHOWN: "{n} of {all} VMAs shown", "{all} 領域のうち {n} を表示";
    /// The map changed while it was read.
    TORN: "the map changed while it was read: each line is true at its own instant, {n} overlapped earlier ones and are shown in their place",
        "読み取り中にメモリマップが変わりました: 各行はそれぞれの時点で正しく、前の行と重なった {n} 行はあとの行を表示しています";
    /// What a reading cost: the last line.
    COST: "read in {time}, longest hold {hold}, {how}", "読み取り {time}、最長の占有 {hold}、{how}";
    /// The same without pages.
    COST_OF_MAP: "read in {time}", "読み取り {time}";
    /// Residency by the older interface.
    ZERO_PAGES_COUNTED: "entries of pagemap cannot tell the shared zero page apart: resident sizes may be too large",
        "pagemap のエントリーではゼロページを見分けられないため、常駐サイズは大きめに出ることがあります";
    /// What a change did: nothing.
    NO_CHANGE: "no change", "変化なし";
    /// What a change did: a VMA became larger.
    GREW: "grew {what} by {size}", "{what} が {size} 拡張";
    /// What a change did: a VMA became smaller.
    SHRANK: "shrank {what} by {size}", "{what} が {size} 縮小";
    /// What a change did: one VMA became several.
    SPLIT: "split {from} into {to}", "{from} 領域が {to} 領域に分割";
    /// What a change did: several VMAs became one.
    MERGED: "merged {from} into {to}", "{from} 領域が {to} 領域に結合";
    /// What a change did: pages got another address.
    MOVED: "moved {size} {from} to {to}", "{size} を {from} から {to} へ移動";
    /// What a change did: the whole map.
    NEW_MAP: "a new map: {n} VMAs, {size}", "新しいメモリマップ: {n} 領域, {size}";
    /// What a change did: only flags or labels that the map does not show.
    FLAGS_ONLY: "no page changed", "ページの変化なし";
    /// The kernel could not be asked.
    UNCONFIRMED: "(not confirmed: the task ended)", "(未確認: タスクが終了)";
    /// The same where nobody was held for an answer.
    NOT_HELD: "(not confirmed: the program went on)", "(未確認: プログラムはすでに先へ進んでいた)";
    /// Anonymous memory.
    ANONYMOUS: "anonymous", "無名";
    /// Shared anonymous memory.
    SHARED_ANONYMOUS: "shared anonymous", "共有無名";
    /// A process was forked.
    FORKED: "process {pid}: a copy of the map", "プロセス {pid}: メモリマップの複製";
    /// A process that shares the map.
    FORKED_SHARED: "process {pid}: shares this map", "プロセス {pid}: このメモリマップを共有";
    /// A thread.
    THREAD: "thread {tid}: shares this map", "スレッド {tid}: このメモリマップを共有";
    /// The end of a task.
    EXITED: "exited with {status}", "終了ステータス {status} で終了";
    /// The end by a signal.
    SIGNALED: "ended by {signal}", "{signal} により終了";
    /// The end of a task that had no say: its process executed another program.
    SUPERSEDED: "ended by an exec of its process", "同じプロセスの exec により終了";
    /// The last task left: the map is gone.
    MAP_GONE: "its map is gone: {n} VMAs, {size}", "メモリマップ消滅: {n} 領域, {size}";
    /// Summary heading.
    SUMMARY: "memory calls of {program}", "{program} のメモリ関連システムコール";
    /// Summary: the largest.
    LARGEST: "largest", "大きい順";
    /// Summary: peak.
    PEAK: "peak virtual size of one process: {size}", "1 プロセスの仮想メモリサイズの最大値: {size}";
    /// Summary: processes.
    TREE: "processes: {processes}, further threads: {threads}, programs executed: {execs}",
        "プロセス {processes}, 追加スレッド {threads}, 実行したプログラム {execs}";
    /// Summary: how well the model and the kernel agreed.
    AGREEMENT: "model and kernel: {calls} calls, {asked} asked about, {snapshots} snapshots, {observed} observed changes, {conflicts} conflicts, {drift} drift",
        "モデルとカーネル: 呼び出し {calls}, 問い合わせ {asked}, スナップショット {snapshots}, 観測された変化 {observed}, 競合 {conflicts}, 食い違い {drift}";
    /// Summary, the end of the line before: changes by others.
    OTHERS: ", {n} other changes", ", その他の変更 {n}";
    /// Summary: processes of which nothing is known.
    UNTRACKED: "processes not watched, because too many were at once: {n}; nothing is known of what they did",
        "同時に監視できるプロセス数の上限を超えたため、{n} 個のプロセスは監視していません (何をしたかは不明です)";
    /// Summary: filters that refuse calls.
    FILTERED: "the program installed {n} seccomp filters of its own: memory calls they refuse are not seen (nor made)",
        "プログラム自身が seccomp フィルターを {n} 個インストールしました: 拒否されたメモリ関連の呼び出しは見えません (実行もされません)";
    /// Summary: filters that can hide calls.
    SUPERVISED: "the program installed {n} seccomp filters of its own, with a supervisor: memory calls it lets run may be missing here",
        "プログラム自身が監視プロセス付きの seccomp フィルターをインストールしました (フィルター {n} 個): 監視プロセスが許可した呼び出しはここに現れないことがあります";
    /// Summary: comparisons of --check.
    COMPARED: "checked: the model was compared with the kernel {n} times, {differences} differences",
        "検査: モデルとカーネルを {n} 回比較, 相違 {differences}";
    /// Summary: what was mapped when we came.
    BEFORE_ATTACH: "before attach", "接続前";
    /// Joining a running program.
    ATTACHING: "attached", "接続";
    /// Lost while recording.
    LOST: "{n} events lost: they could not be written in time", "イベント {n} 個を失いました: 書き込みが間に合いませんでした";
    /// Lost, and nobody knows how many.
    LOST_UNCOUNTED: "events lost, nobody knows how many", "イベントを失いました (個数は不明)";
    /// A moment named by a person.
    MARK: "mark: {name}", "マーク: {name}";
    /// Its effect.
    ATTACHED: "{n} VMAs, {size}, mapped before", "接続前から {n} 領域, {size}";
    /// A change that no call made.
    OBSERVED: "observed, without a call", "観測 (呼び出しなし)";
    /// A difference between model and kernel.
    DIFFERENT_PAGES: "the model is not the kernel's map: pages differ at {at}", "モデルがカーネルのメモリマップと違います: {at} のページ";
    /// The same, boundaries alone.
    DIFFERENT_BOUNDARIES: "the model is not the kernel's map: VMAs end elsewhere at {at}", "モデルがカーネルのメモリマップと違います: {at} の領域の境界";
    /// After which call.
    AFTER_CALL: "after {call}", "直前の呼び出し: {call}";
    /// A frame in memory of no known module.
    NO_MODULE: "{addr}, in no known file", "{addr} (既知のファイルの外)";
    /// A function that was inlined into the next one.
    INLINED: "(inlined)", "(インライン展開)";
    /// A stack that is whole has no such line.
    STACK_START: "start of the thread", "スレッドの開始";
    /// Callers are missing.
    STACK_BOUND: "... callers missing: more stack than is read (64 KiB)", "... 以下の呼び出し元は未取得: スタックの読み取り上限 (64 KiB) を超過";
    /// Callers are missing.
    STACK_DEPTH: "... callers missing: more frames than are taken (256)", "... 以下の呼び出し元は未取得: フレーム数の上限 (256) を超過";
    /// Callers are missing.
    STACK_NO_RULE: "... callers unknown: nothing tells who called this", "... 以下の呼び出し元は不明: たどる手がかりがありません";
    /// Callers are missing.
    STACK_UNREADABLE: "... callers unknown: stack memory cannot be read", "... 以下の呼び出し元は不明: スタックを読めません";
    /// Heading of rows.
    MODEL_ROWS: "model:", "モデル:";
    /// Heading of rows.
    KERNEL_ROWS: "kernel:", "カーネル:";
}

#[cfg(test)]
mod tests {
    /// Checks that every text has both languages with the same values.
    #[test]
    fn both_languages_are_there() {
        assert_eq!(crate::lang::gaps(super::ALL), Vec::<String>::new());
    }
}
