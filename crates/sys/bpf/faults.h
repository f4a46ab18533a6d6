/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Page faults of the watched processes: each as the kernel accounts it, and what becomes of their resident size.
 *
 * Faults come from the software events PERF_COUNT_SW_PAGE_FAULTS_MIN and _MAJ, one of each per processor. The tracepoint
 * rss_stat does not say what was added, so the counter itself is read, as the kernel's own trace does: the shared part and
 * that of each processor. Nothing of this is loaded unless faults are to be watched.
 */
#ifndef VMATLAS_FAULTS_H
#define VMATLAS_FAULTS_H

#include "maps.h"
#include "stack.h"

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

/* kernel/bpf/arraymap.c */
struct bpf_array {
	u32 elem_size;
};

struct task_struct___flt {
	unsigned long min_flt, maj_flt;
};

#pragma clang attribute pop

/* What a program of a perf event is given (arch/x86/include/uapi/asm/ptrace.h, include/uapi/linux/bpf_perf_event.h). */
struct fault_context {
	u64 r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax, ip, cs, flags, sp, ss;
	u64 period;
	u64 addr;
};

/* Two low bits of cs. */
enum { USER_MODE = 3 };

enum { FAULT_MAJOR = 1 };

struct fault {
	struct head head;
	u64 addr;
	/* 0 where the kernel touched the page. */
	u64 ip;
	/* Tells address spaces apart; means nothing else. */
	u64 mm;
	u32 bits;
	/* By so many pages the resident size has grown meanwhile. */
	s32 grown;
};

/* A task ends, or has executed a program: what the kernel has accounted to it. */
struct accounted {
	struct head head;
	u64 faults;
	u64 is_exec;
};

enum { KINDS = 4, MOST_CPUS = 256 };
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
	uint(type, MAP_RINGBUF);
	uint(max_entries, 1 << 12);
} fault_ring SEC(".maps");

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

/* See base_of(). */
struct {
	uint(type, MAP_PERCPU_ARRAY);
	type(key, u32);
	type(value, u64);
	uint(max_entries, 1);
} anchors SEC(".maps"), numbers SEC(".maps");

struct {
	uint(type, MAP_ARRAY);
	type(key, u32);
	type(value, u64);
	uint(max_entries, MOST_CPUS);
} bases SEC(".maps");

/* Told and lost; ends whose sums found no room; sizes that another address space with their place took over. */
enum { FAULTS_TOLD, FAULTS_LOST, FAULTS_UNACCOUNTED, RESIDENTS_OVERWRITTEN, FAULT_COUNTS };

struct {
	uint(type, MAP_ARRAY);
	type(key, u32);
	type(value, u64);
	uint(max_entries, FAULT_COUNTS);
} fault_counts SEC(".maps");

/* Set before loading: whether faults are watched, and whether resident sizes can be followed, on so many processors; above what of the ring to wake. */
const volatile u32 follow_faults = 0;
const volatile u32 follow_resident = 0;
const volatile u32 cpus = 1;
const volatile u64 wake_faults_above = ~0ULL;

static void *(*bpf_map_lookup_percpu_elem)(void *map, const void *key, u32 cpu) = (void *)195;

INLINE u64 next_fault(u32 which)
{
	u64 *value = bpf_map_lookup_elem(&fault_counts, &which);

	return value ? __sync_fetch_and_add(value, 1) + 1 : 0;
}

INLINE u64 wake_for_faults(void)
{
	return bpf_ringbuf_query(&fault_ring, RB_AVAIL_DATA) > wake_faults_above ? RB_FORCE_WAKEUP : RB_NO_WAKEUP;
}

/* `lost` is what counts it where there is no room for it. */
INLINE void emit_fault(void *record, u64 size, u32 lost)
{
	if (bpf_ringbuf_output(&fault_ring, record, size, wake_for_faults()))
		next_fault(lost);
}

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

/*
 * A pointer as a number: the verifier forgets what it read back from a map.
 */
INLINE u64 number_of(const void *pointer)
{
	u32 zero = 0;
	volatile u64 *room = bpf_map_lookup_elem(&numbers, &zero);

	if (!room)
		return 0;
	*room = (u64)pointer;
	return *room;
}

/*
 * Where a processor's own variables lie. The kernel's table of that is out of reach, but a map that has a value for each
 * processor tells it: the place of one such value, less what the kernel calls it by, which the map keeps.
 */
INLINE u64 base_of(u32 cpu)
{
	u32 zero = 0;
	u64 *base, map, name = 0;
	void *place;

	if (cpu >= MOST_CPUS)
		return 0;
	base = bpf_map_lookup_elem(&bases, &cpu);
	if (!base)
		return 0;
	if (*base)
		return *base;
	place = bpf_map_lookup_percpu_elem(&anchors, &zero, cpu);
	if (!place)
		return 0;
	/* Behind the map lie the names of its values. */
	map = number_of(&anchors) + __builtin_preserve_type_info(*(struct bpf_array *)0, 1);
	if (bpf_probe_read_kernel(&name, sizeof(name), (void *)map) || !name)
		return 0;
	return *base = number_of(place) - name;
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

INLINE void tell_accounted(struct task_struct *task, u32 space, u64 is_exec)
{
	struct accounted record = {};

	if (!follow_faults)
		return;
	begin(&record.head, KIND_ACCOUNTED, task, space, 0);
	record.faults = accounted_of(task);
	record.is_exec = is_exec;
	emit_fault(&record, sizeof(record), FAULTS_UNACCOUNTED);
}

/* Tells a fault with its stack, as emit_with_stack() does a call; not 0 where there is no room for it. */
INLINE long emit_fault_with_stack(void *context, struct task_struct *task, struct fault *record)
{
	struct pt_regs *regs = bpf_task_pt_regs(task);
	struct stack_room *room = stack_room();
	struct stack *stack;
	u64 size;
	long got;

	if (!room)
		return 1;
	__builtin_memcpy(room->bytes, record, sizeof(*record));
	stack = (void *)&room->bytes[sizeof(*record)];
	stack->how = stack_how;
	take_registers(stack, regs);
	stack->holes = 0;
	if (stack_how == STACK_CHAIN) {
		u8 *at = &room->bytes[sizeof(*record) + sizeof(*stack)];

		got = bpf_probe_read_user(at, TOP_BYTES, (void *)(regs->sp & ~7ULL));
		stack->copied = got ? 0 : TOP_BYTES;
		got = bpf_get_stack(context, at + TOP_BYTES, CHAIN_BYTES, F_USER_STACK);
		size = TOP_BYTES + (got > 0 ? got : 0);
	} else {
		size = stack->is_32 ? 0 : copy_stack(room, sizeof(*record) + sizeof(*stack), task, regs->sp);
		stack->copied = size;
		stack->holes = room->holes;
	}
	size += sizeof(*record) + sizeof(*stack);
	BOUNDED(size, sizeof(room->bytes));
	return bpf_ringbuf_output(&fault_ring, room->bytes, size, wake_for_faults());
}

INLINE int fault(struct fault_context *context, u32 bits)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct process *process = process_of(task);
	struct resident *resident;
	struct growth *growth;
	struct fault record;

	if (!process)
		return 0;
	begin(&record.head, KIND_FAULT, task, process->space, next_fault(FAULTS_TOLD));
	record.addr = context->addr;
	record.ip = (context->cs & USER_MODE) == USER_MODE ? context->ip : 0;
	record.mm = (u64)task->mm;
	record.bits = bits;
	record.grown = 0;
	if (follow_resident) {
		growth = growth_of(task);
		if (growth && growth->tid == (u32)task->pid && growth->pages) {
			/* It was counted when the kernel had mapped the page, and the fault just now. */
			if (growth->faults + 1 == accounted_of(task))
				record.grown = growth->pages;
			resident = resident_of(process->space);
			if (resident)
				grown_by(resident, record.grown ? BY_FAULT : BY_KERNEL, growth->pages);
			growth->pages = 0;
		}
	}
	/* Where the ring is nearly full stacks are lost first. */
	if (stack_how == STACK_NONE || emit_fault_with_stack(context, task, &record))
		emit_fault(&record, sizeof(record), FAULTS_LOST);
	return 0;
}

SEC("perf_event")
int on_minor(struct fault_context *context)
{
	return fault(context, 0);
}

SEC("perf_event")
int on_major(struct fault_context *context)
{
	return fault(context, FAULT_MAJOR);
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
