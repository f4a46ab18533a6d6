// A program that obtains memory of one sort, says "ready" and waits for the end of its input.
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <unistd.h>

#define MIB (1024UL * 1024)
#define check(what) do { if (!(what)) { perror(#what); exit(1); } } while (0)

static char *obtain(size_t size, int flags, int fd) {
    char *at = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0);
    check(at != MAP_FAILED);
    return at;
}

static void *thread(void *arg) {
    for (size_t i = 0; i < 64; i++) {
        char *block = malloc(1000 * (i + 1) * ((size_t)arg % 7 + 1));
        check(block);
        memset(block, 1, 500 * (i + 1));
        if (i % 3 == 0) free(block);
    }
    pause();
    return NULL;
}

static void threads(void) {
    for (size_t i = 0; i < 50; i++) {
        pthread_t id;
        check(pthread_create(&id, NULL, thread, (void *)i) == 0);
    }
    sleep(1);
}

// Huge pages whole, in part written by a child that lives on, given back in part, and shared ones where there are any.
static void thp(void) {
    char *whole = obtain(32 * MIB, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    check(madvise(whole, 32 * MIB, MADV_HUGEPAGE) == 0);
    memset(whole, 1, 24 * MIB);
    madvise(whole + 8 * MIB, 100 * 4096, MADV_DONTNEED);
    madvise(whole + 16 * MIB, 2 * MIB, MADV_FREE);
    volatile char *zero = obtain(8 * MIB, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    check(madvise((char *)zero, 8 * MIB, MADV_HUGEPAGE) == 0);
    for (size_t i = 0; i < 8 * MIB; i += 4096) (void)zero[i];
    mprotect(whole + 3 * MIB, MIB / 2, PROT_READ);
    int ready[2];
    check(pipe(ready) == 0);
    if (fork() == 0) {
        memset(whole + 20 * MIB, 2, MIB);
        check(write(ready[1], "x", 1) == 1);
        pause();
    }
    char byte;
    check(read(ready[0], &byte, 1) == 1);
}

static void shared(void) {
    int fd = memfd_create("hold", 0);
    check(fd >= 0 && ftruncate(fd, 8 * MIB) == 0);
    memset(obtain(8 * MIB, MAP_SHARED, fd), 1, 4 * MIB);
    // Some of its pages become copies of our own.
    memset(obtain(8 * MIB, MAP_PRIVATE, fd) + MIB, 2, MIB);
    int id = shmget(IPC_PRIVATE, 4 * MIB, 0600);
    check(id >= 0);
    char *sysv = shmat(id, NULL, 0);
    shmctl(id, IPC_RMID, NULL);
    check(sysv != (void *)-1);
    memset(sysv, 1, 3 * MIB);
    memset(obtain(4 * MIB, MAP_SHARED | MAP_ANONYMOUS, -1), 1, 2 * MIB);
    check(memset(obtain(MIB, MAP_SHARED, fd), 3, MIB / 2));
    int huge = memfd_create("huge", MFD_HUGETLB);
    if (huge >= 0 && ftruncate(huge, 2 * MIB) == 0) {
        char *at = mmap(NULL, 2 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED, huge, 0);
        if (at != MAP_FAILED) *at = 1;
    }
    int ready[2];
    check(pipe(ready) == 0);
    if (fork() == 0) {
        volatile char *mine = sysv;
        for (size_t i = 0; i < MIB; i += 4096) (void)mine[i];
        check(write(ready[1], "x", 1) == 1);
        pause();
    }
    char byte;
    check(read(ready[0], &byte, 1) == 1);
}

static void swap(void) {
    char *mine = obtain(16 * MIB, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    memset(mine, 1, 16 * MIB);
    check(madvise(mine, 8 * MIB, MADV_PAGEOUT) == 0);
    char *object = obtain(8 * MIB, MAP_SHARED | MAP_ANONYMOUS, -1);
    memset(object, 1, 8 * MIB);
    check(madvise(object, 4 * MIB, MADV_PAGEOUT) == 0);
    // Read again: in memory and in the swap cache.
    volatile char *back = mine;
    for (size_t i = 0; i < MIB; i += 4096) (void)back[i];
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    if (!strcmp(what, "threads")) threads();
    else if (!strcmp(what, "thp")) thp();
    else if (!strcmp(what, "shared")) shared();
    else if (!strcmp(what, "swap")) swap();
    else return 2;
    puts("ready");
    fflush(stdout);
    char byte;
    while (read(0, &byte, 1) > 0) {}
    return 0;
}
