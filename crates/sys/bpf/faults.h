/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Page faults of the watched processes. Nothing of this is loaded unless faults are to be watched.
 *
 * Where the kernel has the tracepoints page_fault_user and page_fault_kernel (x86) a fault is told when it begins, with what the
 * kernel had accounted to its task until then: mm/memory.c:mm_account_fault() adds one at the end of each fault that is dealt
 * with. So what the next word of the task says tells what has become of it, and a word comes before anything else can be
 * accounted: its next fault, the delivery of a signal, the end of a system call that it began in, a memory call, an exec, its end.
 * Elsewhere faults are told when they have ended, by the software events PERF_COUNT_SW_PAGE_FAULTS_MIN and _MAJ, one of each per
 * processor; these cost three times as much. Major faults, which are few, are told by their event always.
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

/* FAULT_BEGUN: what becomes of it will be told. */
enum { FAULT_MAJOR = 1, FAULT_BEGUN = 2 };

struct fault {
	struct head head;
	u64 addr;
	/* 0 where the kernel touched the page. */
	u64 ip;
	/* Tells address spaces apart; means nothing else. */
	u64 mm;
	/* What the kernel had accounted to the task when it began. */
	u64 accounted;
	/* Of these, major ones: the lower half. */
	u32 majors;
	u32 bits;
};

/* What the kernel has accounted to a task: when it ends, when it has executed a program; and when its last fault is settled. */
struct accounted {
	struct head head;
	u64 faults;
	u32 majors;
	u32 is_exec;
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
	record.majors = task->maj_flt;
	record.is_exec = is_exec;
	emit_fault(&record, sizeof(record), FAULTS_UNACCOUNTED);
}

/* Before anything else can be accounted to a task: what has become of its last fault, by the number it had then. */
INLINE void settle_as(struct task_struct *task, struct slot *slot, u32 tid)
{
	struct accounted record = {};

	if (!faults_at_begin || !slot->fault)
		return;
	slot->fault = FAULT_SETTLED;
	begin(&record.head, KIND_SETTLED, task, slot->space, 0);
	record.faults = accounted_of(task);
	record.head.tid = tid;
	record.majors = task->maj_flt;
	emit_fault(&record, sizeof(record), FAULTS_UNSETTLED);
}

INLINE void settle(struct task_struct *task, struct slot *slot)
{
	settle_as(task, slot, task->pid);
}

/* The end of a system call that is none of memory: a fault that began in it is settled. */
INLINE void settle_call(void)
{
	struct task_struct *task;
	struct slot *slot;

	if (!faults_at_begin)
		return;
	task = bpf_get_current_task_btf();
	slot = slot_of(task->pid);
	if (slot && slot->fault == FAULT_OF_KERNEL && slot->tid == (u32)task->pid)
		settle(task, slot);
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

/* Whether a task is of a watched process: its address space, and its place or 0 where it has none. */
INLINE int is_watched(struct task_struct *task, u32 *space, struct slot **place)
{
	struct slot *slot = slot_of(task->pid);
	struct process *process;

	if (!slot)
		return 0;
	if (is_known(slot, task)) {
		*space = slot->space;
		*place = slot;
		return 1;
	}
	process = process_of(task);
	if (!process)
		return 0;
	*space = process->space;
	*place = note(slot, task, process) ? 0 : slot;
	return 1;
}

INLINE void tell_fault(struct task_struct *task, struct fault *record)
{
	record->mm = (u64)task->mm;
	/* Where the ring is nearly full stacks are lost first. */
	if (stack_how == STACK_NONE || emit_fault_with_stack(task, record))
		emit_fault(record, sizeof(*record), FAULTS_LOST);
}

/* A fault begins: one that arch/x86/mm/fault.c:do_user_addr_fault() will deal with. */
INLINE int begun(u64 *context, u32 how)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct pt_regs *regs = (void *)context[1];
	struct fault record = {};
	struct slot *slot;
	u32 space;

	/* An address of the kernel's, or one that is read only if it is there. */
	if ((s64)context[0] < 0 || task->pagefault_disabled || !task->mm)
		return 0;
	if (!is_watched(task, &space, &slot))
		return 0;
	record.addr = context[0];
	record.ip = how == FAULT_OF_PROGRAM ? regs->ip : 0;
	record.accounted = accounted_of(task);
	record.majors = task->maj_flt;
	record.bits = FAULT_BEGUN;
	if (slot) {
		slot->faults = record.accounted;
		slot->fault = how;
	}
	begin(&record.head, KIND_FAULT, task, space, next_fault(FAULTS_TOLD));
	tell_fault(task, &record);
	return 0;
}

SEC("tp_btf/page_fault_user")
int on_user_fault(u64 *context)
{
	return begun(context, FAULT_OF_PROGRAM);
}

SEC("tp_btf/page_fault_kernel")
int on_kernel_fault(u64 *context)
{
	return begun(context, FAULT_OF_KERNEL);
}

/* A fault that fails, or is given up for a signal, ends in one before the task does anything else. */
SEC("tp_btf/signal_deliver")
int on_signal(u64 *context)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct slot *slot = slot_of(task->pid);

	if (slot && slot->tid == (u32)task->pid)
		settle(task, slot);
	return 0;
}

/* A fault has ended, and was accounted just now. */
INLINE int ended(struct fault_context *context, u32 bits)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct fault record = {};
	struct slot *slot;
	u32 space;

	if (!is_watched(task, &space, &slot))
		return 0;
	if (faults_at_begin) {
		begin(&record.head, KIND_MAJOR, task, space, 0);
		emit_fault(&record.head, sizeof(record.head), FAULTS_UNSETTLED);
		return 0;
	}
	if (slot)
		grown_at_fault(task, slot);
	record.addr = context->addr;
	record.ip = (context->cs & USER_MODE) == USER_MODE ? context->ip : 0;
	record.bits = bits;
	begin(&record.head, KIND_FAULT, task, space, next_fault(FAULTS_TOLD));
	tell_fault(task, &record);
	return 0;
}

SEC("perf_event")
int on_minor(struct fault_context *context)
{
	return ended(context, 0);
}

SEC("perf_event")
int on_major(struct fault_context *context)
{
	return ended(context, FAULT_MAJOR);
}

#endif
