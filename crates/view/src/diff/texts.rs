//! The words of a comparison, in both languages.

crate::texts! {
    /// How it was compared: by address, as one address space.
    BY_ADDRESS_FOUND: "compared by address: one address space (libraries and vdso are in place)",
        "アドレスで比較: 同じアドレス空間です (ライブラリや vdso の配置が同じ)";
    /// How it was compared: by the events that mapped the pages.
    BY_ORIGIN: "compared by what mapped each page, as recorded: moved and replaced pages are told",
        "各ページを割り当てたイベント (記録) で比較: 移動や置き換えも分かります";
    /// How it was compared: by file, as two runs.
    BY_FILE_FOUND: "compared by file and kind, not by address: two runs (other layouts)",
        "ファイルと種類で比較: 別々の実行です (配置が違うのでアドレスは見ません)";
    /// How it was compared: as asked.
    BY_ADDRESS_ASKED: "compared by address", "アドレスで比較";
    /// How it was compared: as asked.
    BY_FILE_ASKED: "compared by file and kind, not by address", "ファイルと種類で比較 (アドレスは見ません)";
    /// Column: what happened.
    CHANGE: "CHANGE", "変化";
    /// Only the second has it.
    ADDED: "added", "追加";
    /// Only the first has it.
    REMOVED: "removed", "削除";
    /// Allows something else.
    ALTERED: "altered", "変更";
    /// Is longer.
    GREW: "grew", "拡張";
    /// Is shorter.
    SHRANK: "shrank", "縮小";
    /// Lies elsewhere.
    MOVED: "moved", "移動";
    /// Where it was before.
    FROM: "(from {addr})", "({addr} から)";
    /// Nothing.
    SAME: "no difference in the maps", "メモリマップに違いはありません";
    /// Nothing, of what was asked for.
    SAME_OF_THESE: "no difference among what was asked for", "指定された範囲に違いはありません";
    /// Heading: VMAs whose pages came or went.
    RESIDENT_CHANGED: "resident pages of VMAs that both have, largest growth first", "両方にある領域の常駐ページの増減 (増加の大きい順)";
    /// More of them.
    MORE: "… and {n} more (--json has them all)", "… ほか {n} (すべては --json で)";
    /// Column: bytes of the first.
    SIZE_A: "SIZE A", "サイズ A";
    /// Column: bytes of the second.
    SIZE_B: "SIZE B", "サイズ B";
    /// Column: resident bytes of the first.
    RESIDENT_A: "RESIDENT A", "常駐 A";
    /// Column: resident bytes of the second.
    RESIDENT_B: "RESIDENT B", "常駐 B";
    /// Column: the difference.
    DIFFERENCE: "B - A", "B - A";
}

#[cfg(test)]
mod tests {
    /// Checks that every text has both languages with the same values.
    #[test]
    fn both_languages_are_there() {
        assert_eq!(crate::lang::gaps(super::ALL), Vec::<String>::new());
    }
}
