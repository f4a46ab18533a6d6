/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Tells user space of every memory call of the watched processes, and of the coming and going of their tasks, without
 * stopping anything.
 *
 * A call gets its number while it holds the mmap lock for writing, so that the numbers are the kernel's own order. What the
 * map looks like where it acted is read when it returns; whether somebody else has changed it since, the numbers tell.
 *
 * Helpers that are GPL only are used, and so the programs are, for the kernel, of a licence that is compatible with it.
 */
#include "answer.h"
#include "calls.h"
#include "cgroup.h"
#include "faults.h"
#include "lock.h"
#include "maps.h"
#include "resident.h"
#include "rows.h"
#include "stack.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

INLINE struct exec_room *exec_room(void)
{
	u32 zero = 0;

	return bpf_map_lookup_elem(&exec_rooms, &zero);
}

SEC("tp_btf/sys_enter")
int on_enter(u64 *context)
{
	struct pt_regs *regs = (void *)context[0];
	u64 nr = context[1];
	struct task_struct *task;
	struct process *process;
	struct slot *slot;
	u32 is_32 = 0, shape;

	if (is_none(nr))
		return 0;
	task = bpf_get_current_task_btf();
	shape = shape_of(task, regs, nr, &is_32);
	if (!shape)
		return 0;
	slot = slot_of(task->pid);
	if (!slot)
		return 0;
	if (!is_known(slot, task)) {
		process = process_of(task);
		if (!process)
			return 0;
		/* Whoever else is in a call there has no place any more. */
		slot->state = SLOT_FREE;
		note(slot, task, process);
	}
	settle(task, slot);
	slot->order = 0;
	slot->entered = bpf_ktime_get_ns();
	slot->state = shape == SHAPE_FORK ? SLOT_FORK : SLOT_CALL;
	return 0;
}

/* A number was given to a call that has nothing to tell. */
INLINE void tell_nothing(struct task_struct *task, u64 order)
{
	struct head head = {};

	begin(&head, KIND_NOTHING, task, 0, order);
	emit(&head, sizeof(head), RB_NO_WAKEUP);
}

SEC("tp_btf/sys_exit")
int on_exit(u64 *context)
{
	struct pt_regs *regs = (void *)context[0];
	s64 result = context[1];
	struct task_struct *task;
	u64 nr = regs->orig_ax, order, size;
	struct process *process;
	struct slot *slot;
	struct call_room *room;
	struct call *call;
	u32 number, is_32 = 0, is_ours, rows, shape;

	if (is_none(nr)) {
		settle_call();
		return 0;
	}
	task = bpf_get_current_task_btf();
	shape = shape_of(task, regs, nr, &is_32);
	slot = slot_of(task->pid);
	if (!slot)
		return 0;
	if (slot->tid == task->pid)
		settle(task, slot);
	if (!shape)
		return 0;
	is_ours = slot->tid == task->pid && slot->state != SLOT_NEW;
	if (is_ours && slot->state == SLOT_FREE)
		return 0;
	order = is_ours ? slot->order : 0;
	if (shape == SHAPE_FORK) {
		if (is_ours) {
			slot->state = SLOT_FREE;
			if (order)
				tell_nothing(task, order);
		}
		return 0;
	}
	if (is_ours) {
		number = slot->space;
	} else {
		/* Its entry was not seen, or another task has its slot by now. */
		process = process_of(task);
		if (!process)
			return 0;
		number = process->space;
	}
	room = call_room();
	if (!room)
		return 0;
	call = call_place(room);
	begin(&call->head, KIND_CALL, task, number, order);
	call->entered = is_ours ? slot->entered : 0;
	call->result = is_32 ? (s64)(s32)result : result;
	call->nr = nr;
	call->is_32 = is_32;
	call->answer = call->row_count = 0;
	call->from = call->to = 0;
#pragma unroll
	for (u32 i = 0; i < 6; i++)
		call->args[i] = argument(regs, i, is_32);
	/* While it is looked at nobody holds the lock for writing; so what is the same before and after is so all the time. */
	call->version = version(number);
	answer(room, call, shape);
	if (version(number) != call->version)
		call->version = 0;
	if (order)
		call->answer |= ANSWER_LOCKED;
	else
		call->head.order = next_order();
	rows = call->row_count;
	size = sizeof(*call) - sizeof(call->rows) + (rows <= CALL_ROWS ? rows : CALL_ROWS) * sizeof(struct row);
	if (stack_how == STACK_NONE || emit_with_stack(task, regs, size))
		emit(call, size, wakeup(&ring, call->head.order, wake_above));
	/* Only now: who sees it free finds the record in the ring. */
	if (is_ours)
		slot->state = SLOT_FREE;
	return 0;
}

SEC("tp_btf/sched_process_fork")
int on_fork(u64 *context)
{
	struct task_struct *parent = (void *)context[0], *child = (void *)context[1];
	struct process *process = process_of(parent), new = {};
	struct slot *slot = slot_of(parent->pid);
	struct fork fork = {};
	u64 order = 0;
	u32 pid = child->tgid;

	if (!process) {
		look_where(child);
		return 0;
	}
	fork.child_pid = child->tgid;
	fork.child_tid = child->pid;
	fork.started = child->start_boottime;
	fork.child_space = process->space;
	if (child->tgid == parent->tgid)
		fork.how = FORK_THREAD;
	else if (child->mm == parent->mm)
		fork.how = FORK_SHARED;
	else
		fork.how = FORK_PROCESS;
	if (fork.how == FORK_PROCESS && !(process->flags & PROCESS_FOLLOW))
		return 0;
	if (fork.how == FORK_PROCESS)
		fork.child_space = next_space();
	if (fork.how != FORK_THREAD) {
		new.space = fork.child_space;
		new.flags = process->flags;
		new.started = child->start_boottime;
		if (bpf_map_update_elem(&processes, &pid, &new, 0)) {
			add_one(COUNT_UNTRACKED);
			return 0;
		}
	}
	if (slot && slot->state == SLOT_FORK && slot->tid == parent->pid && slot->order) {
		order = slot->order;
		slot->order = 0;
	}
	if (fork.how == FORK_PROCESS)
		begin_resident(fork.child_space, child->mm);
	begin(&fork.head, KIND_FORK, parent, process->space, order ? order : next_order());
	emit(&fork, sizeof(fork), wakeup(&ring, fork.head.order, wake_above));
	return 0;
}

/* A row of a new program, and on to the next: upwards from a place, downwards from it, then from the next place. */
static long gather(u32 index, void *unused)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct exec_room *room = exec_room();
	struct row row = {};
	u32 at;

	if (!room || room->count >= EXEC_ROWS)
		return 1;
	if (!bpf_find_vma(task, room->pos, found, &row, 0) && row.start < row.end) {
		at = room->count;
		BOUNDED(at, EXEC_ROWS);
		room->exec.rows[at] = row;
		room->count = at + 1;
		room->pos = room->is_down ? row.start - 1 : row.end;
		return 0;
	}
	/* A hole: the other way, or the next place. */
	at = room->which;
	BOUNDED(at, PLACES);
	if (!room->is_down) {
		room->is_down = 1;
		room->pos = room->places[at] - 1;
		return 0;
	}
	room->is_down = 0;
	room->which = ++at;
	BOUNDED(at, PLACES);
	room->pos = room->places[at];
	return 0;
}

SEC("tp_btf/sched_process_exec")
int on_exec(u64 *context)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct process *process = process_of(task);
	struct mm_struct *mm = task->mm;
	struct slot *slot, *former = slot_of((u32)context[1]);
	struct pt_regs *regs;
	struct exec_room *room;
	struct exec *exec;
	u32 rows;
	u64 size, order = 0, unused = 0;

	if (!process || !mm)
		return 0;
	room = exec_room();
	if (!room)
		return 0;
	exec = &room->exec;
	/* A thread that takes over the number of its process is at its old number no more. */
	if ((u32)context[1] != (u32)task->pid && former && former->tid == (u32)context[1]) {
		settle_as(task, former, former->tid);
		former->state = SLOT_FREE;
		former->known = 0;
		if (former->order)
			tell_nothing(task, former->order);
	}
	exec->old_space = process->space;
	exec->old_tid = (u32)context[1];
	exec->started = task->start_boottime;
	exec->mm = (u64)mm;
	exec->map_count = mm->map_count;
	process->space = next_space();
	begin_resident(process->space, mm);
	tell_accounted(task, process->space, 1);
	/* It had a number since it took the lock of its new map, and needs no other one. */
	slot = slot_of(task->pid);
	if (slot && slot->tid == (u32)task->pid) {
		if (is_in_call(slot))
			order = slot->order;
		slot->order = 0;
		slot->state = SLOT_FREE;
		slot->known = 0;
		slot->grown = 0;
		slot->fault = FAULT_SETTLED;
	}
	begin(&exec->head, KIND_EXEC, task, process->space, order ? order : next_order());
	regs = bpf_task_pt_regs(task);
	/* The program's text; where it begins, mostly in ld.so; its data; heap, vdso, stack. */
	room->places[0] = mm->start_code;
	room->places[1] = regs->ip;
	room->places[2] = mm->end_data - 1;
	room->places[3] = mm->brk - 1;
	room->places[4] = (u64)mm->context.vdso;
	room->places[5] = mm->start_stack;
	room->pos = room->places[0];
	room->which = room->is_down = room->count = 0;
	bpf_loop(EXEC_ROWS + 3 * PLACES, gather, &unused, 0);
	exec->row_count = rows = room->count;
	size = sizeof(*exec) - sizeof(exec->rows) + (rows <= EXEC_ROWS ? rows : EXEC_ROWS) * sizeof(struct row);
	emit(exec, size, wakeup(&ring, exec->head.order, wake_above));
	return 0;
}

SEC("tp_btf/sched_process_exit")
int on_end(u64 *context)
{
	struct task_struct *task = (void *)context[0];
	struct process *process = process_of(task);
	struct slot *slot = slot_of(task->pid);
	struct exit exit = {};

	if (!process)
		return 0;
	if (slot && slot->tid == task->pid) {
		if (is_in_call(slot) && slot->order)
			tell_nothing(task, slot->order);
		slot->state = SLOT_FREE;
		slot->known = 0;
		slot->fault = FAULT_SETTLED;
	}
	tell_accounted(task, process->space, 0);
	exit.status = task->signal->flags & SIGNAL_GROUP_EXIT ? task->signal->group_exit_code : task->exit_code;
	begin(&exit.head, KIND_EXIT, task, process->space, next_order());
	/* Somebody may wait for the last one. */
	emit(&exit, sizeof(exit), RB_FORCE_WAKEUP);
	return 0;
}
