//! The words of this experiment, in both languages.

vmatlas_view::texts! {
    /// Step.
    STEP_BEFORE: "where the break is", "ブレークの位置";
    /// Step.
    BEFORE_NOTE: "The program break, the end of the heap, is at {addr}. brk(0) only asks and changes nothing.",
        "プログラムブレーク (ヒープの終端) は {addr} にあります。brk(0) は尋ねるだけで何も変えません。";
    /// Step.
    STEP_GROW: "132 KiB more", "132 KiB 増やす";
    /// Step.
    STEP_BYTE: "one byte more", "さらに 1 バイト増やす";
    /// Step.
    BYTE_NOTE: "The break now ends inside a page, and the whole page belongs to the heap.", "ブレークはページの途中にありますが、そのページ全体がヒープになりました。";
    /// Step.
    STEP_SECOND_BYTE: "another byte", "もう 1 バイト増やす";
    /// Step.
    SECOND_NOTE: "It lies in the page that is there already: the map stays as it is.", "すでにあるページの中なので、メモリマップは変わりません。";
    /// Step.
    STEP_BACK: "back to the start", "最初の位置に戻す";
    /// Argument.
    ARG_ADDR: "the new end of the heap", "ヒープの新しい終端";
    /// Result.
    MEANS_BREAK: "the break; brk never returns an error, but the old break when it is refused",
        "現在のブレーク (brk はエラーを返さず、拒まれたときは元のブレークを返す)";
    /// Fact.
    FACT_GREW: "the heap grew by exactly 132 KiB", "ヒープはちょうど 132 KiB 増える";
    /// Fact.
    FACT_BYTE: "one byte takes a whole page", "1 バイトで 1 ページ増える";
    /// Fact.
    FACT_SECOND: "the next byte changes nothing", "次の 1 バイトでは何も変わらない";
    /// Fact.
    FACT_BACK: "going back leaves the map as it was", "戻すとメモリマップは元どおり";
    /// Fact.
    FACT_LABEL: "the kernel labels what grew [heap]", "増えた部分をカーネルは [heap] と呼ぶ";
    /// Fact.
    FACT_CALLS: "each step was exactly one memory call", "どの手順もメモリ関連のシステムコールはちょうど 1 回";
}

#[cfg(test)]
mod tests {
    /// Checks that every text has both languages with the same values.
    #[test]
    fn both_languages_are_there() {
        assert_eq!(vmatlas_view::gaps(super::ALL), Vec::<String>::new());
    }
}
