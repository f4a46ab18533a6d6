//! Rows without a file that have a name: the kernel's labels and the names that programs give.

use super::sheet::Sheet;
use super::{Confidence, Kind, Why};
use vmatlas_event::{Prot, Sharing, VmaRow};

/// Claims every row that has a name and no file.
pub(super) fn labels(sheet: &mut Sheet<'_>) {
    for at in 0..sheet.rows.len() {
        if let Some(label) = sheet.rows[at].special() {
            let (kind, why) = label_kind(label, &sheet.rows[at]);
            sheet.claim(at, kind, Confidence::Named, why);
        }
    }
}

fn label_kind(label: &[u8], row: &VmaRow) -> (Kind, Why) {
    if let Some(name) = label.strip_prefix(b"anon:") {
        return anon_kind(name, row);
    }
    if label.starts_with(b"anon_shmem:") {
        return (Kind::Shared, Why::RuntimeName);
    }
    let kind = match label {
        b"heap" => Kind::Heap,
        b"stack" => Kind::MainStack,
        // Linux 3.4 to 4.4 labelled thread stacks (commit b76437579d13, removed by commit 65376df58217).
        _ if label.starts_with(b"stack:") => Kind::ThreadStack,
        // Whatever else has brackets and no file is a special mapping: [vdso], [vvar], [vvar_vclock], [vsyscall],
        // [uprobes], [sigpage], [vectors] (kernel fs/proc/task_mmu.c:get_vma_name(), vm_ops->name).
        _ => Kind::Kernel,
    };
    (kind, Why::KernelLabel)
}

/// The kind of a VMA by the name its own program gave it, the first entry whose text begins it.
///
/// Only names found in the programs' sources are here: glibc `__set_vma_name` (2.39), Go `setVMAName` (1.25), jemalloc
/// `os_page_id`, tcmalloc `tcmalloc_region_%s`, PHP `zend_mmap_set_name`, Ruby `ruby_annotate_mmap`, CPython
/// `_PyAnnotateMemoryMap`, Firefox, V8, Chromium, and Android's list in frameworks/base android_os_Debug.cpp:load_maps().
const NAMES: &[(&[u8], Kind)] = &[
    (b" glibc: pthread ", Kind::ThreadStack), // "pthread stack: TID", "pthread user stack: TID"
    (b" glibc: unused stack", Kind::ThreadStack),
    (b" glibc: malloc", Kind::MallocArena), // "malloc arena", and "malloc" for a big block of its own
    (b" glibc: loader malloc", Kind::MallocArena),
    (b" glibc: .bss", Kind::Image),
    (b" Go: ", Kind::ManagedHeap), // "heap", "heap reservation", "page summary", "gc bits"...
    (b"jemalloc_pg", Kind::Allocator),
    (b"tcmalloc_region_", Kind::Allocator),
    (b"mimalloc", Kind::Allocator),
    (b"scudo:", Kind::Allocator),
    (b"GWP-ASan", Kind::Allocator),
    (b"libc_malloc", Kind::Allocator),
    (b"native_heap:", Kind::Allocator),
    (b"bionic_alloc", Kind::Allocator),
    (b"linker_alloc", Kind::Allocator),
    (b"partition_alloc", Kind::Allocator),
    (b"absl", Kind::Allocator),
    (b"zend_alloc", Kind::Allocator),
    (b"zend_fiber_stack", Kind::ThreadStack),
    (b"zend_huge_code_pages", Kind::Image),
    (b"cpython:jit", Kind::Jit),
    (b"cpython:", Kind::Allocator),
    (b"Ruby:rb_jit", Kind::Jit),
    (b"Ruby:rb_yjit", Kind::Jit),
    (b"Ruby:rb_zjit", Kind::Jit),
    (b"Ruby:nt_alloc_thread_stack", Kind::ThreadStack),
    (b"Ruby:", Kind::ManagedHeap),
    (b"v8", Kind::ManagedHeap),
    (b"dalvik-jit-code-cache", Kind::Jit),
    (b"dalvik-zygote-jit-code-cache", Kind::Jit),
    (b"dalvik-", Kind::ManagedHeap),
    (b"js-gc-heap", Kind::ManagedHeap),
    (b"js-executable-memory", Kind::Jit),
    (b"JSJITCode", Kind::Jit),
    (b"jit-cache", Kind::Jit),
    (b"jit-code-cache", Kind::Jit),
    (b"dart-code", Kind::Jit),
    (b"dart-", Kind::ManagedHeap),
    (b"hermes-", Kind::ManagedHeap),
    (b"hades-segment", Kind::ManagedHeap),
    (b"ArkTS Heap", Kind::ManagedHeap),
    (b"stack_and_tls:", Kind::ThreadStack),
    (b"thread stack guard", Kind::Guard),
    (b"thread signal stack guard", Kind::Guard),
    (b"thread signal stack", Kind::ThreadStack),
    (b".bss", Kind::Image),
];

fn anon_kind(name: &[u8], row: &VmaRow) -> (Kind, Why) {
    match NAMES.iter().find(|(begin, _)| name.starts_with(begin)) {
        Some((_, Kind::ThreadStack)) if row.prot == Prot::NONE => (Kind::Guard, Why::RuntimeName),
        // V8 names code and data alike.
        Some((_, Kind::ManagedHeap)) if row.prot.has(Prot::EXEC) => (Kind::Jit, Why::RuntimeName),
        Some((_, kind)) => (*kind, Why::RuntimeName),
        None if row.prot.has(Prot::EXEC) => (Kind::Jit, Why::Executable),
        None if row.sharing == Sharing::Shared => (Kind::Shared, Why::OtherName),
        None if row.prot == Prot::NONE => (Kind::Reserved, Why::OtherName),
        None => (Kind::Anonymous, Why::OtherName),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{kind_of, row};
    use super::*;

    /// Checks the names that runtimes give, and that access decides where the name does not.
    #[test]
    fn runtimes_name_their_memory() {
        for (name, prot, kind) in [
            ("[anon: glibc: malloc arena]", "rw-p", Kind::MallocArena),
            ("[anon: glibc: pthread stack: 4711]", "rw-p", Kind::ThreadStack),
            ("[anon: glibc: pthread user stack: 4711]", "rw-p", Kind::ThreadStack),
            ("[anon: glibc: .bss /lib/libx.so]", "rw-p", Kind::Image),
            ("[anon: Go: heap]", "rw-p", Kind::ManagedHeap),
            ("[anon: Go: heap reservation]", "---p", Kind::ManagedHeap),
            ("[anon:jemalloc_pg_overcommit]", "rw-p", Kind::Allocator),
            ("[anon:tcmalloc_region_NORMAL]", "---p", Kind::Allocator),
            ("[anon:v8]", "rw-p", Kind::ManagedHeap),
            ("[anon:v8]", "r-xp", Kind::Jit),
            ("[anon:v8-sandbox]", "---p", Kind::ManagedHeap),
            ("[anon:scudo:primary]", "rw-p", Kind::Allocator),
            ("[anon:dalvik-main space (region space)]", "rw-p", Kind::ManagedHeap),
            ("[anon:dalvik-jit-code-cache]", "r--p", Kind::Jit),
            ("[anon:stack_and_tls:19943]", "rw-p", Kind::ThreadStack),
            ("[anon:stack_and_tls:19943]", "---p", Kind::Guard),
            ("[anon:thread signal stack guard]", "---p", Kind::Guard),
            ("[anon:js-executable-memory]", "r-xp", Kind::Jit),
            ("[anon:my cache]", "rw-p", Kind::Anonymous),
            ("[anon:my cache]", "---p", Kind::Reserved),
            ("[anon:my cache]", "rwxp", Kind::Jit),
            ("[anon:\u{1b}[31m]", "rw-p", Kind::Anonymous),
            ("[anon:]", "rw-p", Kind::Anonymous),
        ] {
            assert_eq!(kind_of(row(prot, name)), kind, "{name} {prot}");
        }
    }

    /// Checks the kernel's labels, and that the same text on a file says nothing.
    #[test]
    fn the_kernel_labels_what_it_makes() {
        for (name, kind) in [
            ("[heap]", Kind::Heap),
            ("[stack]", Kind::MainStack),
            ("[stack:1234]", Kind::ThreadStack),
            ("[vdso]", Kind::Kernel),
            ("[vvar_vclock]", Kind::Kernel),
            ("[uprobes]", Kind::Kernel),
        ] {
            assert_eq!(kind_of(row("r--p", name)), kind, "{name}");
            let mut file = row("r--p", name);
            file.inode = 7;
            assert_eq!(kind_of(file), Kind::MappedFile, "{name}");
        }
    }
}
