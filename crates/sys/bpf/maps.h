/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What the programs and user space share. */
#ifndef VMATLAS_MAPS_H
#define VMATLAS_MAPS_H

#include "kernel.h"
#include "record.h"

/* A process that is watched, by its PID (the kernel's tgid). */
struct process {
	u32 space;
	/* PROCESS_*. */
	u32 flags;
	/* When it started, which tells it from a later one with its number; 0 until it was first seen. */
	u64 started;
};

/* Children with a map of their own are watched too. */
enum { PROCESS_FOLLOW = 1 };

/* What is known of a task, and whether it is in a call: there is one for each number of a task, modulo SLOTS. */
struct slot {
	u32 tid;
	/* SLOT_*. */
	u32 state;
	/* Its address space, so that its process is looked for once; it holds as long as nobody was taken in or left out since. */
	u32 space;
	u32 known;
	u64 entered;
	/* The number it got under the lock; 0 where it did not take it for writing (yet). */
	u64 order;
	/* How many faults had been accounted to it: where they are told when they begin, at the beginning of the last one that
	 * was told; else when its address space has grown last. */
	u64 faults;
	/* By so many pages it has grown, outside of calls, since the last fault that was told when it had ended. */
	s32 grown;
	/* When it started, the lower half: a later task with its number is another one. */
	u32 started;
	/* FAULT_*: of the last fault that was told when it began. */
	u32 fault;
	u32 unused;
};

/* What became of it was told; was not told yet; the same, and it began in the kernel: in a system call, mostly. */
enum { FAULT_SETTLED, FAULT_OF_PROGRAM, FAULT_OF_KERNEL };

/* NEW: nothing is known of its calls, for none of them was entered since it has the place. */
enum { SLOT_FREE, SLOT_CALL, SLOT_FORK, SLOT_NEW };
enum { SLOTS = 1 << 16, SPACES = 1 << 12 };

/* Which of the address spaces with this number, modulo SPACES, was changed last, and by which call. */
struct space {
	u32 space;
	u32 unused;
	u64 last;
};

/* User space counts how often it has changed who is watched. */
enum { COUNT_ORDER, COUNT_LOST, COUNT_SPACES, COUNT_UNTRACKED, COUNT_CHOICES, COUNTS };

struct file_key {
	u64 name;
	u64 inode;
	u32 dev;
	u32 is_deleted;
};

struct {
	uint(type, MAP_RINGBUF);
	uint(max_entries, 1 << 23);
} ring SEC(".maps");

struct {
	uint(type, MAP_HASH);
	type(key, u32);
	type(value, struct process);
	uint(max_entries, 1 << 14);
} processes SEC(".maps");

struct {
	uint(type, MAP_ARRAY);
	type(key, u32);
	type(value, struct slot);
	uint(max_entries, SLOTS);
} slots SEC(".maps");

struct {
	uint(type, MAP_ARRAY);
	type(key, u32);
	type(value, struct space);
	uint(max_entries, SPACES);
} spaces SEC(".maps");

struct {
	uint(type, MAP_ARRAY);
	type(key, u32);
	type(value, u64);
	uint(max_entries, COUNTS);
} counts SEC(".maps");

/* Told and lost; ends whose sums found no room; sizes that another address space with their place took over; words of what has
 * become of a fault that found no room. */
enum { FAULTS_TOLD, FAULTS_LOST, FAULTS_UNACCOUNTED, RESIDENTS_OVERWRITTEN, FAULTS_UNSETTLED, FAULT_COUNTS };

struct {
	uint(type, MAP_ARRAY);
	type(key, u32);
	type(value, u64);
	uint(max_entries, FAULT_COUNTS);
} fault_counts SEC(".maps");

/* Names that were told. */
struct {
	uint(type, MAP_LRU_HASH);
	type(key, struct file_key);
	type(value, u32);
	uint(max_entries, 1 << 14);
} told SEC(".maps");

/*
 * Records are put together in these; the exit of a call, an exec and the making of a name are never in each other's way.
 * How far a loop has come is kept here too: what lies in a map the verifier takes for anything, and so looks at a loop once.
 */
struct call_room {
	struct call call;
	/* The next address, where to end, and so many rows. */
	u64 pos, end;
	u32 count;
};

enum { PLACES = 6 };

struct exec_room {
	struct exec exec;
	/* From where VMAs are looked for, upwards and then downwards: which place, which way, at which address, so many rows. */
	u64 places[PLACES];
	u64 pos;
	u32 which, is_down, count;
};

struct name_room {
	struct name name;
	/* A path on its way up to the root of the mount namespace. */
	u64 dentry, mount;
	u32 size;
};

struct {
	uint(type, MAP_PERCPU_ARRAY);
	type(key, u32);
	type(value, struct call_room);
	uint(max_entries, 1);
} call_rooms SEC(".maps");

struct {
	uint(type, MAP_PERCPU_ARRAY);
	type(key, u32);
	type(value, struct exec_room);
	uint(max_entries, 1);
} exec_rooms SEC(".maps");

struct {
	uint(type, MAP_PERCPU_ARRAY);
	type(key, u32);
	type(value, struct name_room);
	uint(max_entries, 1);
} name_rooms SEC(".maps");

INLINE u64 *count(u32 which)
{
	return bpf_map_lookup_elem(&counts, &which);
}

INLINE void add_one(u32 which)
{
	u64 *value = count(which);

	if (value)
		__sync_fetch_and_add(value, 1);
}

/* The next number of a record. */
INLINE u64 next_order(void)
{
	u64 *value = count(COUNT_ORDER);

	return value ? __sync_fetch_and_add(value, 1) + 1 : 0;
}

/* The next number of a page fault, or one more of what else is counted of them. */
INLINE u64 next_fault(u32 which)
{
	u64 *value = bpf_map_lookup_elem(&fault_counts, &which);

	return value ? __sync_fetch_and_add(value, 1) + 1 : 0;
}

INLINE u32 next_space(void)
{
	u64 *value = count(COUNT_SPACES);

	return value ? (u32)__sync_fetch_and_add(value, 1) + 1 : 0;
}

/* Of a hundred records so many are dropped, for tests. */
const volatile u64 dropped_share = 0;

/* Whether the record with this number is one of those: chosen so that they come neither evenly nor all at once. */
INLINE int is_dropped(u64 order)
{
	return dropped_share && (order * 0x9e3779b97f4a7c15ULL >> 32) % 100 < dropped_share;
}

/* Tells of something that has a number; one that gets lost is counted. */
INLINE void emit(void *record, u64 size, u64 wakeup)
{
	struct head *head = record;

	if (is_dropped(head->order) || bpf_ringbuf_output(&ring, record, size, wakeup))
		add_one(COUNT_LOST);
}

/*
 * Whether to wake the reader with the record of this number: it looks by itself many times a second, and waking it costs more
 * than the record. Only a ring that fills up does, and it is asked with every sixteenth record how full it is.
 */
INLINE u64 wakeup(void *ring, u64 order, u64 above)
{
	if (order & 15)
		return RB_NO_WAKEUP;
	return bpf_ringbuf_query(ring, RB_AVAIL_DATA) > above ? RB_FORCE_WAKEUP : RB_NO_WAKEUP;
}

INLINE struct slot *slot_of(u32 tid)
{
	u32 at = tid & (SLOTS - 1);

	return bpf_map_lookup_elem(&slots, &at);
}

INLINE struct space *space_of(u32 number)
{
	u32 at = number & (SPACES - 1);

	return bpf_map_lookup_elem(&spaces, &at);
}

/* The process of a task, where it is watched. */
INLINE struct process *process_of(struct task_struct *task)
{
	u32 pid = task->tgid;
	struct process *process = bpf_map_lookup_elem(&processes, &pid);
	u64 started;

	if (!process)
		return 0;
	started = task->group_leader->start_boottime;
	if (!process->started)
		process->started = started;
	/* An earlier one with its number has ended, and user space has not heard of it yet. */
	return process->started == started ? process : 0;
}

INLINE int is_in_call(struct slot *slot)
{
	return slot->state == SLOT_CALL || slot->state == SLOT_FORK;
}

/* Whether it is the place of a task that is known to be watched: to look for its process takes longer than all else. */
INLINE int is_known(struct slot *slot, struct task_struct *task)
{
	u64 *choices = count(COUNT_CHOICES);

	return choices && slot->tid == (u32)task->pid && slot->known == (u32)*choices + 1
	       && slot->started == (u32)task->start_boottime;
}

/* Notes what is known of a task of a watched process; not 0 where one that is in a call has its place. */
INLINE int note(struct slot *slot, struct task_struct *task, struct process *process)
{
	u64 *choices = count(COUNT_CHOICES);

	if (slot->tid != (u32)task->pid) {
		if (is_in_call(slot))
			return 1;
		slot->state = SLOT_NEW;
		slot->order = 0;
		slot->grown = 0;
		slot->fault = FAULT_SETTLED;
		slot->tid = task->pid;
	}
	slot->started = task->start_boottime;
	slot->space = process->space;
	slot->known = choices ? (u32)*choices + 1 : 0;
	return 0;
}

INLINE void begin(struct head *head, u32 kind, struct task_struct *task, u32 space, u64 order)
{
	head->kind = kind;
	head->space = space;
	head->pid = task->tgid;
	head->tid = task->pid;
	head->order = order;
	head->at = bpf_ktime_get_ns();
}

#endif
