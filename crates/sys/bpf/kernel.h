/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The fields of the kernel's structures that are read, by their names; the loader finds out where they lie in the running
 * kernel (CO-RE), so neither order nor completeness matters here.
 */
#ifndef VMATLAS_KERNEL_H
#define VMATLAS_KERNEL_H

#include "helpers.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

/* arch/x86/include/asm/ptrace.h */
struct pt_regs {
	unsigned long r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax, ip, sp;
	/* unsigned long before Linux 6.9; the rest of it is no part of the selector. */
	unsigned short cs;
};

/* arch/x86/include/asm/thread_info.h */
struct thread_info {
	u32 status;
};

struct qstr {
	u64 hash_len;
	const unsigned char *name;
};

struct hlist_bl_node {
	struct hlist_bl_node **pprev;
};

struct dentry {
	struct inode *d_inode;
	struct super_block *d_sb;
	struct hlist_bl_node d_hash;
	struct dentry *d_parent;
	struct qstr d_name;
};

struct super_block {
	u32 s_dev;
	unsigned long s_magic;
};

struct inode {
	struct super_block *i_sb;
	unsigned long i_ino;
};

struct vfsmount {
	struct dentry *mnt_root;
	struct super_block *mnt_sb;
};

/* fs/mount.h */
struct mount {
	struct mount *mnt_parent;
	struct dentry *mnt_mountpoint;
	struct vfsmount mnt;
};

struct path {
	struct vfsmount *mnt;
	struct dentry *dentry;
};

struct file {
	u32 f_mode;
	struct path f_path;
	struct inode *f_inode;
};

/* fs/file_table.c: a file of a file system below another one (overlayfs), and the path that a user knows it by. */
struct backing_file {
	struct path user_path;
};

struct mm_struct {
	int map_count;
	unsigned long start_code, end_data, start_brk, brk, start_stack;
	/* CONFIG_MEMCG. */
	struct task_struct *owner;
	struct {
		void *vdso;
	} context;
};

/* What [vdso], [vvar] and [uprobes] are: their names lie behind vm_private_data. */
struct vm_special_mapping {
	const char *name;
};

struct vm_area_struct {
	unsigned long vm_start, vm_end, vm_flags, vm_pgoff;
	struct mm_struct *vm_mm;
	struct file *vm_file;
	void *vm_ops;
	void *vm_private_data;
};

/* fs/kernfs */
struct kernfs_node {
	u64 id;
};

struct cgroup_subsys_state {
	struct cgroup_subsys_state *parent;
};

struct cgroup {
	struct cgroup_subsys_state self;
	struct kernfs_node *kn;
};

struct css_set {
	struct cgroup *dfl_cgrp;
};

struct signal_struct {
	u32 flags;
	int group_exit_code;
};

/* arch/x86/include/asm/processor.h */
struct thread_struct {
	unsigned long fsbase;
};

struct task_struct {
	struct thread_info thread_info;
	int pid, tgid, exit_code;
	/* Whether faults are not handled but refused at once: copies of the kernel's that must not wait. */
	int pagefault_disabled;
	unsigned long min_flt, maj_flt;
	u64 start_boottime;
	struct mm_struct *mm;
	struct task_struct *group_leader;
	struct signal_struct *signal;
	struct thread_struct thread;
	struct css_set *cgroups;
};

#pragma clang attribute pop

enum { TS_COMPAT = 0x2 };
enum { SIGNAL_GROUP_EXIT = 0x4 };
/* include/linux/mm.h */
enum { VM_MAYSHARE = 0x80 };
/* include/linux/fs.h: FMODE_BACKING was bit 25 in Linux 6.5 and is another one of these by now. */
enum { MAY_BE_BACKING = 7 << 24 };
/* include/uapi/linux/magic.h */
enum { ANON_INODE_FS_MAGIC = 0x09041934 };

#endif
