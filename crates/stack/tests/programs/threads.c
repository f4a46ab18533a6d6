/* Threads, and signal handlers that map memory, on the stack of the thread and on another one. */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
static volatile int sink;
__attribute__((noinline)) static void map(void) {
    void *p = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(p, 8192);
    sink++;
}
static void handler(int s) { map(); sink += s; }
static void *thread(void *arg) {
    for (int i = 0; i < 2; i++) map();
    raise(SIGUSR1);
    sink += (long)arg;
    return 0;
}
int main(void) {
    struct sigaction a = { .sa_handler = handler };
    sigaction(SIGUSR1, &a, 0);
    raise(SIGUSR1);
    stack_t s = { .ss_sp = malloc(1 << 16), .ss_size = 1 << 16 };
    sigaltstack(&s, 0);
    a.sa_flags = SA_ONSTACK;
    sigaction(SIGSEGV, &a, 0);
    sigaction(SIGUSR2, &a, 0);
    kill(getpid(), SIGUSR2);
    pthread_t t;
    for (long i = 0; i < 3; i++) { pthread_create(&t, 0, thread, (void *)i); pthread_join(t, 0); }
    map();
    return 0;
}
