/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Page faults of the watched processes, each as the kernel accounts it: from the software events PERF_COUNT_SW_PAGE_FAULTS_MIN
 * and _MAJ, one of each per processor. Nothing of this is loaded unless faults are to be watched.
 */
#ifndef VMATLAS_FAULTS_H
#define VMATLAS_FAULTS_H

#include "resident.h"
#include "stack.h"

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

struct {
	uint(type, MAP_RINGBUF);
	uint(max_entries, 1 << 12);
} fault_ring SEC(".maps");

/* Set before loading: whether faults are watched; above what of the ring to wake. */
const volatile u32 follow_faults = 0;
const volatile u64 wake_faults_above = ~0ULL;

/* `lost` is what counts it where there is no room for it. */
INLINE void emit_fault(void *record, u64 size, u32 lost)
{
	struct head *head = record;
	u64 flags = wakeup(&fault_ring, head->order, wake_faults_above);

	if (bpf_ringbuf_output(&fault_ring, record, size, flags))
		next_fault(lost);
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
INLINE long emit_fault_with_stack(struct task_struct *task, struct fault *record)
{
	struct stack_room *room = stack_room();
	u64 size, flags = wakeup(&fault_ring, record->head.order, wake_faults_above);

	if (!room)
		return 1;
	__builtin_memcpy(room->bytes, record, sizeof(*record));
	size = put_stack(room, sizeof(*record), task, bpf_task_pt_regs(task));
	BOUNDED(size, sizeof(room->bytes));
	return bpf_ringbuf_output(&fault_ring, room->bytes, size, flags);
}

INLINE int fault(struct fault_context *context, u32 bits)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct slot *slot = slot_of(task->pid);
	struct process *process;
	struct fault record;
	u32 space;

	if (!slot)
		return 0;
	if (is_known(slot, task)) {
		space = slot->space;
	} else {
		process = process_of(task);
		if (!process)
			return 0;
		space = process->space;
		if (note(slot, task, process))
			slot = 0;
	}
	begin(&record.head, KIND_FAULT, task, space, next_fault(FAULTS_TOLD));
	record.addr = context->addr;
	record.ip = (context->cs & USER_MODE) == USER_MODE ? context->ip : 0;
	record.mm = (u64)task->mm;
	record.bits = bits;
	record.grown = slot ? grown_at_fault(task, slot) : 0;
	/* Where the ring is nearly full stacks are lost first. */
	if (stack_how == STACK_NONE || emit_fault_with_stack(task, &record))
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

#endif
