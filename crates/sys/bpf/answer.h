/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Where the record of a call is put together, and what the map looks like where the call acted. */
#ifndef VMATLAS_ANSWER_H
#define VMATLAS_ANSWER_H

#include "calls.h"
#include "rows.h"
#include "stack.h"

enum { ENOENT = 2, STEPS = 24 };
#define PAGE 4096ULL

INLINE struct call_room *call_room(void)
{
	u32 zero = 0;

	return bpf_map_lookup_elem(&call_rooms, &zero);
}

/* Where the record of a call is put together: before its stack, where it can have one. */
INLINE struct call *call_place(struct call_room *room)
{
	struct stack_room *with_stack = stack_how == STACK_NONE ? 0 : stack_room();

	return with_stack ? (void *)with_stack->bytes : &room->call;
}

/* The row at an address, and on to where it ends. */
static long step(u32 index, void *unused)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct call_room *room = call_room();
	struct call *call;
	struct row row = {};
	long ret;
	u32 at;

	if (!room || room->pos >= room->end)
		return 1;
	call = call_place(room);
	if (room->count >= CALL_ROWS) {
		call->answer |= ANSWER_CUT;
		return 1;
	}
	ret = bpf_find_vma(task, room->pos, found, &row, 0);
	if (ret == -ENOENT) {
		/* A hole; how far it goes, only looking tells. Above the last page there is nothing. */
		if (room->pos + PAGE < room->pos)
			return 1;
		room->pos += PAGE;
		return 0;
	}
	if (ret) {
		call->answer |= ANSWER_BUSY;
		return 1;
	}
	if (row.end <= room->pos)
		return 1;
	at = room->count;
	BOUNDED(at, CALL_ROWS);
	call->rows[at] = row;
	room->count = at + 1;
	room->pos = row.end;
	return row.end >= room->end;
}

/* Looks at what a call did. */
INLINE void answer(struct call_room *room, struct call *call, u32 shape)
{
	int failed = call->result < 0 && call->result >= -4095;
	u64 pos = call->args[0], len = call->args[1], unused = 0;

	switch (shape) {
	case SHAPE_RANGE_FAILED:
		if (!failed)
			return;
		break;
	case SHAPE_ADVICE:
		if (call->args[2] < 64 && !(advice_of_vmas >> call->args[2] & 1))
			return;
		break;
	case SHAPE_MOVED:
		if (failed)
			break;
		pos = call->result;
		len = call->args[2];
		break;
	case SHAPE_RESULT:
		if (failed)
			return;
		pos = call->result;
		break;
	case SHAPE_BREAK:
		pos = call->result - 1;
		len = 1;
		break;
	case SHAPE_ATTACHED:
		if (failed)
			return;
		pos = call->result;
		len = 1;
		break;
	case SHAPE_RANGE:
		break;
	default:
		return;
	}
	pos &= ~(PAGE - 1);
	if (pos + len < pos)
		return;
	call->from = room->pos = pos;
	room->end = pos + len;
	room->count = 0;
	bpf_loop(STEPS, step, &unused, 0);
	call->to = room->pos;
	call->row_count = room->count;
}

#endif
