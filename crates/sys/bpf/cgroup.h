/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Which processes come into a cgroup (version 2) or one below it: those that are moved there, and those that are made right
 * there (CLONE_INTO_CGROUP). What a process makes after that is watched as its child. User space takes them in.
 */
#ifndef VMATLAS_CGROUP_H
#define VMATLAS_CGROUP_H

#include "maps.h"

/* The inode of its folder; 0 for none. */
const volatile u64 watched_cgroup = 0;

enum { CGROUP_DEPTH = 24 };

/* Whether it is the one that is watched, or lies below it. */
INLINE int is_watched_cgroup(struct cgroup *cgroup)
{
	struct kernfs_node *node;
	u64 id;
	u32 i;

	/* A cgroup begins with its own state, which knows that of the parent. */
	for (i = 0; i < CGROUP_DEPTH; i++) {
		if (!cgroup)
			return 0;
		node = 0;
		id = 0;
		READ(node, cgroup, kn);
		READ(id, node, id);
		if (id == watched_cgroup)
			return 1;
		READ(cgroup, cgroup, self.parent);
	}
	return 0;
}

INLINE void tell_came(struct task_struct *task)
{
	struct head head = {};

	begin(&head, KIND_CAME, task, 0, next_order());
	emit(&head, sizeof(head), RB_FORCE_WAKEUP);
}

/* A task that is not watched: perhaps it is in the cgroup, made right there or moved there just now. */
INLINE void look_where(struct task_struct *task)
{
	struct css_set *set;
	struct cgroup *cgroup = 0;

	if (!watched_cgroup)
		return;
	set = task->cgroups;
	READ(cgroup, set, dfl_cgrp);
	if (is_watched_cgroup(cgroup))
		tell_came(task);
}

/*
 * Attached only where a cgroup is watched. Cgroups of version 1 are told of too, and have numbers of their own: so not the one
 * that is told counts, but where the task is in version 2.
 */
SEC("tp_btf/cgroup_attach_task")
int on_cgroup(u64 *context)
{
	struct task_struct *task = (void *)context[2];

	if (!process_of(task))
		look_where(task);
	return 0;
}

#endif
