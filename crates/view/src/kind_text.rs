//! The names of kinds and the reasons of verdicts, in words.

use crate::lang::Lang;
use vmatlas_model::kind::{Kind, Why};

/// The name of a kind as a table shows it: at most 16 columns wide.
pub fn kind_name(kind: Kind, lang: Lang) -> &'static str {
    let (en, ja) = match kind {
        Kind::Image => ("image", "実行イメージ"),
        Kind::Heap => ("heap", "ヒープ"),
        Kind::MallocArena => ("malloc arena", "mallocアリーナ"),
        Kind::Allocator => ("allocator", "アロケータ"),
        Kind::ManagedHeap => ("managed heap", "GCヒープ"),
        Kind::ThreadStack => ("thread stack", "スレッドスタック"),
        Kind::MainStack => ("main stack", "メインスタック"),
        Kind::Guard => ("guard", "ガードページ"),
        Kind::MappedFile => ("mapped file", "ファイル"),
        Kind::Shared => ("shared", "共有メモリ"),
        Kind::Anonymous => ("anonymous", "無名"),
        Kind::Reserved => ("reserved", "予約のみ"),
        Kind::Huge => ("huge pages", "ヒュージページ"),
        Kind::Jit => ("JIT code", "JITコード"),
        Kind::Kernel => ("kernel", "カーネル提供"),
        Kind::Device => ("device", "デバイス"),
        Kind::Aio => ("AIO ring", "AIOリング"),
    };
    pick(lang, en, ja)
}

/// What a verdict rests on, in one short sentence without a full stop.
pub fn why_text(why: &Why, lang: Lang) -> String {
    let (en, ja) = match *why {
        Why::StackPointer(tid) => {
            return match lang {
                Lang::En => format!("the stack pointer of thread {tid} is in it"),
                Lang::Ja => format!("スレッド{tid}のスタックポインタがここを指す"),
            };
        }
        Why::BelowStack(stack) => {
            return match lang {
                Lang::En => format!("directly below the stack at {stack}"),
                Lang::Ja => format!("スタック{stack}のすぐ下"),
            };
        }
        Why::ArenaLayout(heap) => {
            return match lang {
                Lang::En => format!("glibc's layout of an arena heap at {heap}"),
                Lang::Ja => format!("{heap}から始まるglibcアリーナの配置"),
            };
        }
        Why::ArenaReserve(heap) => {
            return match lang {
                Lang::En => format!("unused rest of the arena heap at {heap}"),
                Lang::Ja => format!("{heap}から始まるアリーナの未使用部分"),
            };
        }
        Why::KernelLabel => ("the kernel labels it", "カーネルが名付けている"),
        Why::RuntimeName => ("the program names it", "プログラム自身が名付けている"),
        Why::OtherName => ("the program's own name for it, unknown to us", "プログラムが付けた未知の名前"),
        Why::KernelFile => ("a file that the kernel makes", "カーネルが作るファイル"),
        Why::Path => ("its path", "パス名による"),
        Why::ProgramFile => ("the program's own file", "実行中のプログラムのファイル"),
        Why::CodeFile => ("a file mapped executable", "実行可能としてマップされたファイル"),
        Why::DataFile => ("a file not mapped executable", "実行可能としてマップされていないファイル"),
        Why::PathAlone => ("a path without device and inode", "パス名のみ (デバイスとinodeなし)"),
        Why::Bss => ("directly after the image's data (bss)", "イメージのデータのすぐ後 (bss)"),
        Why::InsideImage => ("between two parts of one image", "同じイメージの間にある"),
        Why::AboveProgram => {
            ("directly above the program, where brk heaps are", "プログラムのすぐ上 (brkヒープの定位置)")
        }
        Why::AuxVector => ("the auxiliary vector points there", "補助ベクトルが指している"),
        Why::BelowVdso => ("directly below the vdso", "vdsoのすぐ下"),
        Why::Vsyscall => ("the fixed address of vsyscall", "vsyscallの固定アドレス"),
        Why::StartBrk => ("the brk heap starts here", "brkヒープの開始位置"),
        Why::StackLayout => {
            ("size of a thread stack, with its guard", "ガードページとサイズがスレッドスタックに一致")
        }
        Why::BelowWritable => {
            ("inaccessible, directly below writable memory", "書き込み可能な領域のすぐ下のアクセス不可ページ")
        }
        Why::GoOwn => {
            ("Go without libraries: its runtime's own", "ライブラリのないGo: ランタイム自身のデータ")
        }
        Why::GoArena => ("arenas at an address of Go's runtime", "Goランタイム特有のアドレスのアリーナ"),
        Why::JavaLow => ("below 32 GiB in a JVM", "JVMの32GiB未満の領域"),
        Why::JavaBig => ("large enough to be this JVM's heap", "このJVMのヒープと言える大きさ"),
        Why::JavaReserve => ("reserved after the Java heap", "Javaヒープに続く予約領域"),
        Why::JavaClasses => {
            ("after the class archive: class metadata", "クラスアーカイブに続くクラスメタデータ")
        }
        Why::JavaMetaspace => {
            ("64 MiB below the class archive: metaspace", "クラスアーカイブ直前の64MiB (メタスペース)")
        }
        Why::Executable => ("executable memory without a file", "ファイルのない実行可能メモリ"),
        Why::AroundExecutable => {
            ("address space kept for run-time code", "実行時コード用に確保されたアドレス空間")
        }
        Why::V8Chunk => ("V8's alignment and choice of address", "V8の境界とアドレスの選び方に一致"),
        Why::MimallocAddress => ("an address that mimalloc asks for", "mimallocが要求するアドレス"),
        Why::AllocatorLibrary => {
            ("size of blocks of the loaded allocator", "読み込まれたアロケータのブロックサイズ")
        }
        Why::OpenBlas => ("whole work buffers of OpenBLAS", "OpenBLASの作業バッファーの整数倍"),
        Why::JavaTables => {
            ("in proportion to the Java heap: its tables", "Javaヒープに比例した大きさ: GCの表")
        }
        Why::Pymalloc => ("whole arenas of Python's allocator", "Pythonのアロケータのアリーナの整数倍"),
        Why::NoAccess => ("no access, nothing else known", "アクセス不可、他は不明"),
        Why::NothingKnown => ("no file, no name", "ファイルも名前もない"),
    };
    pick(lang, en, ja).to_owned()
}

fn pick(lang: Lang, en: &'static str, ja: &'static str) -> &'static str {
    match lang {
        Lang::En => en,
        Lang::Ja => ja,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use unicode_width::UnicodeWidthStr;
    use vmatlas_event::{Addr, Tid};

    /// Checks that every kind has a name of its own in both languages that fits its column.
    #[test]
    fn names_fit_and_differ() {
        for lang in [Lang::En, Lang::Ja] {
            let names: BTreeSet<&str> = Kind::ALL.into_iter().map(|kind| kind_name(kind, lang)).collect();
            assert_eq!(names.len(), Kind::ALL.len());
            assert!(names.iter().all(|name| (1..=16).contains(&name.width())), "{names:?}");
        }
    }

    /// Checks that thread and address reach the reader in both languages.
    #[test]
    fn reasons_carry_their_values() {
        for lang in [Lang::En, Lang::Ja] {
            assert!(why_text(&Why::StackPointer(Tid(4711)), lang).contains("4711"));
            for why in [
                Why::BelowStack(Addr(0x7f00)),
                Why::ArenaLayout(Addr(0x7f00)),
                Why::ArenaReserve(Addr(0x7f00)),
            ] {
                assert!(why_text(&why, lang).contains("0x7f00"), "{why:?}");
            }
        }
        assert_ne!(why_text(&Why::Bss, Lang::En), why_text(&Why::Bss, Lang::Ja));
    }
}
