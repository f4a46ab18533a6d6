/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Where the kernel's variables of another processor lie, which no helper tells. */
#ifndef VMATLAS_PERCPU_H
#define VMATLAS_PERCPU_H

#include "helpers.h"

enum { MOST_CPUS = 256 };

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

/* kernel/bpf/arraymap.c */
struct bpf_array {
	u32 elem_size;
};

#pragma clang attribute pop

struct {
	uint(type, MAP_PERCPU_ARRAY);
	type(key, u32);
	type(value, u64);
	uint(max_entries, 1);
} anchors SEC(".maps"), numbers SEC(".maps");

struct {
	uint(type, MAP_ARRAY);
	type(key, u32);
	type(value, u64);
	uint(max_entries, MOST_CPUS);
} bases SEC(".maps");

static void *(*bpf_map_lookup_percpu_elem)(void *map, const void *key, u32 cpu) = (void *)195;

/* A pointer as a number: the verifier forgets what it read back from a map. */
INLINE u64 number_of(const void *pointer)
{
	u32 zero = 0;
	volatile u64 *room = bpf_map_lookup_elem(&numbers, &zero);

	if (!room)
		return 0;
	*room = (u64)pointer;
	return *room;
}

/*
 * Where a processor's own variables lie. The kernel's table of that is out of reach, but a map that has a value for each
 * processor tells it: the place of one such value, less what the kernel calls it by, which the map keeps.
 */
INLINE u64 base_of(u32 cpu)
{
	u32 zero = 0;
	u64 *base, map, name = 0;
	void *place;

	if (cpu >= MOST_CPUS)
		return 0;
	base = bpf_map_lookup_elem(&bases, &cpu);
	if (!base)
		return 0;
	if (*base)
		return *base;
	place = bpf_map_lookup_percpu_elem(&anchors, &zero, cpu);
	if (!place)
		return 0;
	/* Behind the map lie the names of its values. */
	map = number_of(&anchors) + __builtin_preserve_type_info(*(struct bpf_array *)0, 1);
	if (bpf_probe_read_kernel(&name, sizeof(name), (void *)map) || !name)
		return 0;
	return *base = number_of(place) - name;
}

#endif
