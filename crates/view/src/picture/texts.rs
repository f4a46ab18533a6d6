//! The words in pictures, in both languages.

crate::texts! {
    /// The space a process sees.
    VIRTUAL_SPACE: "virtual address space", "仮想アドレス空間";
    /// The memory there is.
    PHYSICAL: "physical memory", "物理メモリ";
    /// The same where room is short.
    PHYSICAL_SHORT: "physical", "物理メモリ";
    /// Panel before the call.
    BEFORE: "before mmap", "mmap 呼び出し前";
    /// Panel after the call.
    AFTER_CALL: "after mmap", "mmap 呼び出し後";
    /// Panel after touching.
    AFTER_TOUCH: "after touching {n} pages", "{n} ページに触れた後";
    /// Panel after touching one page.
    AFTER_TOUCH_ONE: "after touching one page", "1 ページに触れた後";
    /// The new area.
    NEW: "obtained by mmap", "mmapで獲得した領域";
    /// Addresses that nothing is mapped at.
    UNALLOCATED: "unallocated", "未割当";
    /// The program's own file and data.
    PROGRAM: "program", "プログラム";
    /// The heap.
    HEAP: "heap", "ヒープ";
    /// Shared libraries.
    LIBRARIES: "libraries", "ライブラリ";
    /// The stack.
    STACK: "stack", "スタック";
    /// What the kernel provides.
    KERNEL: "vdso", "カーネル (vdso)";
    /// Other mappings.
    OTHER: "other", "その他";
    /// How much of a part is in physical memory.
    RESIDENT: "resident {size}", "常駐 {size}";
    /// Nothing of a part is in physical memory.
    NOTHING_RESIDENT: "nothing resident", "物理メモリなし";
    /// One page.
    PAGE: "page {n}", "ページ {n}";
    /// Pages that have no frame.
    UNTOUCHED: "… {n} untouched", "… {n} は未使用";
    /// Pages that have a frame but are not drawn.
    MORE_PAGES: "… {n} more pages", "… 他 {n} ページ";
    /// The frame number may not be known.
    HIDDEN: "hidden", "非公開";
    /// The frames' places are hidden.
    WHERE_HIDDEN: "where: hidden", "場所: 非公開";
    /// Pages in physical memory.
    PAGES_RESIDENT: "{n} pages resident", "{n} ページ常駐";
    /// Under the first panel.
    BEFORE_NOTE: "What the kernel, the loader and the runtime gave the process. Only a part of it is in physical memory.",
        "カーネル・ローダー・ランタイムがプロセスに用意した領域です。物理メモリに載っているのはその一部だけです。";
    /// Under the second panel, nothing resident.
    AFTER_NOTE: "The addresses may be used now, but no physical memory stands behind them yet. Pictures of mmap often skip this moment and show it here already.",
        "アドレスは使えるようになりましたが、対応する物理メモリはまだありません。よく見る説明図では、この段階が省かれ、すでに物理メモリがあるように描かれています。";
    /// Under the second panel, where the call itself brought the pages in.
    POPULATED_NOTE: "MAP_POPULATE or MAP_LOCKED made the kernel provide the pages within the call.",
        "MAP_POPULATE や MAP_LOCKED が指定されたので、カーネルは呼び出しの中で物理メモリを割り当てました。";
    /// Under the third panel.
    TOUCH_NOTE: "Each page got a frame when it was touched: now it looks as in those pictures, for the touched pages.",
        "触れたページごとに物理メモリ (ページフレーム) が割り当てられました。触れたページについては、よく見る説明図のとおりになりました。";
    /// Under the third panel, when touching gave no frames.
    NO_FRAME_NOTE: "The pages were touched, but none needed a frame of its own.",
        "ページに触れましたが、専用のページフレームは割り当てられませんでした。";
    /// Chart: virtual size.
    CHART_VIRTUAL: "virtual size", "仮想メモリサイズ";
    /// Chart: resident size.
    CHART_RESIDENT: "resident size", "常駐サイズ";
    /// Chart: faults.
    CHART_FAULTS: "minor faults", "マイナーフォールト";
    /// Chart: x axis.
    CHART_TIME: "time", "時間";
    /// Title of the chart.
    CHART_TITLE: "Demand paging: memory follows the touch", "デマンドページング: 触れた分だけ物理メモリが割り当てられる";
    /// Title of the talk's figure.
    TALK_TITLE: "How a process obtains memory with mmap", "プロセスはmmapでどのようにメモリを獲得するか";
    /// Title of the space picture.
    SPACE_TITLE: "Address space of {name} (PID {pid})", "{name} (PID {pid}) のアドレス空間";
    /// Title of the space picture without a PID.
    SPACE_TITLE_BARE: "Address space of {name}", "{name} のアドレス空間";
    /// Legend of heights.
    TO_SCALE: "heights are to scale (at least 1 px), gaps are folded; the dark part of a bar is resident",
        "高さはサイズに比例 (最小 1 px)。未割当の部分は畳んで表示。バーの濃い部分は物理メモリに載っている割合";
    /// Several VMAs drawn as one.
    GROUP: "{n} × {kind}", "{kind} × {n}";
    /// Several VMAs of several kinds drawn as one.
    MIXED: "{n} VMAs of several kinds", "複数種類の {n} 領域";
    /// Resident size is not known.
    NOT_READ: "resident not read", "常駐サイズは未取得";
}

#[cfg(test)]
mod tests {
    /// Checks that every text has both languages with the same values.
    #[test]
    fn both_languages_are_there() {
        assert_eq!(crate::lang::gaps(super::ALL), Vec::<String>::new());
    }
}
