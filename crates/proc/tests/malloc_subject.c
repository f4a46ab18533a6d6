/* A program whose malloc is looked into: malloc_subject THREADS CHUNKS LARGEST [busy|blocked]
   Fills the main arena and one for each thread with holes, prints malloc_info(3) and mallinfo2(3), then "ready", and
   waits until its input ends. With "busy" the threads go on allocating; with "blocked" the brk heap cannot grow and
   the main arena is in pieces. */
#define _GNU_SOURCE
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static pthread_barrier_t filled, end;
static int chunks, largest, busy;

static unsigned next(unsigned *seed) { return *seed = *seed * 1103515245u + 12345u, *seed >> 8; }

static void fill(unsigned seed) {
  void **all = calloc(chunks, sizeof *all);
  for (int i = 0; i < chunks; i++) {
    size_t size = next(&seed) % 2 ? next(&seed) % 200 : next(&seed) % largest;
    all[i] = malloc(size);
    memset(all[i], 1, size < 20000 ? size : 20000);
  }
  do {
    for (int i = 0; i < chunks; i++)
      if (next(&seed) % 3) free(all[i]), all[i] = NULL;
    for (int i = 0; busy && i < chunks; i++)
      if (!all[i]) all[i] = malloc(next(&seed) % largest);
  } while (busy);
}

static void *work(void *seed) {
  if (busy) pthread_barrier_wait(&filled);
  fill((unsigned)(long)seed);
  pthread_barrier_wait(&filled);
  pthread_barrier_wait(&end);
  return NULL;
}

int main(int argc, char **argv) {
  if (argc < 4) return 2;
  int threads = atoi(argv[1]);
  chunks = atoi(argv[2]), largest = atoi(argv[3]), busy = argc > 4 && !strcmp(argv[4], "busy");
  pthread_barrier_init(&filled, NULL, threads + 1);
  pthread_barrier_init(&end, NULL, threads + 1);
  setvbuf(stdout, malloc(1 << 20), _IOFBF, 1 << 20);
  if (argc > 4 && !busy)
    mmap(sbrk(0), 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  void *volatile big = malloc(50 << 20);
  memset(big, 1, 1 << 20);
  for (long i = 1; i <= threads; i++) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, work, (void *)i)) return 1;
  }
  if (!busy) fill(99);
  pthread_barrier_wait(&filled);
  malloc_info(0, stdout);
  printf("\nready\n");
  fflush(stdout);
  char byte;
  while (read(0, &byte, 1) > 0) {}
  _exit(0);
}
