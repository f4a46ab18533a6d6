/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Which calls are of memory, and what of the map is looked at when they return. User space fills the tables in. */
#ifndef VMATLAS_CALLS_H
#define VMATLAS_CALLS_H

#include "kernel.h"

enum { NUMBERS = 512, CONDITIONS = 8, VALUES = 6, X32_BIT = 0x40000000 };

/* What is looked at. */
enum shape {
	SHAPE_NOT_OF_MEMORY,
	/* Nothing: user space reads the map where it has to know. */
	SHAPE_NOTHING,
	/* The range of the first two arguments. */
	SHAPE_RANGE,
	/* The same, where it failed: what succeeded leaves a hole. */
	SHAPE_RANGE_FAILED,
	/* The same, unless the third argument is advice on pages alone. */
	SHAPE_ADVICE,
	/* The result, and as many bytes as the second argument says. */
	SHAPE_RESULT,
	/* The same with the third argument. */
	SHAPE_MOVED,
	/* What ends at the result. */
	SHAPE_BREAK,
	/* What begins at the result. */
	SHAPE_ATTACHED,
	/* None of memory, but one that makes tasks or executes: the order of a fork is that of its call. */
	SHAPE_FORK,
};

/* Which calls of a number are of memory, by the lower half of one argument. */
struct condition {
	u32 arg, mask;
	/* 1: those where it is the first value are not. */
	u32 unless;
	u32 count;
	u32 values[VALUES];
};

/* A shape, and above it the number of a condition or 0; [1] for 32 bits. */
const volatile u8 shapes[2][NUMBERS] = {};
const volatile struct condition conditions[CONDITIONS] = {};
/* Bit N for advice N (below 64) that can change VMAs. */
const volatile u64 advice_of_vmas = 0;
/* So many bytes in the ring wake the reader. */
const volatile u64 wake_above = 0;

INLINE u64 argument(struct pt_regs *regs, u32 at, u32 is_32)
{
	if (is_32) {
		switch (at) {
		case 0: return (u32)regs->bx;
		case 1: return (u32)regs->cx;
		case 2: return (u32)regs->dx;
		case 3: return (u32)regs->si;
		case 4: return (u32)regs->di;
		default: return (u32)regs->bp;
		}
	}
	switch (at) {
	case 0: return regs->di;
	case 1: return regs->si;
	case 2: return regs->dx;
	case 3: return regs->r10;
	case 4: return regs->r8;
	default: return regs->r9;
	}
}

INLINE int meets(u32 which, struct pt_regs *regs, u32 is_32)
{
	const volatile struct condition *condition = &conditions[which & (CONDITIONS - 1)];
	u32 value = argument(regs, condition->arg, is_32) & condition->mask;
	u32 i;

	if (condition->unless)
		return value != condition->values[0];
	for (i = 0; i < VALUES; i++)
		if (i < condition->count && value == condition->values[i])
			return 1;
	return 0;
}

/* Whether a call is none of memory on either architecture: most are not, and this is all that they cost. */
INLINE int is_none(u64 nr)
{
	return nr < NUMBERS && !(shapes[0][nr] | shapes[1][nr]);
}

/* The shape of a call. */
INLINE u32 shape_of(struct task_struct *task, struct pt_regs *regs, u64 nr, u32 *is_32)
{
	u32 shape;

	if (nr & X32_BIT)
		return SHAPE_NOTHING;
	if (nr >= NUMBERS)
		return SHAPE_NOT_OF_MEMORY;
	*is_32 = !!(task->thread_info.status & TS_COMPAT);
	shape = shapes[*is_32 & 1][nr];
	if (shape >> 4 && !meets(shape >> 4, regs, *is_32))
		return SHAPE_NOT_OF_MEMORY;
	return shape & 15;
}

#endif
