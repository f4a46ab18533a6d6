//! The words of this experiment, in both languages.

vmatlas_view::texts! {
    /// Step 0.
    STEP_START: "what the process was given when it started", "プロセスが起動時に割り当てられたもの";
    /// Step 0.
    AT_EXEC: "The map at exec, before the program's first instruction", "exec 直後 (最初の命令の前) のメモリマップ";
    /// Step 0.
    SINCE: "What its loader and runtime obtained since then, call by call (mmap unmaps what it puts another mapping in place of):", "その後、ローダーとランタイムが獲得したもの (システムコールごと):";
    /// Step 0, no tracer.
    NO_START: "What the process was given at exec only our tracer sees.", "exec 直後のメモリマップは、自前のトレーサーがないと見えません。";
    /// Step 0.
    NOW: "The map now", "現在のメモリマップ";
    /// Step 1.
    STEP_CALL: "one call", "1 回の呼び出し";
    /// Step 2.
    STEP_ONE_BYTE: "the same with 1 byte", "同じ呼び出しで 1 バイト";
    /// Step 2.
    ONE_BYTE_NOTE: "Memory comes in pages: whoever asks for one byte gets {page}.", "メモリはページ単位です。1 バイトを要求しても {page} が割り当てられます。";
    /// Step 3.
    STEP_TOUCH: "touching {n} pages", "{n} ページに触れる";
    /// Step 3, a single page.
    STEP_TOUCH_ONE: "touching {n} page", "{n} ページに触れる";
    /// Step 3, where the protection is in the way.
    TOUCH_NOTE_REFUSED: "One byte is to be written to each of them, but the protection (prot) does not allow it.",
        "それぞれに 1 バイトずつ書き込もうとしますが、保護属性 (prot) はそれを許していません。";
    /// Step 3.
    TOUCH_NOTE_WRITE: "One byte is written to each of them. Only now does the kernel give page frames: pieces of physical memory, each as large as a page.",
        "それぞれに 1 バイトずつ書き込みます。ここで初めてカーネルがページフレームを割り当てます。";
    /// Step 3.
    TOUCH_NOTE_READ: "One byte of each is read (writing is not allowed). Reading untouched anonymous memory gives the shared zero page, which costs nothing.",
        "それぞれから 1 バイトずつ読みます (書き込みは許されていません)。まだ触れていない無名のメモリなら、読んでも共用のゼロページが見えるだけで、物理メモリは使いません。";
    /// Step 3, a file that may not be written.
    TOUCH_NOTE_READ_FILE: "One byte of each is read (writing is not allowed): pages of the file, out of the kernel's page cache.",
        "それぞれから 1 バイトずつ読みます (書き込みは許されていません)。読むのは、カーネルのページキャッシュにあるファイルのページです。";
    /// Step 3, the access is refused.
    TOUCH_KILLED: "The access failed, and the kernel ended the process: {how}.", "アクセスは失敗し、カーネルがプロセスを終了させました: {how}。";
    /// A size.
    TOUCHED: "touched", "触れたサイズ";
    /// Argument meaning.
    ARG_ADDR_ANY: "the kernel chooses the address", "アドレスはカーネルに任せる";
    /// Argument meaning.
    ARG_ADDR_HINT: "a wish, or an order with MAP_FIXED", "希望のアドレス (MAP_FIXED なら指定)";
    /// Argument meaning.
    ARG_LENGTH: "how much, in bytes", "サイズ (バイト)";
    /// Argument meaning.
    ARG_PROT: "what may be done with it", "保護属性";
    /// Argument meaning.
    ARG_FLAGS: "whose it is and what is behind it", "共有の仕方と、裏にあるもの";
    /// Argument meaning.
    ARG_FD: "the file behind it; none", "裏にあるファイル (なし)";
    /// Argument meaning.
    ARG_FD_FILE: "the file behind it", "裏にあるファイル";
    /// Argument meaning.
    ARG_OFFSET: "where in the file it begins", "ファイル内の開始位置";
    /// Result meaning.
    MEANS_ADDRESS: "the address of the new area", "新しい領域の先頭アドレス";
    /// Result meaning.
    MEANS_ERROR: "{meaning}. {why}", "{meaning}。{why}";
    /// Why refused.
    WHY_ZERO: "A length of 0 is never mapped.", "長さ 0 の領域は作れません。";
    /// Why refused.
    WHY_OFFSET: "The offset must be a multiple of the page size.", "オフセットはページサイズの倍数でなければなりません。";
    /// Why refused.
    WHY_TYPE: "Exactly one of MAP_SHARED, MAP_PRIVATE and MAP_SHARED_VALIDATE must be given.",
        "MAP_SHARED、MAP_PRIVATE、MAP_SHARED_VALIDATE のどれか 1 つを指定しなければなりません。";
    /// Why refused.
    WHY_NO_FILE: "Without MAP_ANONYMOUS a file descriptor is needed.", "MAP_ANONYMOUS なしではファイルディスクリプターが必要です。";
    /// Why refused.
    WHY_TOO_LARGE: "The address space of a process ends at 128 TiB.", "プロセスの仮想アドレス空間は 128 TiB までです。";
    /// Why refused.
    WHY_OVERCOMMIT: "The kernel refuses to promise more than all memory and swap together (vm.overcommit_memory is 0).",
        "物理メモリとスワップの合計を超える約束を、カーネルは拒みます (vm.overcommit_memory は 0)。";
    /// Why refused.
    WHY_FIXED_PLACE: "With MAP_FIXED the address must be a multiple of the page size.", "MAP_FIXED では、アドレスはページサイズの倍数でなければなりません。";
    /// Why refused.
    WHY_MIN_ADDR: "Addresses below vm.mmap_min_addr are for privileged processes only: a NULL pointer must stay invalid.",
        "vm.mmap_min_addr より低いアドレスは特権プロセスにしか使えません。NULL ポインターが有効なアドレスにならないようにするためです。";
    /// Why refused.
    WHY_LOW: "MAP_32BIT takes an address between 1 and 2 GiB, and there is less room than was asked for.",
        "MAP_32BIT は 1 GiB から 2 GiB の間のアドレスを使いますが、要求されたサイズの空きがありません。";
    /// Why refused.
    WHY_NO_GAP: "No gap between the mappings that are there is large enough: addresses run out before memory does.",
        "いまあるマッピングの隙間に、要求されたサイズの空きがありません。メモリより先にアドレスが足りなくなりました。";
    /// Why refused.
    WHY_LOCK: "MAP_LOCKED keeps pages in physical memory, and RLIMIT_MEMLOCK says how much a process may lock (ulimit -l).",
        "MAP_LOCKED はページを物理メモリに固定します。固定できる量は RLIMIT_MEMLOCK (ulimit -l) までです。";
    /// Why refused.
    WHY_GROWSDOWN: "MAP_GROWSDOWN is for private anonymous memory only: it makes a stack.", "MAP_GROWSDOWN はスタック用で、プライベートな無名マッピングにしか使えません。";
    /// Why refused.
    WHY_NOT_MAPPABLE: "What the descriptor refers to cannot be mapped, a folder for instance.", "このファイルはマップできません (ディレクトリなど)。";
    /// Why refused.
    WHY_LIMIT: "The virtual size of the process would exceed its limit RLIMIT_AS (ulimit -v).", "仮想メモリサイズが資源制限 RLIMIT_AS (ulimit -v) を超えます。";
    /// Why refused.
    WHY_STRICT: "vm.overcommit_memory is 2: the kernel promises no more than CommitLimit in /proc/meminfo.",
        "vm.overcommit_memory が 2 なので、カーネルは /proc/meminfo の CommitLimit を超える約束をしません。";
    /// Why refused.
    WHY_NO_HUGE: "There are not enough free huge pages (vm.nr_hugepages).", "空いているヒュージページが足りません (vm.nr_hugepages)。";
    /// Why refused.
    WHY_NO_MEMORY: "There is no room for it: addresses, promised memory, huge pages or a limit.",
        "アドレス空間、約束できるメモリ、ヒュージページ、資源制限のどれかが足りません。";
    /// Why refused.
    WHY_ACCESS: "The file was not opened for what the mapping asks.", "ファイルがこのマッピングに必要なモードで開かれていません。";
    /// Why refused.
    WHY_PERMISSION: "A seal, a mount option or a missing privilege forbids it.", "ファイルシール、マウントオプション、または権限の不足により禁じられています。";
    /// Why refused.
    WHY_EXISTS: "Something is mapped there already.", "そのアドレスにはすでに何かがマップされています。";
    /// Why refused.
    WHY_OTHER: "See the errors section of mmap(2).", "mmap(2) のエラーの節を参照してください。";
    /// No prediction.
    DECIDED_ELSEWHERE: "the file, the address or a flag decides it", "ファイル、アドレス、またはフラグによって決まるため";
    /// No prediction.
    STRICT: "vm.overcommit_memory is 2 (or unreadable): what others have been promised decides",
        "vm.overcommit_memory が 2 (または読めない) のため、ほかのプロセスへの約束しだい";
    /// No prediction.
    READS_DECIDE: "read pages may be the shared zero page, or the file's own", "読んだページはゼロページやファイルのページかもしれないため";
    /// Fact.
    FACT_OUTCOME: "the call ends as expected", "呼び出しの結果 (success は成功)";
    /// Fact.
    FACT_ALIGNED: "the address is a multiple of the page size", "アドレスはページサイズの倍数";
    /// Fact.
    FACT_MAPPED: "mapped are whole pages, {asked} bytes asked for", "マップはページ単位 (要求は {asked} バイト)";
    /// Fact.
    FACT_RESIDENT: "of the new area, this much is in physical memory after the call", "呼び出し直後に物理メモリに載っている新しい領域の量";
    /// Fact.
    FACT_UNCHANGED: "a call that fails leaves the map as it was", "失敗した呼び出しはメモリマップを変えない";
    /// Fact.
    FACT_ONE_BYTE: "1 byte gives 1 page", "1 バイトの要求で 1 ページ";
    /// Fact.
    FACT_TOUCHED: "resident is exactly what was touched", "物理メモリに載るのは触れたページだけ";
    /// Fact, where more than was touched may come along.
    FACT_TOUCHED_MORE: "resident is what was touched, and what came along with it (huge pages, neighbours in the file)",
        "物理メモリに載るのは触れたページと、それに伴うもの (ヒュージページ、ファイル内の隣のページ)";
    /// Fact.
    FACT_SIGNAL: "touching ends the process with this signal", "触れるとこのシグナルでプロセスが終了する";
    /// Fact.
    FACT_TOUCH_VIRTUAL: "touching does not change the virtual size", "触れても仮想メモリサイズは変わらない";
}

#[cfg(test)]
mod tests {
    /// Checks that every text has both languages with the same values.
    #[test]
    fn both_languages_are_there() {
        assert_eq!(vmatlas_view::gaps(super::ALL), Vec::<String>::new());
    }
}
