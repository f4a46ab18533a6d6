/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What a BPF program may call (include/uapi/linux/bpf.h), and the words clang and the loader understand. */
#ifndef VMATLAS_HELPERS_H
#define VMATLAS_HELPERS_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef int s32;
typedef unsigned long long u64;
typedef long long s64;

#define SEC(name) __attribute__((section(name), used))
#define INLINE static inline __attribute__((always_inline))
#define uint(name, val) int(*name)[val]
#define type(name, val) typeof(val) *name

/* Maps: enum bpf_map_type. */
enum { MAP_HASH = 1, MAP_ARRAY = 2, MAP_PERCPU_ARRAY = 6, MAP_LRU_HASH = 9, MAP_RINGBUF = 27 };
/* Flags of bpf_ringbuf_output(). */
enum { RB_NO_WAKEUP = 1, RB_FORCE_WAKEUP = 2 };
/* What bpf_ringbuf_query() tells. */
enum { RB_AVAIL_DATA = 0 };

struct task_struct;
struct pt_regs;

static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*bpf_map_update_elem)(void *map, const void *key, const void *value, u64 flags) = (void *)2;
static long (*bpf_map_delete_elem)(void *map, const void *key) = (void *)3;
static u64 (*bpf_ktime_get_ns)(void) = (void *)5;
static u32 (*bpf_get_smp_processor_id)(void) = (void *)8;
static u64 (*bpf_get_current_pid_tgid)(void) = (void *)14;
static long (*bpf_probe_read_user)(void *to, u32 size, const void *from) = (void *)112;
static long (*bpf_probe_read_kernel)(void *to, u32 size, const void *from) = (void *)113;
static long (*bpf_probe_read_kernel_str)(void *to, u32 size, const void *from) = (void *)115;
static long (*bpf_ringbuf_output)(void *ring, void *data, u64 size, u64 flags) = (void *)130;
static u64 (*bpf_ringbuf_query)(void *ring, u64 what) = (void *)134;
static struct task_struct *(*bpf_get_current_task_btf)(void) = (void *)158;
static struct pt_regs *(*bpf_task_pt_regs)(struct task_struct *task) = (void *)175;
static long (*bpf_find_vma)(struct task_struct *task, u64 addr, void *callback, void *context, u64 flags) = (void *)180;
static long (*bpf_loop)(u32 times, void *callback, void *context, u64 flags) = (void *)181;

/* Reads a field through a pointer that the verifier does not know; relocated like any other access. */
#define READ(to, ptr, field)                                                                                \
	({                                                                                                  \
		typeof(ptr) from_ = (ptr);                                                                  \
		bpf_probe_read_kernel(&(to), sizeof(to), __builtin_preserve_access_index(&from_->field));   \
	})

/* Says once more what the verifier forgot meanwhile, and the compiler did not: that an index is in bounds. */
#define BOUNDED(at, count)                                                                                  \
	do {                                                                                                \
		asm volatile("" : "+r"(at));                                                                \
		if (at >= (count))                                                                          \
			return 1;                                                                           \
	} while (0)

/* enum bpf_field_info_kind and enum bpf_type_info_kind of clang. */
#define OFFSET_OF_FIELD(type, field) __builtin_preserve_field_info(((type *)0)->field, 0)
#define FIELD_EXISTS(type, field) __builtin_preserve_field_info(((type *)0)->field, 2)
#define TYPE_EXISTS(type) __builtin_preserve_type_info(*(type *)0, 0)

#endif
