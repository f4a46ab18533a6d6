/* Many tasks: threads that idle while one calls mmap, forks, and vforks that execute.
   storm threads N CALLS · storm forks N RATE · storm vforks N RATE; prints nanoseconds per call, or how many a second. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static pthread_barrier_t gate;
static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec + t.tv_nsec / 1e9; }
static void *idle(void *unused) { (void)unused; pthread_barrier_wait(&gate); pause(); return 0; }

static int threads(int n, int calls) {
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 16384);
    pthread_barrier_init(&gate, 0, n + 1);
    for (int i = 0; i < n; i++) {
        pthread_t thread;
        if (pthread_create(&thread, &attr, idle, 0)) { perror("pthread_create"); return 1; }
    }
    pthread_barrier_wait(&gate);
    double start = now();
    for (int i = 0; i < calls; i++) {
        void *p = mmap(0, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED || munmap(p, 65536)) return 1;
    }
    printf("%.0f\n", (now() - start) * 1e9 / (2.0 * calls));
    return 0;
}

static int children(int n, int rate, int executes) {
    double start = now();
    for (int i = 0; i < n; i++) {
        pid_t child = executes ? vfork() : fork();
        if (child < 0) { perror("fork"); return 1; }
        if (child == 0) {
            if (executes) { execl("/bin/true", "true", (char *)0); _exit(127); }
            _exit(mmap(0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED);
        }
        int status;
        if (waitpid(child, &status, 0) != child || status) { fprintf(stderr, "child: %x\n", status); return 1; }
        double ahead = start + (double)(i + 1) / rate - now();
        if (ahead > 0) usleep(ahead * 1e6);
    }
    printf("%.0f\n", n / (now() - start));
    return 0;
}

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    int n = atoi(argv[2]), m = atoi(argv[3]);
    if (!strcmp(argv[1], "threads")) return threads(n, m);
    return children(n, m, !strcmp(argv[1], "vforks"));
}
