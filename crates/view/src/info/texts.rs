//! The words about recordings, in both languages.

crate::texts! {
    /// Heading.
    TITLE: "recording of {program} ({how})", "{program} の記録 ({how})";
    /// The machine.
    MACHINE: "on {host}, Linux {kernel} {arch}, by vmatlas {version}", "{host}, Linux {kernel} {arch}, vmatlas {version}";
    /// When, and how long.
    WHEN: "{date}, {seconds} s", "{date}, {seconds} 秒";
    /// The exit status.
    STATUS: "exit status {status}", "終了ステータス {status}";
    /// It went on.
    LEFT: "left running", "実行を続けたまま終了";
    /// No end.
    NOT_ENDED: "not ended: its writer was killed (or is on another machine); what was flushed is here",
        "終了処理がされていません: vmatlas が強制終了されたか、別のマシンで記録中です。書き込み済みの部分は読めます";
    /// No end yet.
    BEING_RECORDED: "still being recorded; what was flushed is here", "記録中。書き込み済みの部分を表示しています";
    /// Figures.
    FIGURES: "{events} events, {keyframes} keyframes, lost {lost}, drift {drift}, {size} on disk",
        "イベント {events}, キーフレーム {keyframes}, 欠落 {lost}, 食い違い {drift}, ディスク {size}";
    /// What others than the calls changed.
    OTHERS: "{n} other changes: the map was locked for writing without a call that is told of (a stack that grows, the kernel, another process)",
        "その他の変更 {n}: 記録された呼び出し以外でマップが書き込みロックされた回数 (スタックの伸長、カーネル、他のプロセス)";
    /// Page faults.
    FAULTS: "page faults: {told} recorded, {lost} lost; the kernel itself: {handled} handled, {accounted} counted",
        "ページフォールト: 記録 {told}, 欠落 {lost}。カーネルの集計: 処理 {handled}, 計上 {accounted}";
    /// Page snapshots of a traced program.
    PAGE_SNAPSHOTS: "{n} page snapshots: which pages are resident is known then, and not between them", "ページスナップショット {n} 個: 常駐ページが分かるのはその時点だけです";
    /// A figure that was not written.
    UNKNOWN: "unknown", "不明";
    /// Heading of the tree.
    PROCESSES: "PROCESS", "プロセス";
    /// Column.
    THREADS: "THREADS", "スレッド";
    /// Column.
    CALLS: "CALLS", "呼び出し";
    /// Column.
    END: "END", "終了";
    /// Column.
    PROGRAM: "PROGRAM", "プログラム";
    /// Column.
    EVENT: "EVENT", "イベント";
    /// Column.
    COUNT: "COUNT", "件数";
    /// Column.
    FAILED: "FAILED", "失敗";
    /// A signal ended it.
    SIGNAL: "signal {signal}", "シグナル {signal}";
    /// Its end was not seen.
    NO_END: "-", "-";
    /// A mark.
    MARK: "mark {name} at {seconds} s (event {seq})", "マーク {name}: {seconds} 秒 (イベント {seq})";
    /// A damaged place.
    DAMAGE: "damaged: {what}", "破損: {what}";
}

#[cfg(test)]
mod tests {
    /// Checks that every text has both languages with the same values.
    #[test]
    fn both_languages_are_there() {
        assert_eq!(crate::gaps(super::ALL), Vec::<String>::new());
    }
}
