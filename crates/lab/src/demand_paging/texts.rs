//! The words of this experiment, in both languages.

vmatlas_view::texts! {
    /// Title.
    TITLE: "demand paging: memory comes when it is touched", "デマンドページング: 触れたときに割り当てられるメモリ";
    /// Step.
    STEP_MAP: "obtaining {size}", "{size} を獲得する";
    /// Step.
    MAPPED_NOTE: "The area is at {addr}. None of it is in physical memory yet.", "領域の先頭は {addr} です。まだ物理メモリには載っていません。";
    /// Step.
    STEP_TOUCH: "touching it page by page", "1 ページずつ触れる";
    /// Step.
    TOUCH_NOTE: "One byte of each page is written, {n} pages in all.", "各ページに 1 バイトずつ書き込みます (全部で {n} ページ)。";
    /// Fact.
    FACT_RESIDENT: "resident grew by exactly what was touched", "物理メモリに載る量は触れたぶんだけ増える";
    /// Fact.
    FACT_FAULTS: "minor faults, as many as pages touched", "マイナーフォールトの回数は触れたページの数";
    /// Fact.
    FACT_VIRTUAL: "the virtual size did not change while touching", "触れている間、仮想メモリサイズは変わらない";
    /// Fact.
    FACT_BEFORE: "resident in the area before touching", "触れる前に物理メモリに載っている量";
}

#[cfg(test)]
mod tests {
    /// Checks that every text has both languages with the same values.
    #[test]
    fn both_languages_are_there() {
        assert_eq!(vmatlas_view::gaps(super::ALL), Vec::<String>::new());
    }
}
