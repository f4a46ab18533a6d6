/* SPDX-License-Identifier: MIT OR Apache-2.0

   Our own code, under the licences of vmatlas. It takes the place of tools/testing/vma/vma.c when the kernel's tests of
   mm/vma.c are built, from a kernel tree that you bring. The kernel is GPL: what comes out of that build is for this
   test alone, and is never shipped.

   One address space of private anonymous memory. Reads one operation a line, START and LEN in hexadecimal and whole
   pages, answers each with one line: its result (0 or a negative error number), then every VMA as START-END PROT.

     map START LEN PROT        mmap(2) with MAP_FIXED         lock, unlock START LEN     mlock(2), munlock(2)
     unmap START LEN           munmap(2)                      hide, show START LEN       MADV_DONTDUMP, MADV_DODUMP
     protect START LEN PROT    mprotect(2)                    seal START LEN             mseal(2)
     resize START LEN NEW      mremap(2) without flags: NEW is the new length
     move START LEN NEW TO     mremap(2) with MREMAP_MAYMOVE and MREMAP_FIXED
     touch START LEN           a write to every VMA there that allows it
     fork                      from now on it is the child of a fork(2)
     reset                     nothing is mapped any more; also writes out all answers

   What merges and what is cut is decided by the kernel's own code. Which flags a call sets and what it refuses, mm/vma.c
   leaves to its callers: those rules of Linux 6.12 are here in our own words. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "maple-shared.h"

/* The harness has no chains of anon_vmas to speak of: with them come the true restrictions on merges. */
#define anon_vma_clone anon_vma_clone_of_harness
#include "vma_internal.h"
#undef anon_vma_clone

/* Of bits that the harness of 6.12 does not name. */
#ifndef VM_MAYEXEC
#define VM_MAYEXEC 0x40ul
#endif
#ifndef VM_SEALED
#define VM_SEALED (1ul << 63)
#endif
#ifndef CONFIG_64BIT
#error "build it with CFLAGS=-DCONFIG_64BIT: memory is sealed, and nodes have their true size, with that alone"
#endif
#ifndef VM_DONTDUMP
#define VM_DONTDUMP 0x04000000ul
#endif

static int anon_vma_clone(struct vm_area_struct *to, struct vm_area_struct *from);
static void release(struct vm_area_struct *vma);
#define vm_area_free release

/* No VMA of ours has operations, so there is nothing to call. The harness of 6.12 misses it. */
static inline void vma_close(struct vm_area_struct *vma) { (void)vma; }

#include "../../../mm/vma.c"

#undef vm_area_free

const struct vm_operations_struct vma_dummy_vm_ops;

static struct mm_struct space;
static struct task_struct task = { .comm = "vma", .pid = 1, .mm = &space };
struct task_struct *get_current(void) { return &task; }

static void die(const char *why) {
    fflush(stdout);
    fprintf(stderr, "%s\n", why);
    exit(2);
}

static void *zeroed(size_t size) {
    void *memory = calloc(1, size);
    if (!memory) die("no memory");
    return memory;
}

/* Who else holds an anon_vma is not counted: all of them stay until the reset. */
static struct kept { struct anon_vma anon; struct kept *before; } *all_kept;

static struct anon_vma *new_anon_vma(void) {
    struct kept *kept = zeroed(sizeof *kept);
    kept->before = all_kept;
    all_kept = kept;
    return &kept->anon;
}

static void chain(struct vm_area_struct *vma, struct anon_vma *anon) {
    struct anon_vma_chain *link = zeroed(sizeof *link);
    link->anon_vma = anon;
    list_add(&link->same_vma, &vma->anon_vma_chain);
}

static int anon_vma_clone(struct vm_area_struct *to, struct vm_area_struct *from) {
    struct anon_vma_chain *link;
    list_for_each_entry(link, &from->anon_vma_chain, same_vma) chain(to, link->anon_vma);
    return 0;
}

static void release(struct vm_area_struct *vma) {
    struct anon_vma_chain *link, *next;
    list_for_each_entry_safe(link, next, &vma->anon_vma_chain, same_vma) free(link);
    __vm_area_free(vma);
}

/* The callers of mm/vma.c count pages by what they allow, and it complains of more pages gone than there were. */
static void count(const struct vm_area_struct *vma, unsigned long start, unsigned long end, int sign) {
    vm_stat_account(&space, vma->vm_flags, sign * (long)((end - start) >> PAGE_SHIFT));
}

static unsigned long least(unsigned long a, unsigned long b) { return a < b ? a : b; }

/* The first VMA that ends above an address. */
static struct vm_area_struct *above(unsigned long address) {
    struct vm_area_struct *before;
    return find_vma_prev(&space, address, &before);
}

static int unmap(unsigned long start, unsigned long len) {
    VMA_ITERATOR(at, &space, start);
    return do_vmi_munmap(&at, &space, start, len, NULL, false);
}

static int map(unsigned long start, unsigned long len, unsigned long prot) {
    /* Memory that may be written is charged for, and the charge is a flag that must be equal for a merge. */
    unsigned long flags = prot | VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC | (prot & VM_WRITE ? VM_ACCOUNT : 0);
    int refused = unmap(start, len);
    if (refused) return refused;

    VMA_ITERATOR(at, &space, start);
    VMG_STATE(merge, &space, &at, start, start + len, flags, start >> PAGE_SHIFT);
    merge.next = vma_iter_next_rewind(&at, &merge.prev);
    struct vm_area_struct *vma = vma_merge_new_range(&merge);
    if (vma) {
        count(vma, start, start + len, 1);
        return 0;
    }
    if (merge.state != VMA_MERGE_NOMERGE) die("a merge failed");

    vma = vm_area_alloc(&space);
    if (!vma) die("no memory");
    vma_set_range(vma, start, start + len, start >> PAGE_SHIFT);
    vma->__vm_flags = flags;
    vma->vm_ops = NULL;
    if (vma_link(&space, vma)) die("no memory");
    count(vma, start, start + len, 1);
    return 0;
}

/* What a call does to the flags of a VMA. */
struct what {
    unsigned long set, clear;
    /* mprotect(2): charges or gives back, and is refused where memory is sealed. */
    bool protects;
};

static unsigned long flags_after(const struct vm_area_struct *vma, const struct what *what) {
    unsigned long flags = (vma->vm_flags & ~what->clear) | what->set;
    if (!what->protects) return flags;
    if (flags & VM_WRITE) return vma->vm_flags & VM_WRITE ? flags : flags | VM_ACCOUNT;
    /* What was never written to costs nothing once it cannot be written to. */
    return vma->anon_vma ? flags : flags & ~VM_ACCOUNT;
}

/* Changes the flags of what is mapped from start to end; at a hole it stops, or goes on and tells. */
static int change(unsigned long start, unsigned long end, const struct what *what, bool stops_at_hole) {
    int result = 0;
    while (start < end) {
        struct vm_area_struct *before, *vma = find_vma_prev(&space, start, &before);
        if (!vma || vma->vm_start > start) {
            result = -ENOMEM;
            if (stops_at_hole || !vma || vma->vm_start >= end) return result;
            start = vma->vm_start;
            continue;
        }
        if (what->protects && vma->vm_flags & VM_SEALED) return -EPERM;
        unsigned long stop = least(vma->vm_end, end), flags = flags_after(vma, what);
        if (flags != vma->vm_flags) {
            VMA_ITERATOR(at, &space, start);
            vma_iter_load(&at);
            count(vma, start, stop, -1);
            vma = vma_modify_flags(&at, start > vma->vm_start ? vma : before, vma, start, stop, flags);
            if (IS_ERR(vma)) die("a change failed");
            vma->__vm_flags = flags;
            count(vma, start, stop, 1);
        }
        start = stop;
    }
    return result;
}

/* Refuses all of it where there is a hole, before anything is changed. */
static int seal(unsigned long start, unsigned long end) {
    for (unsigned long at = start; at < end;) {
        struct vm_area_struct *vma = above(at);
        if (!vma || vma->vm_start > at) return -ENOMEM;
        at = vma->vm_end;
    }
    struct what what = { .set = VM_SEALED };
    return change(start, end, &what, true);
}

/* The VMA that holds all of a range; mremap(2) takes no more than one, and none that is sealed. */
static struct vm_area_struct *holder(unsigned long start, unsigned long len, int *refused) {
    struct vm_area_struct *vma = above(start);
    *refused = 0;
    if (!vma || vma->vm_start > start) *refused = -EFAULT;
    else if (vma->vm_flags & VM_SEALED) *refused = -EPERM;
    else if (vma->vm_end - start < len) *refused = -EFAULT;
    return *refused ? NULL : vma;
}

static int resize(unsigned long start, unsigned long len, unsigned long new_len) {
    int refused;
    struct vm_area_struct *vma, *next;
    /* What it shrinks by is unmapped, whatever is there; only that something is at its start is seen to. */
    if (new_len <= len) {
        if (!holder(start, 0, &refused) || new_len == len) return refused;
        return unmap(start + new_len, len - new_len);
    }
    vma = holder(start, len, &refused);
    if (!vma) return refused;
    next = above(vma->vm_end);
    if (start + len != vma->vm_end || (next && next->vm_start < start + new_len)) return -ENOMEM;
    VMA_ITERATOR(at, &space, vma->vm_end);
    vma = vma_merge_extend(&at, vma, new_len - len);
    if (!vma) die("an extension failed");
    count(vma, start + len, start + new_len, 1);
    return 0;
}

static int move(unsigned long start, unsigned long len, unsigned long new_len, unsigned long to) {
    int refused;
    bool unused;
    if (!holder(start, 0, &refused)) return refused;
    if (start < to + new_len && to < start + len) return -EINVAL;
    refused = unmap(to, new_len);
    if (!refused && new_len < len) {
        refused = unmap(start + new_len, len - new_len);
        len = new_len;
    }
    if (refused) return refused;
    struct vm_area_struct *copy, *vma = holder(start, len, &refused);
    if (!vma) return refused;
    /* Pages keep the offset they were made with, and only what goes on from it merges. */
    unsigned long offset = vma->vm_pgoff + ((start - vma->vm_start) >> PAGE_SHIFT);
    copy = copy_vma(&vma, to, new_len, offset, &unused, false);
    if (!copy) die("a copy failed");
    count(copy, to, to + new_len, 1);
    return unmap(start, len);
}

static void touch(unsigned long start, unsigned long end) {
    for (struct vm_area_struct *vma; (vma = above(start)) && vma->vm_start < end; start = vma->vm_end) {
        if (vma->anon_vma || !(vma->vm_flags & VM_WRITE)) continue;
        struct anon_vma *anon = find_mergeable_anon_vma(vma);
        vma->anon_vma = anon ? anon : new_anon_vma();
        chain(vma, vma->anon_vma);
    }
}

/* A child has anon_vmas of its own beside those it got, and no locked memory. */
static void become_child(void) {
    struct vm_area_struct *vma;
    VMA_ITERATOR(at, &space, 0);
    for_each_vma(at, vma) {
        vma->__vm_flags &= ~(unsigned long)VM_LOCKED;
        if (!vma->anon_vma) continue;
        vma->anon_vma = new_anon_vma();
        chain(vma, vma->anon_vma);
    }
}

/* As the kernel's: with gaps noted, and locked by others. A tree that locks itself would unlock what nobody locked. */
static void start_empty(void) {
    memset(&space, 0, sizeof space);
    mt_init_flags(&space.mm_mt, MT_FLAGS_ALLOC_RANGE | MT_FLAGS_LOCK_EXTERN);
}

static void reset(void) {
    struct vm_area_struct *vma;
    VMA_ITERATOR(at, &space, 0);
    for_each_vma(at, vma) release(vma);
    __mt_destroy(&space.mm_mt);
    start_empty();
    while (all_kept) {
        struct kept *before = all_kept->before;
        free(all_kept);
        all_kept = before;
    }
}

static int operate(const char *name, unsigned long start, unsigned long len, unsigned long third, unsigned long to) {
    const struct { const char *name; struct what what; bool stops_at_hole; } changes[] = {
        { "protect", { third, VM_ACCESS_FLAGS, true }, true },
        { "lock", { VM_LOCKED, 0, false }, true },
        { "unlock", { 0, VM_LOCKED, false }, true },
        { "hide", { VM_DONTDUMP, 0, false }, false },
        { "show", { 0, VM_DONTDUMP, false }, false },
    };
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++)
        if (!strcmp(name, changes[i].name))
            return change(start, start + len, &changes[i].what, changes[i].stops_at_hole);
    if (!strcmp(name, "map")) return map(start, len, third);
    if (!strcmp(name, "unmap")) return unmap(start, len);
    if (!strcmp(name, "resize")) return resize(start, len, third);
    if (!strcmp(name, "move")) return move(start, len, third, to);
    if (!strcmp(name, "seal")) return seal(start, start + len);
    if (!strcmp(name, "touch")) touch(start, start + len);
    else if (!strcmp(name, "fork")) become_child();
    else if (!strcmp(name, "reset")) reset();
    else die("no such operation");
    return 0;
}

int main(void) {
    char line[128], name[16];
    maple_tree_init();
    start_empty();
    while (fgets(line, sizeof line, stdin)) {
        unsigned long start = 0, len = 0, third = 0, to = 0;
        if (sscanf(line, "%15s %lx %lx %lx %lx", name, &start, &len, &third, &to) < 1) die("no operation");
        int vmas = 0, result = operate(name, start, len, third, to);
        struct vm_area_struct *vma;
        VMA_ITERATOR(at, &space, 0);
        printf("%d", result);
        for_each_vma(at, vma) {
            printf(" %lx-%lx %lx", vma->vm_start, vma->vm_end, (unsigned long)(vma->vm_flags & VM_ACCESS_FLAGS));
            vmas++;
        }
        putchar('\n');
        if (vmas != space.map_count) die("the count of VMAs is wrong");
        if (!strcmp(name, "reset")) fflush(stdout);
    }
    reset();
    return 0;
}
