//! The words for pages, in both languages.

crate::texts! {
    /// Column: how many pages.
    PAGES: "PAGES", "ページ";
    /// Column: what the pages are.
    WHAT: "WHAT", "内容";
    /// Column: by how many page tables.
    MAPPED_BY: "MAPPED BY", "マップ数";
    /// Column: frames.
    FRAMES: "FRAMES", "フレーム";
    /// Column: flags.
    FLAGS: "FLAGS", "フラグ";
    /// Column: runs.
    RUNS: "RUNS", "区間";
    /// Column: pages mapped here alone.
    ALONE_SUM: "ALONE", "単独";
    /// Column: pages mapped by others too.
    SHARED_SUM: "SHARED", "共有";
    /// State.
    ANONYMOUS: "anonymous", "無名";
    /// State.
    FILE: "file", "ファイル";
    /// State: of a shared object without a file that others could open.
    SHARED_MEMORY: "shared memory", "共有メモリ";
    /// State: provided by the kernel.
    KERNEL: "kernel's own", "カーネル提供";
    /// State.
    HUGETLB: "hugetlb", "hugetlb";
    /// State.
    ZERO: "zero page", "ゼロページ";
    /// State.
    SWAPPED: "swapped", "スワップ";
    /// State.
    GUARD: "guard", "ガード";
    /// State.
    NOT_PRESENT: "not present", "物理ページなし";
    /// A state of huge pages.
    HUGE: "{what}, huge", "{what} (ヒュージ)";
    /// Mapped here and nowhere else.
    ALONE: "alone", "単独";
    /// Mapped by others too.
    SHARED: "shared", "共有";
    /// Nobody tells.
    UNKNOWN: "unknown", "不明";
    /// The frame number may not be known.
    HIDDEN: "hidden", "非公開";
    /// Several runs of frames.
    FRAME_RUNS: "{n} runs", "{n} 区間";
    /// The first of several runs of frames.
    FRAME_RUNS_FROM: "{first} … {n} runs", "{first} … {n} 区間";
    /// Below the table: what the limit left out.
    LEFT_OUT: "{n} more runs ({pages} pages) are not shown, but counted: --limit {most}",
        "ほか {n} 区間 ({pages} ページ) は表示していません (合計には含まれます): --limit {most}";
    /// Below the totals: frames are hidden.
    FRAMES_HIDDEN: "Frame numbers, map counts and flags are hidden: the kernel tells them to root only (CAP_SYS_ADMIN). \"alone\" and \"shared\" are known without them, except of huge pages.",
        "フレーム番号・マップ数・フラグは非公開です: カーネルは root (CAP_SYS_ADMIN) にしか教えません。「単独」「共有」はそれがなくても分かります (ヒュージページを除く)。";
    /// Below the totals: what parentheses mean.
    SOME_FLAGS: "(flag): some of the run's pages", "(フラグ): 区間の一部のページだけ";
    /// The process ended meanwhile.
    INCOMPLETE: "The process ended, or ran another program, while its pages were read: what stands here is a part.",
        "ページの読み取り中にプロセスが終了したか、別のプログラムを実行しました。ここにあるのは途中までです。";
    /// Title of the picture.
    PICTURE_TITLE: "Pages of {name} (PID {pid}) and their frames", "{name} (PID {pid}) のページとページフレーム";
    /// Picture: frames that others map too.
    SHARED_WITH: "{n} mappings", "{n} か所でマップ";
    /// Picture: a run of pages.
    RUN_PAGES: "{n} pages", "{n} ページ";
    /// Picture: one page.
    ONE_PAGE: "1 page", "1 ページ";
    /// Picture: what is not drawn of a VMA.
    MORE: "… {n} more pages", "… ほか {n} ページ";
    /// Picture: VMAs that are not drawn.
    MORE_VMAS: "… and {n} smaller VMAs, {pages} pages present", "… ほか小さい {n} 領域 (物理メモリに {pages} ページ)";
    /// Picture: nothing of a VMA is present.
    NOTHING: "nothing in physical memory", "物理メモリなし";
    /// Picture: how much of a VMA is present.
    PRESENT_OF: "{n} of {all} pages present", "{all} ページ中 {n} ページ常駐";
    /// Picture: frames that are hidden.
    HIDDEN_FRAMES: "{n} pages somewhere in physical memory", "物理メモリのどこかに {n} ページ";
    /// Picture: why.
    HIDDEN_WHY: "where: hidden (only root is told)", "場所: 非公開 (root のみ)";
    /// Picture: pages of this process alone.
    LEGEND_ALONE: "mapped here alone", "このプロセスだけがマップ";
    /// Picture: pages that others map too.
    LEGEND_SHARED: "mapped by others too", "ほかでもマップ (共有)";
    /// Picture: frames that are not of these pages.
    LEGEND_FOLDED: "other frames are folded; nothing here is to scale", "ほかのフレームは畳んで表示。大きさは比例しません";
    /// Picture: frames between.
    OTHER_FRAMES: "{size} of other frames", "ほかのフレーム {size}";
}

#[cfg(test)]
mod tests {
    /// Checks that every text has both languages with the same values.
    #[test]
    fn both_languages_are_there() {
        let gaps = crate::lang::gaps(super::ALL);
        // The kernel's own word has no translation.
        assert_eq!(
            gaps.iter().filter(|gap| !gap.contains("HUGETLB")).collect::<Vec<_>>(),
            Vec::<&String>::new()
        );
    }
}
