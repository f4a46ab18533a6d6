/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Rows of a map, as /proc/PID/maps would show them (kernel fs/proc/task_mmu.c:show_map_vma()), and the names in them. */
#ifndef VMATLAS_ROWS_H
#define VMATLAS_ROWS_H

#include "maps.h"

enum { PARTS = 40 };

INLINE struct name_room *name_room(void)
{
	u32 zero = 0;

	return bpf_map_lookup_elem(&name_rooms, &zero);
}

/* One step up: a part of the path, or out of a mount. */
static long climb(u32 index, void *unused)
{
	struct name_room *room = name_room();
	struct dentry *dentry, *root = 0, *parent = 0;
	struct mount *mount, *above = 0;
	const unsigned char *text = 0;
	u32 at;
	long len;

	if (!room)
		return 1;
	dentry = (void *)room->dentry;
	mount = (void *)room->mount;
	READ(root, mount, mnt.mnt_root);
	if (dentry == root) {
		READ(above, mount, mnt_parent);
		if (above == mount || !above) {
			room->name.is_cut = 0;
			return 1;
		}
		READ(dentry, mount, mnt_mountpoint);
		room->dentry = (u64)dentry;
		room->mount = (u64)above;
		return 0;
	}
	READ(text, dentry, d_name.name);
	at = room->size;
	BOUNDED(at, TEXT_SIZE);
	len = bpf_probe_read_kernel_str(&room->name.text[at], TEXT_PART, text);
	if (len <= 0)
		return 1;
	room->size = at + len;
	READ(parent, dentry, d_parent);
	room->dentry = (u64)parent;
	/* The root of nothing: memory files have a name, but no place. */
	if (parent == dentry)
		room->name.is_cut = 0;
	return parent == dentry;
}

INLINE struct name_room *begin_name(struct row *row)
{
	struct name_room *room = name_room();

	if (!room)
		return 0;
	__builtin_memset(&room->name, 0, sizeof(room->name) - sizeof(room->name.text));
	room->name.head.kind = KIND_NAME;
	room->name.name = row->name;
	room->name.inode = row->inode;
	room->name.dev = row->dev;
	room->size = 0;
	return room;
}

/* Takes a text that is all of the name. */
INLINE void take_text(struct name_room *room, const void *text)
{
	long len = bpf_probe_read_kernel_str(room->name.text, TEXT_PART, text);

	room->size = len > 0 ? len : 0;
}

INLINE long tell_name(struct name_room *room)
{
	u64 size = room->size;

	BOUNDED(size, TEXT_SIZE);
	room->name.size = size;
	return bpf_ringbuf_output(&ring, &room->name, sizeof(room->name) - sizeof(room->name.text) + size,
				  RB_NO_WAKEUP);
}

/* Tells the path of a file, once. It is told under the mmap lock, so the file stays what it is. */
INLINE void tell_path(struct row *row, u64 mnt, u64 dentry, u32 is_anon_inode)
{
	struct file_key key = {row->name, row->inode, row->dev, row->bits & ROW_DELETED};
	struct name_room *room;
	u64 unused = 0;
	u32 one = 1;

	if (bpf_map_lookup_elem(&told, &key))
		return;
	room = begin_name(row);
	if (!room)
		return;
	room->name.is_anon_inode = is_anon_inode;
	if (is_anon_inode) {
		const unsigned char *text = 0;

		READ(text, (struct dentry *)dentry, d_name.name);
		take_text(room, text);
	} else {
		room->dentry = dentry;
		room->mount = mnt - OFFSET_OF_FIELD(struct mount, mnt);
		room->name.is_cut = 1;
		bpf_loop(PARTS, climb, &unused, 0);
	}
	if (!tell_name(room))
		bpf_map_update_elem(&told, &key, &one, 0);
}

/* Tells the name of a special mapping, once. */
INLINE void tell_special(struct row *row)
{
	struct file_key key = {row->name, 0, 0, 0};
	const char *text = 0;
	struct name_room *room;
	u32 one = 1;

	if (bpf_map_lookup_elem(&told, &key))
		return;
	room = begin_name(row);
	if (!room)
		return;
	READ(text, (struct vm_special_mapping *)row->name, name);
	take_text(room, text);
	room->name.is_special = 1;
	if (!tell_name(room))
		bpf_map_update_elem(&told, &key, &one, 0);
}

/*
 * The path of a file by which its user knows it, where that is another one than its own (overlayfs). Which flag says so is
 * not the same on all kernels; a mount and a dentry of one file system do not lie behind a file by chance.
 */
INLINE int user_path(struct file *file, u64 *mnt, u64 *dentry)
{
	struct backing_file *backing = (void *)file;
	struct super_block *of_mount = 0, *of_dentry = 0;

	if (!(file->f_mode & MAY_BE_BACKING) || !TYPE_EXISTS(struct backing_file))
		return 0;
	READ(*mnt, backing, user_path.mnt);
	READ(*dentry, backing, user_path.dentry);
	READ(of_mount, (struct vfsmount *)*mnt, mnt_sb);
	READ(of_dentry, (struct dentry *)*dentry, d_sb);
	return of_mount && of_mount == of_dentry;
}

/* The file of a VMA, as its user knows it. */
INLINE void file_of(struct file *file, struct row *row)
{
	unsigned long number = 0, magic = 0;
	void *hashed = 0;
	/* Numbers, not pointers: they are put together with others. */
	u64 mnt = 0, dentry = 0, hash = 0;

	if (user_path(file, &mnt, &dentry)) {
		struct inode *inode = 0;
		struct super_block *sb = 0;

		READ(inode, (struct dentry *)dentry, d_inode);
		READ(number, inode, i_ino);
		READ(sb, inode, i_sb);
		READ(row->dev, sb, s_dev);
		READ(magic, sb, s_magic);
		READ(hash, (struct dentry *)dentry, d_name.hash_len);
		READ(hashed, (struct dentry *)dentry, d_hash.pprev);
	} else {
		READ(mnt, file, f_path.mnt);
		READ(dentry, file, f_path.dentry);
		number = file->f_inode->i_ino;
		row->dev = file->f_inode->i_sb->s_dev;
		magic = file->f_inode->i_sb->s_magic;
		hash = file->f_path.dentry->d_name.hash_len;
		hashed = file->f_path.dentry->d_hash.pprev;
	}
	row->inode = number;
	/* A renamed file has another hash. */
	row->name = dentry ^ (hash << 1 | 1) * 0x9e3779b97f4a7c15ULL;
	/* Files of this file system are never hashed, and yet not deleted. */
	if (!hashed && magic != ANON_INODE_FS_MAGIC)
		row->bits |= ROW_DELETED;
	tell_path(row, mnt, dentry, magic == ANON_INODE_FS_MAGIC);
}

/* Makes the row of a VMA; the mmap lock is held for reading. */
INLINE void row_of(struct vm_area_struct *vma, struct row *row)
{
	u64 flags = vma->vm_flags;

	row->start = vma->vm_start;
	row->end = vma->vm_end;
	row->bits = (flags & 7) | (flags & VM_MAYSHARE ? 8 : 0);
	row->pgoff = row->inode = row->name = row->dev = 0;
	if (vma->vm_file) {
		row->pgoff = vma->vm_pgoff;
		file_of(vma->vm_file, row);
		return;
	}
	if (vma->vm_ops) {
		bpf_probe_read_kernel(&row->name, sizeof(row->name),
				      __builtin_preserve_access_index(&vma->vm_private_data));
		if (row->name)
			tell_special(row);
		return;
	}
	if (vma->vm_start < vma->vm_mm->brk && vma->vm_end > vma->vm_mm->start_brk)
		row->bits |= ROW_HEAP;
	else if (vma->vm_start <= vma->vm_mm->start_stack && vma->vm_end >= vma->vm_mm->start_stack)
		row->bits |= ROW_STACK;
}

static long found(struct task_struct *task, struct vm_area_struct *vma, struct row *row)
{
	row_of(vma, row);
	return 0;
}

#endif
