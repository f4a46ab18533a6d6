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

struct task_struct___flt {
	unsigned long min_flt, maj_flt;
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
};

/* What a task's address space has grown by since its last fault. */
struct growth {
	u32 tid;
	s32 pages;
	/* How many faults it had when that happened. */
	u64 faults;
};

struct {
	uint(type, MAP_ARRAY);
	type(key, u32);
	type(value, struct resident);
	uint(max_entries, SPACES);
} residents SEC(".maps");

struct {
	uint(type, MAP_ARRAY);
	type(key, u32);
	type(value, struct growth);
	uint(max_entries, SLOTS);
} growths SEC(".maps");

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

INLINE u64 accounted_of(struct task_struct *task)
{
	struct task_struct___flt *counts = (void *)task;

	return counts->min_flt + counts->maj_flt;
}

INLINE struct growth *growth_of(struct task_struct *task)
{
	u32 at = task->pid & (SLOTS - 1);

	return bpf_map_lookup_elem(&growths, &at);
}

INLINE struct resident *resident_of(u32 space)
{
	u32 at = space & (SPACES - 1);
	struct resident *resident = bpf_map_lookup_elem(&residents, &at);

	return resident && resident->space == space ? resident : 0;
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

/* A counter of resident pages: exact, but for what other processors are adding at this moment. */
static __attribute__((noinline)) s64 pages_of(struct mm_struct *mm, u32 kind)
{
	struct mm_struct___rss *of = (void *)mm;
	u64 counters, base;
	s64 sum;
	s32 part;

	/* A load each, where a computed place would cost a helper. */
	switch (kind) {
	case 0:
		sum = of->rss_stat[0].count;
		counters = (u64)of->rss_stat[0].counters;
		break;
	case 1:
		sum = of->rss_stat[1].count;
		counters = (u64)of->rss_stat[1].counters;
		break;
	case 2:
		sum = of->rss_stat[2].count;
		counters = (u64)of->rss_stat[2].counters;
		break;
	default:
		sum = of->rss_stat[3].count;
		counters = (u64)of->rss_stat[3].counters;
		break;
	}
	for (u32 cpu = 0; cpu < MOST_CPUS && cpu < cpus; cpu++) {
		base = base_of(cpu);
		if (!base)
			continue;
		part = 0;
		bpf_probe_read_kernel(&part, sizeof(part), (void *)(counters + base));
		sum += part;
	}
	return sum > 0 ? sum : 0;
}

/* Begins to follow the resident size of an address space: `mm` is new, or was not known. */
INLINE void begin_resident(u32 space, struct mm_struct *mm)
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
		s64 pages = pages_of(mm, kind);

		resident->now[kind] = pages;
		resident->by[BY_START] += pages;
	}
	bpf_map_update_elem(&mm_spaces, &key, &space, 0);
}

/* By so many pages a fault that is counted just now has grown an address space. */
INLINE s32 grown_at_fault(struct task_struct *task, u32 space)
{
	struct resident *resident;
	struct growth *growth;
	s32 grown = 0;

	if (!follow_resident)
		return 0;
	growth = growth_of(task);
	if (!growth || growth->tid != (u32)task->pid || !growth->pages)
		return 0;
	/* It was counted when the kernel had mapped the page, and the fault just now. */
	if (growth->faults + 1 == accounted_of(task))
		grown = growth->pages;
	resident = resident_of(space);
	if (resident)
		grown_by(resident, grown ? BY_FAULT : BY_KERNEL, growth->pages);
	growth->pages = 0;
	return grown;
}

SEC("tp_btf/rss_stat")
int on_resident(u64 *context)
{
	struct mm_struct *mm = (void *)context[0];
	struct task_struct *task = bpf_get_current_task_btf();
	struct process *process;
	struct resident *resident;
	struct growth *growth;
	struct slot *slot;
	u32 kind = (u32)context[1], cause = BY_REMOTE, *known;
	u64 key = (u64)mm, faults;
	s64 pages, before;

	if (!follow_resident || kind >= KINDS)
		return 0;
	if (task->mm == mm) {
		process = process_of(task);
		if (!process)
			return 0;
		resident = resident_of(process->space);
		if (!resident || resident->mm != key) {
			/* A new program is being put together in it: it has no number yet. */
			if (resident)
				return 0;
			begin_resident(process->space, mm);
			return 0;
		}
	} else {
		known = bpf_map_lookup_elem(&mm_spaces, &key);
		if (!known)
			return 0;
		resident = resident_of(*known);
		if (!((struct mm_struct___rss *)mm)->mm_users.counter) {
			/* Its last user has left: it is taken apart, and its size at the end stays. */
			bpf_map_delete_elem(&mm_spaces, &key);
			return 0;
		}
		if (!resident || resident->mm != key)
			return 0;
	}
	pages = pages_of(mm, kind);
	asm volatile("" : "+r"(kind));
	if (kind >= KINDS)
		return 0;
	before = __sync_lock_test_and_set(&resident->now[kind], pages);
	pages -= before;
	if (!pages)
		return 0;
	if (task->mm == mm) {
		slot = slot_of(task->pid);
		growth = growth_of(task);
		if (!growth)
			return 0;
		if (slot && slot->tid == (u32)task->pid && slot->state != SLOT_FREE) {
			cause = pages > 0 ? BY_CALL : GONE;
		} else {
			/* Whether a fault did that, its own record tells, which comes now; if not, the kernel did. */
			faults = accounted_of(task);
			if (growth->tid == (u32)task->pid && growth->faults == faults) {
				growth->pages += (s32)pages;
				return 0;
			}
			before = growth->tid == (u32)task->pid ? growth->pages : 0;
			growth->tid = task->pid;
			growth->faults = faults;
			growth->pages = (s32)pages;
			if (!before)
				return 0;
			pages = before;
			cause = BY_KERNEL;
		}
	} else if (pages < 0) {
		cause = GONE;
	}
	grown_by(resident, cause, pages);
	return 0;
}

#endif
