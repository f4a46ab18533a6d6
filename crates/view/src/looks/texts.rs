//! The words about looks at a process that nobody traced, in both languages.

crate::texts! {
    /// Column: when.
    TIME: "TIME", "時刻";
    /// Column: how many VMAs.
    VMAS: "VMAS", "領域";
    /// Column: what is resident.
    RESIDENT: "RESIDENT", "常駐";
    /// Column: how much more is resident.
    CHANGE: "CHANGE", "増減";
    /// Column: what was mapped since.
    MAPPED: "MAPPED", "マップ";
    /// Column: what was unmapped since.
    UNMAPPED: "UNMAPPED", "アンマップ";
    /// Column: the rest.
    MORE: "MORE", "その他";
    /// What allows something else now.
    ALTERED: "{size} altered", "属性の変化 {size}";
    /// What grew most.
    MOST: "{size} {name}", "{size} {name}";
    /// Looks that were left out.
    LATE: "{n} left out before", "直前の {n} 回は間に合わず省略";
    /// The first look.
    FIRST: "first look", "最初の観測";
    /// The first look at another program.
    EXECUTED: "another program was executed", "別のプログラムが実行されました";
    /// The end of the process.
    ENDED: "the process has ended; how is not known", "プロセスが終了しました (終了ステータスは不明)";
    /// Info: how many looks.
    LOOKS: "{n} looks, one every {interval} s, {late} left out; what happened between them was not seen",
        "観測 {n} 回 ({interval} 秒ごと, 省略 {late} 回)。観測と観測の間に起きたことは見えていません";
    /// Info: the same where the interval is not known.
    LOOKS_ALONE: "{n} looks, {late} left out; what happened between them was not seen",
        "観測 {n} 回 (省略 {late} 回)。観測と観測の間に起きたことは見えていません";
    /// Info: where some are damaged.
    LOOKS_LEFT: "{n} looks can be read, the others are damaged; what happened between them was not seen",
        "読めた観測は {n} 回, ほかは破損しています。観測と観測の間に起きたことは見えていません";
    /// Info: resident sizes.
    SIZES: "resident {first} at first, {last} at last, most {peak} (at {time})", "常駐: 最初 {first}, 最後 {last}, 最大 {peak} ({time} の観測)";
    /// Info: resident sizes that are not known.
    NO_SIZES: "resident sizes are not known", "常駐サイズは不明です";
    /// Info: what it cost.
    COST: "watching took {cpu} s of CPU time ({percent} % of one CPU); the longest single call took {hold} ms",
        "観測に使った CPU 時間 {cpu} 秒 (1 CPU の {percent} %)。1 回の呼び出しの最長は {hold} ミリ秒";
    /// A moment that is a look.
    AT_LOOK: "recording {path}: the look at {time} (event {seq})", "記録 {path}: {time} の観測 (イベント {seq})";
    /// A moment between looks.
    BETWEEN: "recording {path} at {asked}: the map is that of the look at {time} (event {seq}); what changed after it was not seen",
        "記録 {path} の {asked} の時点: メモリマップは {time} の観測 (イベント {seq}) のものです。その後の変化は見えていません";
    /// Where pages are known, with a look on both sides.
    PAGES_BOTH: "which pages are resident is known at looks only: {before} or {after}", "常駐ページが分かるのは観測の時点だけです: {before} か {after}";
    /// Where pages are known, after the last look.
    PAGES_BEFORE: "which pages are resident is known at looks only, the last of which is {before}", "常駐ページが分かるのは観測の時点だけです (最後の観測: {before})";
    /// An origin: the look that found it first, with the look that did not.
    SEEN: "first seen at {time}, not yet at {before}; no call was watched", "{time} の観測で初めて見つかりました ({before} の観測にはありません)。呼び出しは記録していません";
    /// A change that a look found.
    SEEN_CHANGED: "seen at {time}, between that look and the one at {before}", "{before} の観測から {time} の観測までの間の変化";
    /// An origin: there at the first look.
    THERE: "there at the first look, at {time}: mapped before, no call was watched", "{time} の最初の観測ですでにありました (それ以前にマップ)。呼び出しは記録していません";
    /// An event of a look.
    LOOKED: "look", "観測";
}

#[cfg(test)]
mod tests {
    /// Checks that every text has both languages with the same values.
    #[test]
    fn both_languages_are_there() {
        assert_eq!(crate::gaps(super::ALL), Vec::<String>::new());
    }
}
