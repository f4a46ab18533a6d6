//! The words of `show`'s columns and of the map-count sheet, in both languages.

crate::texts! {
    /// Column: resident pages of no file.
    ANON: "ANON", "無名";
    /// Column: resident pages of files.
    FILE: "FILE", "ファイル";
    /// Column: resident pages of shared memory objects.
    SHMEM: "SHMEM", "共有メモリ";
    /// Column: mapped here alone.
    PRIVATE: "PRIVATE", "専有";
    /// Column: mapped by others too.
    SHARED: "SHARED", "共有";
    /// Column: proportional share.
    PSS: "PSS", "PSS";
    /// Column: changed.
    DIRTY: "DIRTY", "ダーティ";
    /// Column: transparent huge pages.
    HUGE: "HUGE", "THP";
    /// Column: hugetlb.
    HUGETLB: "HUGETLB", "hugetlb";
    /// Column: zero pages.
    ZERO: "ZERO", "ゼロページ";
    /// Column: given back lazily.
    LAZYFREE: "LAZYFREE", "遅延解放";
    /// Column: merged by KSM.
    KSM: "KSM", "KSM";
    /// Column: on an active list.
    ACTIVE: "ACTIVE", "活性";
    /// Column: used lately.
    REFERENCED: "REFERENCED", "参照あり";
    /// Column: locked.
    LOCKED: "LOCKED", "ロック";
    /// Column: not to be reclaimed.
    UNEVICTABLE: "UNEVICTABLE", "回収対象外";
    /// Column: what stands behind it.
    BACKING: "BACKING", "実体";
    /// Column: offset in the file.
    OFFSET: "OFFSET", "オフセット";
    /// Column: device.
    DEV: "DEV", "デバイス";
    /// Column: inode.
    INODE: "INODE", "inode";
    /// Column: flags of the VMA.
    FLAGS: "FLAGS", "フラグ";
    /// A figure that we may not know.
    HIDDEN: "hidden", "非公開";
    /// A figure of smaps beside ours.
    SMAPS: "SMAPS", "smaps";
    /// Backing: anonymous memory.
    OF_NOTHING: "anonymous", "無名";
    /// Backing: a file.
    OF_FILE: "file", "ファイル";
    /// Backing: shared memory.
    OF_SHMEM: "shmem", "共有メモリ";
    /// Backing: the kernel or a device.
    OF_KERNEL: "special", "特殊";
    /// Below a table with hidden figures.
    SOME_HIDDEN: "hidden: page frames are told to root alone (CAP_SYS_ADMIN)", "非公開: ページフレームの情報は root (CAP_SYS_ADMIN) だけが読めます";
    /// Below a table with unknown figures.
    SOME_UNKNOWN: "?: page tables do not tell; --smaps does (it holds the process ~9 ms per GiB)",
        "?: ページテーブルでは不明。--smaps で読めます (1 GiB あたり約 9 ms プロセスを待たせます)";
    /// Below a table with unknown figures that smaps does not tell either.
    STILL_UNKNOWN: "?: neither page tables nor smaps tell", "?: ページテーブルからも smaps からも分かりません";
    /// Below a table with differences.
    SMAPS_DIFFER: "≠: smaps was read a moment later and tells something else", "≠: 少しあとに読んだ smaps の値が異なります";
    /// Map count: how many of how many.
    MAP_COUNT: "{n} of {max} VMAs (vm.max_map_count): {percent} % used, {left} left", "領域 {n} / 上限 {max} (vm.max_map_count): {percent} % 使用, 残り {left}";
    /// Map count without a limit.
    MAP_COUNT_ALONE: "{n} VMAs; vm.max_map_count is not known", "領域 {n} (vm.max_map_count は不明)";
    /// Column: part of all.
    PART: "PART", "割合";
    /// Look-alikes: none.
    NO_ALIKE: "no neighbours look alike: every boundary shows its reason", "見かけ上同じ隣どうしはありません: どの境界にも理由があります";
    /// Look-alikes: how many.
    ALIKES: "look-alike neighbours (same protection, sharing, file): {pairs} boundaries, {runs} runs",
        "見かけ上同じ (保護属性・共有・ファイルが同じ) 隣どうしの境界: {pairs} (並び {runs})";
    /// Column: boundaries.
    BOUNDARIES: "BOUNDARIES", "境界";
    /// Column: why not merged.
    WHY_APART: "WHY NOT MERGED", "結合されない理由";
    /// Column: the longest run.
    LONGEST: "LONGEST RUN", "最長の並び";
    /// Apart: the file's offset jumps.
    APART_OFFSET: "the file's offset is not contiguous", "ファイルのオフセットが連続しない";
    /// Apart: names.
    APART_NAME: "the program names them differently", "プログラムが付けた名前が違う";
    /// Apart: flags.
    APART_FLAGS: "flags differ ({flags})", "フラグが違う ({flags})";
    /// Apart: policy.
    APART_POLICY: "NUMA policy differs", "NUMA ポリシーが違う";
    /// Apart: seen everything there is.
    APART_UNSEEN: "history that no reader can see", "外からは見えない履歴";
    /// Apart: not looked at everything.
    APART_UNREAD: "flags or policy (--smaps tells), or history", "フラグかポリシー (--smaps で分かる) か履歴";
    /// What history is.
    HISTORY: "history: pages faulted or forked apart, an mremap, or another open of the file",
        "履歴: 別々のページフォールトや fork, mremap, 同じファイルの別の open";
    /// A run of look-alikes.
    RUN: "{n} from {addr}", "{addr} から {n}";
}

#[cfg(test)]
mod tests {
    /// Checks that every text has both languages with the same values.
    #[test]
    fn both_languages_are_there() {
        assert_eq!(crate::lang::gaps(super::ALL), Vec::<String>::new());
    }
}
