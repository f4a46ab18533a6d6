/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What user space is told: src/bpf/record.rs reads the same layouts. */
#ifndef VMATLAS_RECORD_H
#define VMATLAS_RECORD_H

#include "helpers.h"

enum kind {
	KIND_CALL = 1,
	KIND_FORK,
	KIND_EXEC,
	KIND_EXIT,
	KIND_NAME,
	KIND_NOTHING,
	KIND_FAULT,
	KIND_ACCOUNTED,
	KIND_OTHER,
	KIND_CAME,
	KIND_SETTLED,
	KIND_MAJOR,
};

/* Every record begins with it. */
struct head {
	u32 kind;
	/* The address space, by the number it got when it was made. */
	u32 space;
	u32 pid;
	u32 tid;
	/* A number of its own for every record but names: dense, and the kernel's order where calls of one address space
	 * overlap. One that is missing was lost. */
	u64 order;
	/* CLOCK_MONOTONIC. */
	u64 at;
};

enum { ROW_HEAP = 0x10, ROW_STACK = 0x20, ROW_DELETED = 0x40 };

/* One VMA. */
struct row {
	u64 start, end;
	/* Into the file, in pages. */
	u64 pgoff;
	u64 inode;
	/* Stands for the text of its file or special mapping, which a record of its own tells once; 0 for none. */
	u64 name;
	/* MKDEV of the kernel: the major number above 20 bits. */
	u32 dev;
	/* 1 readable, 2 writable, 4 executable, 8 shared; ROW_*. */
	u32 bits;
};

/* How good the rows of a call are. */
enum {
	/* The lock was taken: not everything could be looked at. */
	ANSWER_BUSY = 1,
	/* There were more rows than room. */
	ANSWER_CUT = 4,
	/* The call took the lock for writing; one that did not has changed no VMA. */
	ANSWER_LOCKED = 8,
};

enum { CALL_ROWS = 6, EXEC_ROWS = 40, TEXT_SIZE = 4096, TEXT_PART = 256 };

struct call {
	struct head head;
	/* 0 where the entry was not seen. */
	u64 entered;
	u64 args[6];
	s64 result;
	/* The rows are everything that is mapped in [from, to), */
	u64 from, to;
	/* after the change with this number, and before the next one; 0 where the map changed while it was looked at. */
	u64 version;
	u32 nr;
	u8 is_32;
	u8 answer;
	u16 row_count;
	struct row rows[CALL_ROWS];
};

enum { FORK_PROCESS, FORK_SHARED, FORK_THREAD };

struct fork {
	struct head head;
	u64 started;
	u32 child_pid, child_tid, child_space, how;
};

struct exec {
	struct head head;
	u64 started;
	/* Tells the new address space from the old one, as that of a fault does. */
	u64 mm;
	/* The address space it left, and the number of the thread that called it. */
	u32 old_space, old_tid;
	/* How many VMAs there are: the rows, without those told twice, are all of them or not. */
	u32 map_count;
	u32 row_count;
	struct row rows[EXEC_ROWS];
};

struct exit {
	struct head head;
	/* As wait(2) tells it. */
	u32 status;
	u32 unused;
};

struct name {
	struct head head;
	u64 name;
	u64 inode;
	u32 dev;
	u32 size;
	u8 is_special, is_anon_inode, is_cut, unused[5];
	/* The parts of a path, the last one first, each with a NUL at its end; of a special mapping its whole name. */
	char text[TEXT_SIZE + TEXT_PART];
};

#endif
