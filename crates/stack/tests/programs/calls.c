/* Calls of all shapes that map memory: recursion, a callback of libc, large, aligned and variable frames. */
#define _GNU_SOURCE
#include <alloca.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
static volatile int sink;
__attribute__((noinline)) static void map(void) {
    void *p = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(p, 8192);
    sink++;
}
__attribute__((noinline)) static int deep(int n) {
    if (n == 0) { map(); return 1; }
    int r = deep(n - 1);
    sink += r;
    return r + n;
}
static int compare(const void *a, const void *b) {
    if (sink % 7 == 0) map(); else sink++;
    return *(const int *)a - *(const int *)b;
}
__attribute__((noinline)) static void large(void) { char b[20000]; memset(b, sink, sizeof b); map(); sink += b[sink & 1023]; }
__attribute__((noinline)) static void aligned(void) {
    char b[256] __attribute__((aligned(128)));
    memset(b, sink, sizeof b); map(); sink += b[sink & 255];
}
__attribute__((noinline)) static void variable(int n) { char *b = alloca(n); memset(b, 1, n); map(); sink += b[n / 2]; }
int main(void) {
    map(); deep(10); deep(60);
    int numbers[40];
    for (int i = 0; i < 40; i++) numbers[i] = (i * 7919) % 41;
    qsort(numbers, 40, sizeof(int), compare);
    large(); aligned(); variable(1000);
    void *m = malloc(1 << 20); m = realloc(m, 4 << 20); free(m);
    atexit(map);
    return 0;
}
