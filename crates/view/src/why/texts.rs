//! The words of `why`, in both languages.

crate::texts! {
    /// What holds the address.
    IN: "{addr} is in", "{addr} を含む領域:";
    /// Nothing is there.
    NOTHING: "nothing is mapped at {addr}", "{addr} には何もマップされていません";
    /// The VMA below.
    BELOW: "below it, up to {end}:", "その下 ({end} まで):";
    /// The VMA above.
    ABOVE: "above it, from {start}:", "その上 ({start} から):";
    /// How the kind is known.
    KIND: "{kind}: {why}", "{kind}: {why}";
    /// Where in the file.
    IN_FILE: "the byte at this address is byte {offset} of the file", "このアドレスのバイトは、ファイルの {offset} バイト目です";
    /// What stands behind it.
    BACKING: "its pages come from: {backing}", "ページの実体: {backing}";
    /// The one who mapped it.
    MAPPED_BY: "Mapped by", "マップした呼び出し";
    /// The look that found it first.
    FIRST_SEEN: "First seen", "最初に見つかった観測";
    /// Heading: the look that found it first.
    FIRST_SEEN_AT: "FIRST SEEN", "最初の観測";
    /// Neighbours that came between different looks.
    SEEN_APART: "This VMA has {n} parts that were first seen at different looks", "この領域には、最初に見つかった観測が異なる {n} 個の部分があります";
    /// What happened since.
    SINCE: "Changes since", "その後の変化";
    /// Nothing happened since.
    NO_CHANGE_SINCE: "no change since", "その後の変化はありません";
    /// What happened where nothing is mapped now.
    BEFORE: "What was there before", "以前そこにあったもの";
    /// Nothing was ever there.
    NEVER: "nothing was mapped there before, as far as this recording goes", "この記録の範囲では、そこに何かがマップされたことはありません";
    /// The origin is not known.
    ORIGIN_UNKNOWN: "which call mapped it is not known: what was there was found when the map was read", "どの呼び出しがマップしたかは不明です (メモリマップを読み取ったときに見つかりました)";
    /// Origin: the start of a program.
    BY_EXEC: "the start of a program: mapped by the kernel, before its first instruction", "プログラムの開始: 最初の命令より前にカーネルがマップしました";
    /// Origin: there before attach.
    BY_ATTACH: "mapped before we looked: it was there when the recording began", "記録を始めた時点ですでにマップされていました";
    /// Origin: found by a look.
    BY_LOOK: "found when the kernel's map was read: no call that was seen mapped it", "カーネルのメモリマップを読み取ったときに見つかりました (マップした呼び出しは記録にありません)";
    /// The page was elsewhere before.
    MOVED: "moved from {from} to {to}", "{from} から {to} へ移動";
    /// The address space was copied.
    FORKED: "copied into this process, with all that was mapped; what is above happened in its parent", "ここでメモリマップ全体がこのプロセスに複製されました (これより上は親プロセスでの出来事です)";
    /// Chapters that were left out.
    LEFT_OUT: "… {n} more changes, left out here", "… ほかに {n} 件の変化 (省略)";
    /// The history is not whole.
    INCOMPLETE: "this history is not complete", "この履歴は完全ではありません";
    /// Neighbours.
    NEIGHBOURS: "This VMA has {n} parts that were mapped apart; the kernel has merged them", "この領域は別々にマップされた {n} 個の部分からなり、カーネルが 1 つに結合しています";
    /// Heading: addresses.
    ADDRESS: "ADDRESS", "アドレス";
    /// Heading: size.
    SIZE: "SIZE", "サイズ";
    /// Heading: event.
    EVENT: "EVENT", "イベント";
    /// Heading: call.
    CALL: "MAPPED BY", "マップした呼び出し";
    /// Heading: a fault.
    FIRST_FAULT: "First recorded fault on this page", "このページで最初に記録されたフォールト";
    /// No fault.
    NO_FAULT: "No fault on this page was recorded: nobody touched it, a fault next to it mapped it too, or the kernel did",
        "このページのフォールトは記録されていません: だれも触れていないか、近くのフォールトまたはカーネルによってマップされました";
    /// Others.
    MORE_FAULTS: "{n} more on this page since (given back and touched again, copied, or write-protected)",
        "その後このページでさらに {n} 件 (解放後の再アクセス、コピー、書き込み保護など)";
    /// Not recorded.
    NOT_RECORDED: "Who mapped it is not known: it was mapped before we looked, and the kernel does not remember who did.",
        "誰がマップしたかは分かりません: 調べる前にマップされたもので、カーネルはマップした呼び出しを覚えていません。";
    /// How to know.
    RECORD: "To know, record the program from its start:", "知るには、プログラムを最初から記録してください:";
    /// The addresses of the next run.
    ANOTHER_RUN: "(addresses differ from run to run: 'setarch -R' before the command keeps them, 'vmatlas show REC' finds the VMA)",
        "(アドレスは実行ごとに変わります。コマンドの前に 'setarch -R' を付けると変わらなくなり、'vmatlas show REC' で領域を探せます)";
    /// From now on.
    FROM_NOW: "What happens to it from now on:", "これから起きることを記録するには:";
}

#[cfg(test)]
mod tests {
    /// Checks that every text has both languages with the same values.
    #[test]
    fn both_languages_are_there() {
        assert_eq!(crate::gaps(super::ALL), Vec::<String>::new());
    }
}
