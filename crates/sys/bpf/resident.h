/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What becomes of the resident sizes of the watched processes, and by what. The tracepoint rss_stat does not say what was
 * added, so the counter itself is read, as the kernel's own trace does: the shared part and that of each processor.
 */
#ifndef VMATLAS_RESIDENT_H
#define VMATLAS_RESIDENT_H

#include "maps.h"
#include "percpu.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

/* include/linux/percpu_counter.h */
struct percpu_counter {
	s64 count;
	s32 *counters;
};

typedef struct {
	int counter;
} atomic_t;

/* The fields of an mm_struct that matter here; since Linux 6.2 the counters are such ones. */
struct mm_struct___rss {
	atomic_t mm_users;
	struct percpu_counter rss_stat[4];
};

#pragma clang attribute pop

enum { KINDS = 4 };
/* What a resident size has grown by: user space has the same order. */
enum { BY_START, BY_FAULT, BY_CALL, BY_KERNEL, BY_REMOTE, GONE, CAUSES };

/* The resident size of the address spaces with this number, modulo SPACES, in pages. */
struct resident {
	u32 space;
	u32 unused;
	u64 mm;
	s64 now[KINDS];
	s64 by[CAUSES];
	/* Which processor has changed a counter last, plus one. */
	u32 last[KINDS];
};

/* What all other processors had of the counters when this one began to be the last to change them. */
struct others {
	u32 space[KINDS];
	s64 pages[KINDS];
};

enum { OTHERS = 256 };

struct {
	uint(type, MAP_ARRAY);
	type(key, u32);
	type(value, struct resident);
	uint(max_entries, SPACES);
} residents SEC(".maps");

struct {
	uint(type, MAP_PERCPU_ARRAY);
	type(key, u32);
	type(value, struct others);
	uint(max_entries, OTHERS);
} others SEC(".maps");

/* Which address space a memory map of the kernel is. */
struct {
	uint(type, MAP_HASH);
	type(key, u64);
	type(value, u32);
	uint(max_entries, SPACES);
} mm_spaces SEC(".maps");

/* Set before loading: whether resident sizes can be followed, on so many processors. */
const volatile u32 follow_resident = 0;
const volatile u32 cpus = 1;

/* Set before loading: whether faults are told when they begin, by tracepoints, or when they have ended. */
const volatile u32 faults_at_begin = 0;

INLINE u64 accounted_of(struct task_struct *task)
{
	return task->min_flt + task->maj_flt;
}

INLINE struct resident *resident_of(u32 space)
{
	u32 at = space & (SPACES - 1);
	struct resident *resident = bpf_map_lookup_elem(&residents, &at);

	/* A place that nobody has used yet would be that of the address space with the number 0. */
	return resident && resident->mm && resident->space == space ? resident : 0;
}

INLINE void grown_by(struct resident *resident, u32 cause, s64 pages)
{
	/* Said to the verifier once more, as BOUNDED does. */
	asm volatile("" : "+r"(cause));
	if (cause < CAUSES)
		__sync_fetch_and_add(&resident->by[cause], pages);
}

/* Whether this kernel counts so. */
INLINE int has_counters(void)
{
	return __builtin_preserve_field_info(((struct mm_struct___rss *)0)->rss_stat, 1)
	       == KINDS * __builtin_preserve_type_info(*(struct percpu_counter *)0, 1);
}

/* A counter of resident pages, where its parts of each processor lie and the part that all share. */
INLINE u64 parts_of(struct mm_struct *mm, u32 kind, s64 *shared)
{
	struct mm_struct___rss *of = (void *)mm;

	/* A load each, where a computed place would cost a helper. */
	switch (kind) {
	case 0:
		*shared = of->rss_stat[0].count;
		return (u64)of->rss_stat[0].counters;
	case 1:
		*shared = of->rss_stat[1].count;
		return (u64)of->rss_stat[1].counters;
	case 2:
		*shared = of->rss_stat[2].count;
		return (u64)of->rss_stat[2].counters;
	default:
		*shared = of->rss_stat[3].count;
		return (u64)of->rss_stat[3].counters;
	}
}

/* The part of one processor. */
INLINE s64 part_of(u64 parts, u32 cpu)
{
	u64 base = base_of(cpu);
	s32 part = 0;

	if (base)
		bpf_probe_read_kernel(&part, sizeof(part), (void *)(parts + base));
	return part;
}

/* The parts of all processors but one. */
static __attribute__((noinline)) s64 parts_but(u64 parts, u32 but)
{
	s64 sum = 0;

	for (u32 cpu = 0; cpu < MOST_CPUS && cpu < cpus; cpu++)
		if (cpu != but)
			sum += part_of(parts, cpu);
	return sum;
}

/*
 * So many pages there are of a kind: exact, but for what other processors are adding at this moment. A change is told on the
 * processor that makes it. So where the same one changes a counter again, the parts of the others are what they were, and are
 * not read: there may be hundreds. (Both sides have a full barrier between a part and `last`.)
 */
INLINE s64 pages_of(struct resident *resident, struct mm_struct *mm, u32 kind)
{
	u32 cpu = bpf_get_smp_processor_id(), at = resident->space & (OTHERS - 1), last;
	struct others *others_of = bpf_map_lookup_elem(&others, &at);
	s64 shared, rest, sum;
	u64 parts;

	asm volatile("" : "+r"(kind));
	if (kind >= KINDS || !others_of)
		return 0;
	last = __sync_lock_test_and_set(&resident->last[kind], cpu + 1);
	parts = parts_of(mm, kind, &shared);
	if (last == cpu + 1 && others_of->space[kind] == resident->space) {
		rest = others_of->pages[kind];
	} else {
		rest = parts_but(parts, cpu);
		others_of->space[kind] = resident->space;
		others_of->pages[kind] = rest;
	}
	sum = shared + rest + part_of(parts, cpu);
	return sum > 0 ? sum : 0;
}

/* By how much a counter has changed since it was read last. */
INLINE s64 change_of(struct resident *resident, struct mm_struct *mm, u32 kind)
{
	s64 pages = pages_of(resident, mm, kind);

	asm volatile("" : "+r"(kind));
	if (kind >= KINDS)
		return 0;
	return pages - __sync_lock_test_and_set(&resident->now[kind], pages);
}

/* Begins to follow the resident size of an address space: `mm` is new, or was not known. */
static __attribute__((noinline)) void begin_resident(u32 space, struct mm_struct *mm)
{
	u32 at = space & (SPACES - 1);
	u64 key = (u64)mm;
	struct resident *resident;
	u64 former;
	u32 *living;

	if (!follow_resident || !mm || !has_counters())
		return;
	resident = bpf_map_lookup_elem(&residents, &at);
	if (!resident)
		return;
	/* Numbers share places: where the other one lives still, nobody knows its size any more. */
	former = resident->mm;
	if (former && former != key && resident->space != space) {
		living = bpf_map_lookup_elem(&mm_spaces, &former);
		if (living && *living == resident->space)
			next_fault(RESIDENTS_OVERWRITTEN);
	}
	__builtin_memset(resident, 0, sizeof(*resident));
	resident->space = space;
	resident->mm = key;
	for (u32 kind = 0; kind < KINDS; kind++) {
		s64 pages = pages_of(resident, mm, kind);

		resident->now[kind] = pages;
		resident->by[BY_START] += pages;
	}
	bpf_map_update_elem(&mm_spaces, &key, &space, 0);
}

/* By so many pages a fault that is counted just now has grown an address space. */
INLINE void grown_at_fault(struct task_struct *task, struct slot *slot)
{
	struct resident *resident;

	if (!follow_resident || !slot->grown)
		return;
	resident = resident_of(slot->space);
	/* It was counted when the kernel had mapped the page, and the fault just now. */
	if (resident)
		grown_by(resident, slot->faults + 1 == accounted_of(task) ? BY_FAULT : BY_KERNEL, slot->grown);
	slot->grown = 0;
}

/* Somebody else changes an address space, or it is taken apart. */
static __attribute__((noinline)) void changed_by_others(struct mm_struct *mm, u32 kind)
{
	struct resident *resident;
	u64 key = (u64)mm;
	s64 pages;
	u32 *known = bpf_map_lookup_elem(&mm_spaces, &key);

	if (!known)
		return;
	resident = resident_of(*known);
	if (!((struct mm_struct___rss *)mm)->mm_users.counter) {
		/* Its last user has left: its size at the end stays. */
		bpf_map_delete_elem(&mm_spaces, &key);
		return;
	}
	if (!resident || resident->mm != key)
		return;
	pages = change_of(resident, mm, kind);
	if (pages)
		grown_by(resident, pages < 0 ? GONE : BY_REMOTE, pages);
}

SEC("tp_btf/rss_stat")
int on_resident(u64 *context)
{
	struct mm_struct *mm = (void *)context[0];
	struct task_struct *task = bpf_get_current_task_btf();
	struct process *process;
	struct resident *resident;
	struct slot *slot;
	u32 kind = (u32)context[1], space;
	int is_placed = 1;
	u64 faults;
	s64 pages;
	s32 before;

	if (!follow_resident || kind >= KINDS)
		return 0;
	if (task->mm != mm) {
		changed_by_others(mm, kind);
		return 0;
	}
	slot = slot_of(task->pid);
	if (!slot)
		return 0;
	if (is_known(slot, task)) {
		space = slot->space;
	} else {
		process = process_of(task);
		if (!process)
			return 0;
		is_placed = !note(slot, task, process);
		space = process->space;
	}
	resident = resident_of(space);
	if (!resident) {
		begin_resident(space, mm);
		return 0;
	}
	/* A new program is being put together in it: it has no number yet. */
	if (resident->mm != (u64)mm)
		return 0;
	pages = change_of(resident, mm, kind);
	if (!pages)
		return 0;
	/* One that has no place cannot wait for the word of a fault. */
	if (!is_placed) {
		grown_by(resident, BY_KERNEL, pages);
		return 0;
	}
	if (is_in_call(slot)) {
		grown_by(resident, pages > 0 ? BY_CALL : GONE, pages);
		return 0;
	}
	if (faults_at_begin) {
		/* A fault is accounted when all is done: so one is under way, and has done that, or the kernel has without one. */
		grown_by(resident, slot->fault && slot->faults == accounted_of(task) ? BY_FAULT : BY_KERNEL, pages);
		return 0;
	}
	/* Whether a fault did that, its own record tells, which comes now; if not, the kernel did. */
	faults = accounted_of(task);
	before = slot->grown;
	if (before && slot->faults != faults) {
		grown_by(resident, BY_KERNEL, before);
		before = 0;
	}
	slot->faults = faults;
	slot->grown = before + (s32)pages;
	return 0;
}

#endif
