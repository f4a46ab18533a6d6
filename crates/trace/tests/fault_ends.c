/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Page faults that end in every way there is, and right after each what is accounted as a fault and is none (get_user_pages).
 * Says where in the file of its first argument; the second one is a file of a page that may be on a disk.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <unistd.h>

enum { PAGE = 4096, PAGES = 64, TIMES = 3 };

static sigjmp_buf back;
static FILE *out;

static void jump(int signal)
{
	siglongjmp(back, signal);
}

static char *fresh(int pages, int prot, int flags)
{
	char *at = mmap(NULL, pages * PAGE, prot, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);

	madvise(at, pages * PAGE, MADV_NOHUGEPAGE);
	return at;
}

static void say(const char *what, const void *at, long more)
{
	fprintf(out, "%s %lx %ld\n", what, (unsigned long)at, more);
	fflush(out);
}

/* The kernel touches a page of ours for a call of ours, without a fault. */
static void touch_without_fault(void)
{
	static char here[PAGE];
	char *there = fresh(1, PROT_READ | PROT_WRITE, 0);
	struct iovec local = { here, PAGE }, remote = { there, PAGE };
	long got;

	here[0] = 1;
	got = process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
	say("silent", there, got);
}

static void touch_forbidden(volatile char *at)
{
	if (!sigsetjmp(back, 1))
		*at = 1;
}

int main(int argc, char **argv)
{
	char *forbidden = fresh(1, PROT_NONE, 0), *closed = fresh(1, PROT_READ, 0), *whole;
	int zero = open("/dev/zero", O_RDONLY), file = open(argv[2], O_RDWR);
	struct rusage before, after;
	volatile char *page;

	out = fopen(argv[1], "w");
	signal(SIGSEGV, jump);
	signal(SIGBUS, jump);
	say("failed", forbidden, TIMES + 1);
	for (int i = 0; i < TIMES; i++) {
		touch_forbidden(forbidden);
		touch_without_fault();
	}
	touch_forbidden(forbidden);
	say("silent", fresh(PAGES, PROT_READ | PROT_WRITE, MAP_POPULATE), 0);
	/* Beyond the end of its file: SIGBUS. */
	page = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	say("failed", (void *)(page + PAGE), 1);
	touch_forbidden(page + PAGE);
	touch_without_fault();
	/* By the kernel: EFAULT, and into fresh memory. */
	say("failed", closed, read(zero, closed, PAGE) < 0);
	touch_without_fault();
	whole = fresh(PAGES, PROT_READ | PROT_WRITE, 0);
	say("kernel", whole, read(zero, whole, PAGES * PAGE) / PAGE);
	/* From the disk, where the file lies on one and the page could be dropped. */
	fsync(file);
	posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
	getrusage(RUSAGE_SELF, &before);
	(void)*page;
	getrusage(RUSAGE_SELF, &after);
	say("major", (void *)page, after.ru_majflt - before.ru_majflt);
	touch_without_fault();
	/* So that somebody has to ask what has become of the last one. */
	whole = fresh(1, PROT_READ | PROT_WRITE, 0);
	say("last", whole, 1);
	whole[0] = 1;
	usleep(200000);
	return 0;
}
