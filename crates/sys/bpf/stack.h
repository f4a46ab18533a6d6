/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The call stack of a thread whose call returns, behind the record of the call: src/bpf/stack.rs reads the same layouts.
 *
 * Either frame pointers are followed here, or the stack is copied and user space unwinds the copy later. Nothing is waited
 * for: pages that are not there are left out, and that is told.
 */
#ifndef VMATLAS_STACK_H
#define VMATLAS_STACK_H

#include "maps.h"

enum { STACK_NONE, STACK_CHAIN, STACK_COPY };
/* What is taken; user space sets it. Where it is nothing, the verifier takes all of this away. */
const volatile u32 stack_how = STACK_NONE;

enum {
	STACK_REGISTERS = 17,
	/* So much of a stack is copied at most; and beside a chain, for the innermost functions, which often keep no frame
	 * pointer. */
	COPY_BYTES = 1 << 16,
	TOP_BYTES = 128,
	/* So many addresses has a chain at most, as one that the kernel itself follows. */
	CHAIN = 127,
	/* So much of a stack is read at once while frame pointers are followed. */
	WINDOW = 1024,
	/* The next page, when all that may be copied was. */
	SLACK = 4096,
	USER32_CS = 0x23,
};

struct stack {
	u32 how;
	/* So many bytes of the stack follow, from the stack pointer (rounded down to words) upwards. A chain begins after
	 * TOP_BYTES. */
	u32 copied;
	/* Bit N: the page N after that of the first byte was not there; nothing of it was ever touched, mostly. */
	u32 holes;
	/* 32-bit code, whose stack user space does not walk. */
	u32 is_32;
	/* By their DWARF numbers; the last one is the instruction pointer. */
	u64 registers[STACK_REGISTERS];
};

/* One for each processor: too large for a map that has them by itself. A call is put together with its stack here. */
struct stack_room {
	u8 bytes[sizeof(struct call) + sizeof(struct stack) + COPY_BYTES + SLACK];
	/* Where the next page is copied to, from where to where, and those that were not there. */
	u64 at, pos, end;
	u32 holes;
	/* The next frame pointer; what was read last of the stack, where it lies there, and so many bytes. */
	u64 frame, window_at, window_size;
	u8 window[WINDOW];
};

struct {
	uint(type, MAP_ARRAY);
	type(key, u32);
	type(value, struct stack_room);
	uint(max_entries, 1);
} stack_rooms SEC(".maps");

INLINE struct stack_room *stack_room(void)
{
	u32 cpu = bpf_get_smp_processor_id();

	return bpf_map_lookup_elem(&stack_rooms, &cpu);
}

static long end_of(struct task_struct *task, struct vm_area_struct *vma, u64 *end)
{
	*end = vma->vm_end;
	return 0;
}

/* Where the stack of a thread ends, as far as that matters here. */
INLINE u64 stack_end(struct task_struct *task, u64 sp)
{
	u64 far = sp + COPY_BYTES, at;

	/* Above it are the program's arguments and its environment. */
	at = task->mm->start_stack;
	if (at >= sp && at < far)
		return at;
	/* What the C library keeps of a thread, and the thread's own variables, are at the upper end of its stack. */
	at = task->thread.fsbase;
	if (at >= sp && at < far)
		return at;
	at = 0;
	if (!bpf_find_vma(task, sp, end_of, &at, 0) && at > sp && at < far)
		return at;
	return far;
}

/* Reads the stack from an address on to the end of the page, but not more than the window holds; not 0 where that is not there. */
INLINE long read_window(struct stack_room *room, u64 at)
{
	u64 size = 4096 - (at & 4095);

	if (size > WINDOW)
		size = WINDOW;
	/* Words are aligned, a pair of them is not. */
	if (size < 16)
		size = 16;
	room->window_at = at;
	room->window_size = size;
	asm volatile("" : "+r"(size));
	if (size > WINDOW)
		return 1;
	return bpf_probe_read_user(room->window, size, (void *)at);
}

/*
 * One step outwards. A frame lies above the one it has called, as user space has it where it follows them itself; so the zero
 * or the left-over at which most chains end is not read at all: reading what is not there is dearer than all the rest.
 */
static long follow(u32 index, void *unused)
{
	struct stack_room *room = stack_room();
	u64 frame, at, to, next;

	if (!room)
		return 1;
	frame = room->frame;
	at = frame - room->window_at;
	if (at > WINDOW - 16 || at + 16 > room->window_size) {
		if (read_window(room, frame))
			return 1;
		at = 0;
	}
	BOUNDED(at, WINDOW - 15);
	to = room->at;
	BOUNDED(to, sizeof(room->bytes) - 8);
	*(u64 *)&room->bytes[to] = *(u64 *)&room->window[at + 8];
	room->at = to + 8;
	next = *(u64 *)&room->window[at];
	room->frame = next;
	return next < frame + 16 || next & 7;
}

/*
 * Follows frame pointers into the room, behind the top of the stack; where both end there. The kernel's own walk
 * (bpf_get_stack()) reads each frame by itself, until a read fails: that costs more than all of this.
 */
INLINE u64 copy_chain(struct stack_room *room, u64 at, struct pt_regs *regs, struct stack *stack)
{
	u64 sp = regs->sp & ~7ULL, frame = regs->bp, unused = 0;
	u64 *top;

	if (at > sizeof(struct call) + sizeof(struct stack))
		return 0;
	top = (void *)&room->bytes[at];
	stack->copied = TOP_BYTES;
	if (read_window(room, sp)) {
		room->window_size = 0;
		stack->copied = 0;
	} else if (room->window_size >= TOP_BYTES) {
#pragma unroll
		for (u32 i = 0; i < TOP_BYTES / 8; i++)
			top[i] = ((u64 *)room->window)[i];
	} else if (bpf_probe_read_user(top, TOP_BYTES, (void *)sp)) {
		stack->copied = 0;
	}
	top[TOP_BYTES / 8] = regs->ip;
	room->at = at + TOP_BYTES + 8;
	room->frame = frame;
	if (!stack->is_32 && frame >= sp && !(frame & 7))
		bpf_loop(CHAIN - 1, follow, &unused, 0);
	return room->at;
}

/* One page, or what of it is wanted. */
static long copy_page(u32 index, void *unused)
{
	struct stack_room *room = stack_room();
	u64 at, size;

	if (!room || room->pos >= room->end)
		return 1;
	at = room->at;
	size = 4096 - (room->pos & 4095);
	if (size > room->end - room->pos)
		size = room->end - room->pos;
	BOUNDED(at, sizeof(room->bytes) - 4096);
	BOUNDED(size, 4097);
	/* What cannot be read becomes zeroes. */
	if (bpf_probe_read_user(&room->bytes[at], size, (void *)room->pos))
		room->holes |= 1 << (index & 31);
	room->at = at + size;
	room->pos += size;
	return 0;
}

/* Copies the stack to a place in the room; how much it was. */
INLINE u64 copy_stack(struct stack_room *room, u64 at, struct task_struct *task, u64 sp)
{
	u64 start = sp & ~7ULL, size = stack_end(task, sp) - start, unused = 0;

	if (size > COPY_BYTES)
		size = COPY_BYTES;
	asm volatile("" : "+r"(size));
	if (size > COPY_BYTES || at > sizeof(struct call) + sizeof(struct stack))
		return 0;
	room->holes = 0;
	if (!bpf_probe_read_user(&room->bytes[at], size, (void *)start))
		return size;
	/* Something is not there, and the rest is. */
	room->at = at;
	room->pos = start;
	room->end = start + size;
	bpf_loop(COPY_BYTES / 4096 + 1, copy_page, &unused, 0);
	return room->pos - start;
}

INLINE void take_registers(struct stack *stack, struct pt_regs *regs)
{
	stack->is_32 = regs->cs == USER32_CS;
	stack->registers[0] = regs->ax;
	stack->registers[1] = regs->dx;
	stack->registers[2] = regs->cx;
	stack->registers[3] = regs->bx;
	stack->registers[4] = regs->si;
	stack->registers[5] = regs->di;
	stack->registers[6] = regs->bp;
	stack->registers[7] = regs->sp;
	stack->registers[8] = regs->r8;
	stack->registers[9] = regs->r9;
	stack->registers[10] = regs->r10;
	stack->registers[11] = regs->r11;
	stack->registers[12] = regs->r12;
	stack->registers[13] = regs->r13;
	stack->registers[14] = regs->r14;
	stack->registers[15] = regs->r15;
	stack->registers[16] = regs->ip;
}

/* Puts a stack behind a record that lies in the room; where it ends. */
INLINE u64 put_stack(struct stack_room *room, u64 at, struct task_struct *task, struct pt_regs *regs)
{
	struct stack *stack;
	u64 size;

	asm volatile("" : "+r"(at));
	if (at > sizeof(struct call))
		return 0;
	stack = (void *)&room->bytes[at];
	stack->how = stack_how;
	stack->holes = 0;
	take_registers(stack, regs);
	at += sizeof(*stack);
	if (stack_how == STACK_CHAIN)
		return copy_chain(room, at, regs, stack);
	size = stack->is_32 ? 0 : copy_stack(room, at, task, regs->sp);
	stack->copied = size;
	stack->holes = room->holes;
	return at + size;
}

/*
 * Tells a call, which lies in the room, with its stack; not 0 when that was not possible. Then the call is told alone: a ring
 * that is nearly full loses stacks first.
 */
INLINE long emit_with_stack(struct task_struct *task, struct pt_regs *regs, u64 call_size)
{
	struct stack_room *room = stack_room();
	struct head *head;
	u64 size;

	if (!room)
		return 1;
	size = put_stack(room, call_size, task, regs);
	BOUNDED(size, sizeof(room->bytes));
	head = (void *)room->bytes;
	return bpf_ringbuf_output(&ring, room->bytes, size, wakeup(&ring, head->order, wake_above));
}

#endif
