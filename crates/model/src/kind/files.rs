//! Rows with a file: images, data, shared memory, devices. And what an image has beside its file: its bss.

use super::facts::{Code, Facts, FileKey, base_name, is_allocator};
use super::sheet::{Sheet, is_plain, size};
use super::{Confidence, Evidence, Kind, Why};
use vmatlas_event::{Prot, Sharing, VmaRow};

/// Claims every row that has a file.
pub(super) fn files(sheet: &mut Sheet<'_>, facts: &Facts<'_>) {
    for at in 0..sheet.rows.len() {
        let row = &sheet.rows[at];
        if let Some(key) = FileKey::of(row) {
            let (kind, confidence, why) = file_kind(row, key, facts);
            sheet.claim(at, kind, confidence, why);
        }
    }
}

fn file_kind(row: &VmaRow, key: FileKey<'_>, facts: &Facts<'_>) -> (Kind, Confidence, Why) {
    let code = facts.code(key);
    if let Some(kind) = kernel_file(row, code) {
        return (kind, Confidence::Named, Why::KernelFile);
    }
    let sure = match key {
        FileKey::Id(..) => Confidence::Evidence,
        FileKey::Path(_) => Confidence::Guess,
    };
    if facts.told && facts.program == Some(key) {
        return (Kind::Image, sure, Why::ProgramFile);
    }
    // A private mapping of /dev/zero is anonymous memory (drivers/char/mem.c:mmap_zero()); a shared one has another name.
    if row.name_bytes() == b"/dev/zero" && row.sharing == Sharing::Private {
        let kind = if row.prot.has(Prot::EXEC) { Kind::Jit } else { Kind::Anonymous };
        return (kind, sure, Why::Path);
    }
    if let Some(kind) = path_kind(row.name_bytes()) {
        // A library can be loaded from /dev/shm.
        if !(kind == Kind::Shared && code.private) {
            return (kind, sure, Why::Path);
        }
    }
    match (code.private || code.shared, key) {
        (true, _) => (Kind::Image, sure, Why::CodeFile),
        (false, FileKey::Id(..)) => (Kind::MappedFile, sure, Why::DataFile),
        (false, FileKey::Path(_)) => (Kind::MappedFile, sure, Why::PathAlone),
    }
}

/// Files that only the kernel makes, by the names it gives them.
///
/// They live on internal mounts, whose device has major 0; a file on a disk that is called `/[aio] (deleted)` has not.
/// File systems without a disk (btrfs, overlayfs, NFS) have major 0 too, so a program can still forge these names.
fn kernel_file(row: &VmaRow, code: Code) -> Option<Kind> {
    let name = row.name_bytes();
    if row.dev.major != 0 {
        return None;
    }
    // A JIT that keeps a writable and an executable view of one memfd maps it shared (.NET's doublemapper, ART's
    // jit-cache); a loader maps privately.
    let shared_kind = if code.shared && !code.private { Kind::Jit } else { Kind::Shared };
    let kind = match name {
        // mm/shmem.c:shmem_zero_setup().
        b"/dev/zero (deleted)" => shared_kind,
        // fs/aio.c:aio_private_file(), fs/hugetlbfs/inode.c:hugetlb_file_setup().
        b"/[aio] (deleted)" => Kind::Aio,
        b"/anon_hugepage (deleted)" => Kind::Huge,
        // ZGC's heap, mapped as often as it has colours (ZPhysicalMemoryBacking).
        b"/memfd:java_heap (deleted)" => Kind::ManagedHeap,
        // GPU buffers (drivers/gpu/drm/drm_gem.c, i915), dma-buf.c:dmabuffs_dname().
        b"/drm mm object (deleted)" | b"/i915 (deleted)" => Kind::Device,
        _ if name.starts_with(b"/dmabuf:") => Kind::Device,
        // fs/anon_inodes.c, net/socket.c:sockfs_dname().
        _ if name.starts_with(b"anon_inode:") || name.starts_with(b"socket:[") => Kind::Device,
        // A file-backed name can only come from prctl on shared anonymous memory (fs/proc/task_mmu.c:get_vma_name()).
        _ if name.starts_with(b"[anon_shmem:") && name.ends_with(b"]") => shared_kind,
        // mm/memfd.c; a program or library in a memfd is an image.
        _ if name.starts_with(b"/memfd:") => match code.private {
            true => return None,
            false => shared_kind,
        },
        // ipc/shm.c:newseg(): "SYSV%08x".
        _ if is_sysv(name) => shared_kind,
        _ => return None,
    };
    Some(kind)
}

fn is_sysv(name: &[u8]) -> bool {
    let Some(key) = name.strip_prefix(b"/SYSV").and_then(|n| n.strip_suffix(b" (deleted)")) else {
        return false;
    };
    key.len() == 8 && key.iter().all(u8::is_ascii_hexdigit)
}

/// What a path tells, on whatever file system it lies.
fn path_kind(path: &[u8]) -> Option<Kind> {
    const PATHS: &[(&[u8], Kind)] = &[
        (b"/dev/shm/", Kind::Shared),
        (b"/run/shm/", Kind::Shared),
        (b"/dev/ashmem", Kind::Shared),
        (b"/dev/hugepages/", Kind::Huge),
        (b"/dev/", Kind::Device),
        // PCI memory: /sys/devices/pci.../resource0.
        (b"/sys/devices/", Kind::Device),
        (b"/sys/bus/pci/", Kind::Device),
    ];
    PATHS.iter().find(|(begin, _)| path.starts_with(begin)).map(|(_, kind)| *kind)
}

/// The size up to which a library's bss is believed when the file itself is small.
const SMALL_BSS: u64 = 64 << 10;
/// The largest bss a library that replaces malloc is believed to have (libjemalloc 5.3: 2.2 MB, in a file of 0.8 MB).
const ALLOCATOR_BSS: u64 = 16 << 20;

/// Claims the bss of images: anonymous memory directly after the last writable part (fs/binfmt_elf.c:set_brk(), glibc
/// elf/dl-map-segments.h:_dl_map_segments()), and holes between two parts of one image.
///
/// The map alone does not show how large a bss is, and mmap(2) places libraries directly below older memory, which then
/// looks the same (libjsvml.so under 880 KiB of the JVM's, a Python module of 36 KiB under 2.4 MB). So a library's bss is
/// believed only in proportion to its file. Nothing lies directly above the program itself but its bss.
pub(super) fn bss(sheet: &mut Sheet<'_>, facts: &Facts<'_>) {
    let mut image: Option<(FileKey<'_>, u64)> = None;
    for at in 0..sheet.rows.len() {
        let row = &sheet.rows[at];
        if let Some(key) = FileKey::of(row) {
            image = match (sheet.kind(at), image) {
                (Some(Kind::Image), Some((same, span))) if same == key => {
                    Some((key, span.saturating_add(size(row))))
                }
                (Some(Kind::Image), _) => Some((key, size(row))),
                _ => None,
            };
            continue;
        }
        let Some((key, span)) = image else { continue };
        if !is_plain(row) || !sheet.touches_previous(at) || FileKey::of(&sheet.rows[at - 1]) != Some(key) {
            continue;
        }
        let before = &sheet.rows[at - 1];
        let inside = sheet.touches_previous(at + 1) && FileKey::of(&sheet.rows[at + 1]) == Some(key);
        if inside {
            sheet.claim(at, Kind::Image, Confidence::Evidence, Why::InsideImage);
        } else if before.prot.has(Prot::WRITE)
            && (row.prot == Prot::RW || row.prot == before.prot)
            && let Some(confidence) =
                believe_bss(size(row), span, facts.program == Some(key), before.name_bytes())
        {
            sheet.claim(at, Kind::Image, confidence, Why::Bss);
        }
    }
}

fn believe_bss(bss: u64, span: u64, program: bool, path: &[u8]) -> Option<Confidence> {
    if program || bss <= span / 4 {
        return Some(Confidence::Evidence);
    }
    let allocator = bss <= ALLOCATOR_BSS && is_allocator(base_name(path));
    (bss <= span.max(SMALL_BSS) || allocator).then_some(Confidence::Guess)
}

/// Claims the brk heap where the kernel's label was lost (a row that was predicted, not read).
pub(super) fn brk(sheet: &mut Sheet<'_>, evidence: &Evidence) {
    let Some(start) = evidence.start_brk else { return };
    let at = sheet.rows.partition_point(|row| row.range.end() <= start);
    if sheet.open_with(at, Prot::RW).is_some_and(|row| row.range.contains(start)) {
        sheet.claim(at, Kind::Heap, Confidence::Evidence, Why::StartBrk);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{kinds, kinds_of, parse};
    use super::*;

    /// Checks that kernel files are known by name only where the kernel can have made them.
    #[test]
    fn kernel_files_are_known_by_name_and_device() {
        for (name, kind) in [
            ("/dev/zero (deleted)", Kind::Shared),
            ("/memfd:x (deleted)", Kind::Shared),
            ("/memfd:q [heap] (deleted)", Kind::Shared),
            ("/memfd:java_heap (deleted)", Kind::ManagedHeap),
            ("/SYSV0052e2c1 (deleted)", Kind::Shared),
            ("/SYSV1", Kind::MappedFile),
            ("/SYSVzzzzzzzz (deleted)", Kind::MappedFile),
            ("/SYSV (deleted)", Kind::MappedFile),
            ("/[aio] (deleted)", Kind::Aio),
            ("/[aio]", Kind::MappedFile),
            ("/anon_hugepage (deleted)", Kind::Huge),
            ("anon_inode:[perf_event]", Kind::Device),
            ("anon_inode:[io_uring]", Kind::Device),
            ("socket:[12345]", Kind::Device),
            ("/dmabuf:", Kind::Device),
            ("[anon_shmem:ring]", Kind::Shared),
            ("[heap]", Kind::MappedFile),
        ] {
            assert_eq!(kinds(&format!("1000-2000 rw-s 0 00:01 7 {name}\n")), [kind], "{name}");
            let on_disk = kinds(&format!("1000-2000 rw-s 0 08:01 7 {name}\n"))[0];
            let by_path = if name.starts_with("/dev/") { Kind::Device } else { Kind::MappedFile };
            assert_eq!(on_disk, by_path, "{name} on a disk");
        }
    }

    /// Checks what paths tell: shared memory, huge pages, devices, and /dev/zero, which is all of them and none.
    #[test]
    fn paths_tell() {
        for (line, kind) in [
            ("rw-s 0 00:1b 2 /dev/shm/x (deleted)", Kind::Shared),
            ("rw-s 0 00:20 2 /dev/hugepages/x", Kind::Huge),
            ("rw-s 0 00:05 2 /dev/dri/renderD128", Kind::Device),
            ("rw-s 0 00:05 2 /dev/nvidia0", Kind::Device),
            ("rw-s 0 00:05 2 /sys/devices/pci0000:00/0000:00:02.0/resource2", Kind::Device),
            ("rw-p 0 00:05 2 /dev/zero", Kind::Anonymous),
            ("rwxp 0 00:05 2 /dev/zero", Kind::Jit),
            ("rw-p 0 08:01 2 /dev/zero", Kind::Anonymous),
            ("r--p 0 08:01 2 /developer", Kind::MappedFile),
            ("r--p 0 08:01 0 /home/x (deleted)", Kind::MappedFile),
        ] {
            assert_eq!(kinds(&format!("1000-2000 {line}\n")), [kind], "{line}");
        }
    }

    /// Checks that a file is an image in all its parts when one of them is executable, whatever its name.
    #[test]
    fn one_executable_part_makes_an_image() {
        let text = "1000-2000 r--p 0 08:01 7 /x\n2000-3000 r-xp 1000 08:01 7 /x\n9000-a000 rw-p 2000 08:01 7 /x (deleted)\n\
                    b000-c000 r--p 0 08:02 7 /x\n";
        assert_eq!(kinds(text), [Kind::Image, Kind::Image, Kind::Image, Kind::MappedFile]);
    }

    /// Checks that shared executable views are a JIT's, and that a library may lie in a memfd or in /dev/shm.
    #[test]
    fn memfd_code_is_told_by_how_it_is_mapped() {
        let jit = "1000-2000 r-xs 0 00:01 7 /memfd:doublemapper (deleted)\n\
                   5000-6000 rw-s 0 00:01 7 /memfd:doublemapper (deleted)\n";
        assert_eq!(kinds(jit), [Kind::Jit, Kind::Jit]);
        let library = "1000-2000 r-xp 0 00:01 7 /memfd:lib (deleted)\n5000-6000 rw-p 0 00:01 7 /memfd:lib (deleted)\n\
                       7000-8000 r-xp 0 00:1b 9 /dev/shm/lib.so\n";
        assert_eq!(kinds(library), [Kind::Image; 3]);
    }

    /// Checks that the program is known by identity or by path, and needs no executable part then.
    #[test]
    fn the_program_is_an_image() {
        let rows = parse("1000-2000 r--p 0 08:01 7 /bin/x\n3000-4000 r--p 0 08:01 8 /data\n");
        let mut evidence = Evidence::none(vmatlas_event::PageSize::FOUR_KIB);
        assert_eq!(kinds_of(&rows, &evidence), [Kind::MappedFile, Kind::MappedFile]);
        evidence.exe = Some((rows[0].dev, 7));
        assert_eq!(kinds_of(&rows, &evidence), [Kind::Image, Kind::MappedFile]);
        // The device that stat(2) tells differs on btrfs and some overlays.
        evidence.exe = Some((vmatlas_event::Dev { major: 0, minor: 99 }, 7));
        evidence.exe_path = b"/bin/x".to_vec();
        assert_eq!(kinds_of(&rows, &evidence), [Kind::Image, Kind::MappedFile]);
    }

    /// Checks that bss is what directly follows the last writable part, in proportion to a library's file.
    #[test]
    fn bss_belongs_to_its_image() {
        let program =
            "1000-2000 r-xp 0 08:01 7 /x\n2000-3000 rw-p 1000 08:01 7 /x\n3000-903000 rw-p 0 00:00 0\n";
        assert_eq!(kinds(program)[2], Kind::Image);
        let gap = "1000-2000 r-xp 0 08:01 7 /x\n2000-3000 rw-p 1000 08:01 7 /x\n4000-5000 rw-p 0 00:00 0\n";
        assert_eq!(kinds(gap)[2], Kind::Anonymous);
        let read_only = "1000-2000 r-xp 0 08:01 7 /x\n2000-3000 rw-p 0 00:00 0\n";
        assert_eq!(kinds(read_only)[1], Kind::Anonymous);
        let data_file =
            "1000-2000 r-xp 0 08:01 7 /x\n3000-4000 rw-p 0 08:01 8 /d\n4000-5000 rw-p 0 00:00 0\n";
        assert_eq!(kinds(data_file)[2], Kind::Anonymous);
        let library = |bytes: u64| {
            format!(
                "1000-2000 r-xp 0 08:01 6 /x\n100000-200000 r-xp 0 08:01 7 /l.so\n200000-201000 rw-p 0 08:01 7 /l.so\n\
                 201000-{:x} rw-p 0 00:00 0\n",
                0x201000 + bytes
            )
        };
        assert_eq!(kinds(&library(0x1000))[3], Kind::Image);
        assert_eq!(kinds(&library(0x100000))[3], Kind::Image);
        assert_eq!(kinds(&library(0x400000))[3], Kind::Anonymous);
        let hole = "1000-2000 r-xp 0 08:01 7 /x\n2000-3000 ---p 0 00:00 0\n3000-4000 r--p 1000 08:01 7 /x\n";
        assert_eq!(kinds(hole)[1], Kind::Image);
    }

    /// Checks that the heap is found by its start where no label says so.
    #[test]
    fn the_heap_is_found_without_its_label() {
        let rows = parse("1000-2000 r-xp 0 08:01 7 /x\n8000-9000 rw-p 0 00:00 0\nb000-c000 rw-p 0 00:00 0\n");
        let mut evidence = Evidence::none(vmatlas_event::PageSize::FOUR_KIB);
        evidence.start_brk = Some(vmatlas_event::Addr(0x8000));
        assert_eq!(kinds_of(&rows, &evidence), [Kind::Image, Kind::Heap, Kind::Anonymous]);
        evidence.start_brk = Some(vmatlas_event::Addr(0x9000));
        assert_eq!(kinds_of(&rows, &evidence), [Kind::Image, Kind::Anonymous, Kind::Anonymous]);
    }

    /// Checks that rows without device and inode, as a core file has them, are told apart by their paths.
    #[test]
    fn paths_stand_in_for_identities() {
        let text = "1000-2000 r--p 0 00:00 0 /lib/a\n2000-3000 r-xp 0 00:00 0 /lib/a\n5000-6000 r--p 0 00:00 0 /data\n";
        assert_eq!(kinds(text), [Kind::Image, Kind::Image, Kind::MappedFile]);
    }
}
