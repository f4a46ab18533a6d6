/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Who takes the mmap lock of a watched address space for writing: nobody changes a VMA without it (kernel
 * include/linux/mmap_lock.h), and the tracepoint is under the lock, so that numbers given here are the order of the changes.
 */
#ifndef VMATLAS_LOCK_H
#define VMATLAS_LOCK_H

#include "maps.h"

/* The process whose map it is, where that is watched. */
INLINE struct process *process_of_map(struct task_struct *task, struct mm_struct *mm)
{
	struct task_struct *owner = task;

	if (FIELD_EXISTS(struct mm_struct, owner))
		owner = mm->owner;
	/* A map that is being made belongs to who makes it, and is not the one that is used. */
	return owner && owner->mm == mm ? process_of(owner) : 0;
}

/* From now on the map is what the taker with this number makes of it. */
INLINE void changes(u32 number, u64 order)
{
	struct space *space = space_of(number);

	if (space) {
		space->space = number;
		space->last = order;
	}
}

/* After whose change an address space is as it is; 0 where that is not known. */
INLINE u64 version(u32 number)
{
	struct space *space = space_of(number);

	return space && space->space == number ? space->last : 0;
}

/* Somebody takes the lock who makes no call that is told of: another process, a kernel thread, a stack that grows. */
INLINE void other(struct task_struct *task, struct mm_struct *mm)
{
	struct process *process = process_of_map(task, mm);
	struct head head = {};

	if (!process)
		return;
	begin(&head, KIND_OTHER, task, process->space, next_order());
	changes(process->space, head.order);
	emit(&head, sizeof(head), RB_NO_WAKEUP);
}

SEC("tp_btf/mmap_lock_acquire_returned")
int on_lock(u64 *context)
{
	struct mm_struct *mm = (void *)context[0];
	struct task_struct *task;
	struct slot *slot;

	/* For reading, or not at all. */
	if (!(u8)context[1] || !(u8)context[2])
		return 0;
	task = bpf_get_current_task_btf();
	slot = slot_of(task->pid);
	if (!slot || !is_in_call(slot) || slot->tid != task->pid || task->mm != mm) {
		other(task, mm);
		return 0;
	}
	if (!slot->order)
		slot->order = next_order();
	changes(slot->space, slot->order);
	return 0;
}

#endif
