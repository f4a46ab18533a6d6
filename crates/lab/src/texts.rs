//! The words that experiments share, in both languages.

vmatlas_view::texts! {
    /// Yes.
    YES: "yes", "はい";
    /// No.
    NO: "no", "いいえ";
    /// One page.
    ONE_PAGE: "1 page", "1 ページ";
    /// Several pages.
    PAGES: "{n} pages", "{n} ページ";
    /// A lower bound.
    AT_LEAST: "at least {low}", "{low} 以上";
    /// Two bounds.
    BETWEEN: "{low} to {high}", "{low}〜{high}";
    /// A prediction that cannot be made.
    UNKNOWN: "unknown", "不明";
    /// A measurement that was not made.
    NOT_READ: "not read", "未測定";
    /// Why calls were not traced.
    UNTRACED: "tracing is not permitted here ({why}); another tracer, such as strace or gdb, may have us already",
        "ここではトレースできません ({why})。strace や gdb など別のトレーサーが付いている可能性があります";
    /// The fact whose map our tracer did not take.
    NEEDS_TRACER: "only our own tracer can tell", "自前のトレーサーでしか分かりません";
    /// Heading: the question.
    QUESTION: "Question", "問い";
    /// Heading: what to expect.
    EXPECT: "What to expect, and why", "予想と、その理由";
    /// Heading: facts.
    FACTS: "Predicted and measured", "予測と実測";
    /// Heading: practice.
    PRACTICE: "What it means in practice", "実際のシステムでは";
    /// Heading: next.
    NEXT: "What to try next", "次に試すこと";
    /// Heading: the picture.
    PICTURE: "The picture", "図";
    /// Heading: the program.
    PROGRAM: "The same by hand, in C", "同じ実験を C で";
    /// Where the subject is.
    SUBJECT: "The experiment happens in a process of its own, its subject: PID {pid}. Look at it from another terminal:",
        "実験は専用のプロセス (PID {pid}) の中で行います。別の端末から観察できます:";
    /// Column of facts.
    FACT: "FACT", "項目";
    /// Column of facts.
    PREDICTED: "PREDICTED", "予測";
    /// Column of facts.
    MEASURED: "MEASURED", "実測";
    /// Below the facts: all hold.
    ALL_HOLD: "All {n} facts hold.", "{n} 項目すべて予測と一致しました。";
    /// Below the facts: some were not measured.
    SOME_UNTOLD: "{n} facts hold; {open} could not be compared.",
        "{n} 項目が予測と一致しました。{open} 項目は比較できませんでした。";
    /// Below the facts: some do not hold.
    SOME_FAIL: "{bad} of {n} facts do NOT hold on this machine.", "{n} 項目のうち {bad} 項目が予測と一致しませんでした。";
    /// Why a fact has no prediction or measurement.
    BECAUSE: "{id}: {why}", "{id}: {why}";
    /// A map's rows that are not shown.
    MORE_ROWS: "… {n} more", "… 他 {n} 行";
    /// Title of a map.
    MAP_BEFORE: "The map before", "呼び出し前のメモリマップ";
    /// Title of a map.
    MAP_AFTER: "The map after", "呼び出し後のメモリマップ";
    /// A mark in a map.
    MARK_NEW: "new", "新規";
    /// A mark in a map.
    MARK_GREW: "+{size}", "+{size}";
    /// A mark in a map.
    MARK_SHRANK: "-{size}", "-{size}";
    /// A mark in a map.
    MARK_ALTERED: "altered", "変更";
    /// A mark in a map.
    MARK_SPLIT: "split", "分割";
    /// A mark in a map.
    MARK_MERGED: "merged", "結合";
    /// A mark in a map.
    MARK_GONE: "gone", "消滅";
    /// Both maps are equal.
    NO_DIFFERENCE: "No page of the map is different.", "メモリマップに変化はありません。";
    /// Column of a sum.
    CALL: "CALL", "システムコール";
    /// Column of sizes.
    BEFORE: "BEFORE", "前";
    /// Column of sizes.
    AFTER: "AFTER", "後";
    /// Column of sizes.
    DIFFERENCE: "DIFFERENCE", "差";
    /// A size.
    VIRTUAL_SIZE: "virtual size", "仮想メモリサイズ";
    /// A size.
    RESIDENT_SIZE: "resident size", "常駐サイズ";
    /// A size.
    REQUESTED: "requested", "要求したサイズ";
    /// A size.
    MAPPED: "mapped", "マップされたサイズ";
    /// A size.
    HUGETLB_SIZE: "huge pages (not in RSS)", "ヒュージページ (RSS 外)";
    /// Column of samples.
    TOUCHED: "TOUCHED", "触れた量";
    /// Column of samples.
    VIRTUAL: "VIRTUAL", "仮想";
    /// Column of samples.
    RESIDENT: "RESIDENT", "常駐";
    /// Column of samples.
    FAULTS: "MINOR FAULTS", "マイナーフォールト";
    /// Result line.
    RETURNED: "returned", "戻り値";
    /// The steps' heading.
    STEP: "Step {n}: {title}", "手順 {n}: {title}";
    /// Fact: the number of calls.
    FACT_ONE_CALL: "exactly one memory call happened between the two maps", "2 つのメモリマップの間に起きたメモリ関連のシステムコールはちょうど 1 回";
    /// Fact: the map and the model.
    FACT_MODEL: "the map our model made from the calls alone equals /proc/PID/maps, page by page",
        "システムコールの列だけから組み立てたモデルが /proc/PID/maps とページ単位で一致する";
    /// Fact: nothing else.
    FACT_NOTHING_ELSE: "no other page of the map is different", "メモリマップのほかの部分に変化はない";
    /// Fact: virtual size.
    FACT_VIRTUAL: "the virtual size grew by exactly the mapped bytes", "仮想メモリサイズはマップされたサイズだけ増える";
    /// Why residency may be off.
    ZERO_COUNTED: "this kernel cannot tell the shared zero page apart, so resident sizes may hold it",
        "このカーネルではゼロページを区別できないため、常駐サイズに含まれる可能性があります";
    /// List heading.
    LIST: "Experiments (vmatlas lab NAME):", "実験の一覧 (vmatlas lab 名前):";
    /// Before touching more than there is.
    TOUCH_WARNING: "touching {want} needs that much physical memory; {have} are available",
        "{want} に触れるにはそれだけの物理メモリが必要です (利用可能: {have})";
    /// Why there is no experiment.
    CANNOT_START: "the subject of the experiment cannot be started: {why}", "実験用のプロセスを起動できません: {why}";
    /// Why there is no experiment.
    SUBJECT_EXITED: "the subject of the experiment ended unexpectedly with status {status}",
        "実験用のプロセスが終了ステータス {status} で予期せず終了しました";
    /// Why there is no experiment.
    SUBJECT_KILLED: "the subject of the experiment was ended by {signal}", "実験用のプロセスが {signal} で終了しました";
    /// Why there is no experiment.
    SUBJECT_GONE: "the subject of the experiment is gone", "実験用のプロセスがなくなりました";
    /// Why there is no experiment.
    NOT_OBTAINED: "{size} could not be obtained: {why}", "{size} を獲得できませんでした: {why}";
    /// Why there is no experiment.
    CANNOT_OPEN: "cannot open {path}: {why}", "{path} を開けません: {why}";
    /// Why there is no experiment.
    CANNOT_READ: "the subject of the experiment cannot be read: {why}", "実験用のプロセスを読み取れません: {why}";
    /// What an experiment shows more with.
    NEEDS_ROOT: "root, for page frame numbers", "root 権限 (ページフレーム番号)";
    /// What an experiment shows more with.
    NEEDS_HUGE_PAGES: "huge pages set aside", "確保済みのヒュージページ";
    /// What an experiment shows more with.
    NEEDS_SWAP: "swap", "スワップ";
    /// What is missing here.
    NOT_MET: "this experiment shows more with {what}, which is missing here", "ここには「{what}」がないので、一部を省きます";
    /// Why frames cannot be compared.
    FRAMES_HIDDEN: "page frame numbers are shown to root only", "ページフレーム番号は root にしか表示されません";
    /// Why a setting is not known.
    SETTING_UNREAD: "{path} cannot be read", "{path} を読み取れません";
    /// What a child did.
    CHILD_DID: "child {pid}: {what}", "子プロセス {pid}: {what}";
    /// A chapter.
    CHAPTER_OBTAINING: "Obtaining memory", "メモリを獲得する";
    /// A chapter.
    CHAPTER_ARRIVING: "When memory comes", "物理メモリが割り当てられるとき";
    /// A chapter.
    CHAPTER_LAYOUT: "What a map is made of", "メモリマップの成り立ち";
    /// A chapter.
    CHAPTER_FILES: "Files and sharing", "ファイルと共有";
    /// A chapter.
    CHAPTER_PROCESSES: "Processes", "プロセス";
    /// A chapter.
    CHAPTER_MACHINE: "The machine", "マシン全体";
    /// Column of the list.
    LIST_NAME: "NAME", "名前";
    /// Column of the list.
    LIST_WHAT: "WHAT IT SHOWS", "内容";
    /// Below the list.
    LIST_NEXT: "'vmatlas lab NAME' runs one, '--all' runs all; 'vmatlas lab NAME --help' lists what you can change.",
        "'vmatlas lab 名前' で 1 つ、'--all' で全部を実行します。変えられる値は 'vmatlas lab 名前 --help' で分かります。";
    /// In the list: shows more with.
    LIST_MORE_WITH: "more with: {what}", "さらに詳しく見るには: {what}";
    /// Heading: parameters.
    PARAMS: "What you can change", "変えられる値";
    /// The usual value, behind the meaning of a parameter.
    USUAL: " [usually {value}]", " [通常は {value}]";
    /// Heading: quiz.
    QUIZ: "Quiz", "クイズ";
    /// A question.
    QUIZ_QUESTION: "Question {n}: {text}", "問 {n}: {text}";
    /// The answer.
    QUIZ_ANSWER: "Answer: {answer} (measured just now)", "答え: {answer} (いま実測した値)";
    /// A right answer.
    QUIZ_RIGHT: "Right.", "正解です。";
    /// A wrong answer.
    QUIZ_WRONG: "Not quite.", "残念、違います。";
    /// A question that this run cannot answer.
    QUIZ_OPEN: "This run could not measure the answer (see the facts above).", "今回の実行では答えを測れませんでした (上の項目を参照)。";
    /// How to answer.
    HINT_YES: "yes or no", "はい / いいえ";
    /// How to answer.
    HINT_SIZE: "a size, such as 8KiB", "サイズ、たとえば 8KiB";
    /// How to answer.
    HINT_NUMBER: "a number", "数";
    /// How to answer.
    HINT_WORD: "a word", "名前や語句";
    /// Column of the sum of all.
    FACTS_COLUMN: "FACTS", "項目数";
    /// Column of the sum of all.
    HELD: "HOLD", "一致";
    /// Column of the sum of all.
    OPEN: "OPEN", "比較不可";
    /// An experiment that could not be made.
    NOT_MADE: "not made: {why}", "実行できませんでした: {why}";
    /// Heading of the sum of all.
    SUM_OF_ALL: "All experiments", "すべての実験";
    /// Where a handout was made.
    MADE_ON: "Made by vmatlas lab {name} on Linux {kernel}.", "vmatlas lab {name} が Linux {kernel} で作成しました。";
    /// Why the limit makes it unknown.
    LIMITED: "a limit of this process (getrlimit(2)) may refuse it", "このプロセスの資源制限 (getrlimit(2)) で拒否される可能性があります";
}

#[cfg(test)]
mod tests {
    /// Checks that every text has both languages with the same values.
    #[test]
    fn both_languages_are_there() {
        assert_eq!(vmatlas_view::gaps(super::ALL), Vec::<String>::new());
    }
}
