//! The words about page faults, in both languages.

crate::texts! {
    /// A fault.
    FAULT: "page fault {addr} ({kind}) by {by}", "ページフォールト {addr} ({kind}) {by}";
    /// No disk was needed.
    MINOR: "minor", "マイナー";
    /// A disk was waited for.
    MAJOR: "major", "メジャー";
    /// Which instruction.
    BY: "{ip}", "命令 {ip}";
    /// A system call touched it.
    BY_KERNEL: "the kernel", "カーネル";
    /// Nothing is known of its page.
    NO_VMA: "nothing known there", "マップ状況は不明";
    /// Heading of the sums.
    BY_ORIGIN: "page faults by what had mapped the pages", "ページフォールト (ページをマップしたもの別)";
    /// Column.
    MINOR_COLUMN: "MINOR", "マイナー";
    /// Column.
    MAJOR_COLUMN: "MAJOR", "メジャー";
    /// Column: bytes.
    ASKED: "MAPPED", "マップ";
    /// Column: number of the event.
    EVENT: "EVENT", "イベント";
    /// Column.
    MADE_BY: "MAPPED BY", "マップした呼び出し";
    /// Several events in one line.
    TIMES: "{n} x", "{n} 件";
    /// Those that have no line.
    OTHERS: "{n} others", "その他 {n} 件";
    /// The kernel did it at the start.
    EXEC: "the start of a program", "プログラムの開始";
    /// A copy.
    FORK: "a fork", "fork による複製";
    /// Nobody knows.
    UNKNOWN_MAKER: "no call that was seen", "見えた呼び出しではないもの";
    /// What a fault is not.
    NOT_A_PAGE: "a fault is not a page: one maps up to 16 pages of a file, or a huge page at once",
        "フォールトの数はページ数ではありません: 1 回で最大 16 ページやヒュージページ";
    /// What was told.
    TOLD: "page faults: {n} recorded ({minor} minor, {major} major), {lost} lost",
        "ページフォールト: 記録 {n} (マイナー {minor}, メジャー {major}), 欠落 {lost}";
    /// What the kernel counted.
    KERNEL: "the kernel itself: {handled} handled, {accounted} counted for these tasks",
        "カーネルの集計: 処理 {handled}, タスクへの計上 {accounted}";
    /// A figure that is not known.
    UNKNOWN: "unknown", "不明";
    /// Handled and no more.
    UNFINISHED: "{n} handled but not finished: they ended in a signal, or began anew",
        "処理されたが完了しなかったもの {n}: シグナルで終わったか、やり直されました";
    /// Counted, and not told.
    UNSEEN: "{n} counted that no event tells of: filled in advance (MAP_POPULATE, mlock, exec), touched by the kernel (read), or by others",
        "計上されたがイベントのないもの {n}: 事前の割り当て (MAP_POPULATE, mlock, exec)、カーネルによるアクセス (read など)、ほかのプロセスによるアクセス";
    /// The same where the kernel's touches are told.
    UNSEEN_WITH_KERNEL: "{n} counted that no event tells of: filled in advance (MAP_POPULATE, mlock, exec), or touched by others",
        "計上されたがイベントのないもの {n}: 事前の割り当て (MAP_POPULATE, mlock, exec)、ほかのプロセスによるアクセス";
    /// Of those that inherited the events.
    OF_OTHERS: "{n} of processes that are not watched", "監視していないプロセスのもの {n}";
    /// The resident size at the end, of all address spaces together.
    RESIDENT: "resident at the end: {size} ({anon} anonymous, {file} of files, {shmem} shared)",
        "終了時の常駐サイズ: {size} (無名 {anon}, ファイル {file}, 共有 {shmem})";
    /// What made it so.
    GROWN: "from exec and forks {start}; by faults {fault}, by calls {call} (populate, mlock), by the kernel {kernel}, by others {others}; given back {gone}",
        "exec と fork で {start}; フォールトで {fault}, 呼び出しで {call} (populate, mlock), カーネルで {kernel}, ほかのプロセスで {others}; 返却 {gone}";
    /// A ring that is smaller than it was to be.
    SMALL_RING: "rings of {size} per CPU, not {asked}: the kernel allows no more (kernel.perf_event_mlock_kb, ulimit -l)",
        "リングバッファーは CPU あたり {size} です ({asked} はカーネルの上限を超えます: kernel.perf_event_mlock_kb, ulimit -l)";
    /// Lost ones.
    LOST: "{n} page faults lost: their ring was full", "ページフォールト {n} 件を失いました: リングバッファーが一杯でした";
}

#[cfg(test)]
mod tests {
    /// Checks that every text has both languages with the same values.
    #[test]
    fn both_languages_are_there() {
        assert_eq!(crate::gaps(super::ALL), Vec::<String>::new());
    }
}
