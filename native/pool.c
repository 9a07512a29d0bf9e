// The slot pool. Under AddressSanitizer free slots, and what lies behind a packet's length, are poisoned.
#define _GNU_SOURCE
#include "pool.h"

#include <errno.h>
#include <sys/mman.h>

#include "records.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#define POISON(address, size) ASAN_POISON_MEMORY_REGION(address, size)
#define UNPOISON(address, size) ASAN_UNPOISON_MEMORY_REGION(address, size)
#else
#define POISON(address, size) ((void)(address), (void)(size))
#define UNPOISON(address, size) ((void)(address), (void)(size))
#endif

// Our choice: acknowledgements, one MTU, small super-packets, the largest (whole pages, RECORD_BODY_MAX and head).
static const size_t SLOT_BYTES[POOL_CLASSES] = {256, 2048, 16384, 69632};

// Slots of each class beyond the limit and the batch: read into, kept back from a full arena, last of the batch, just
// pushed.
enum { SLACK_SLOTS = 4 };

_Static_assert(RECORD_BODY_MAX + sizeof(struct packet) <= 69632, "the largest packet has a slot");

static size_t slots_of(int class, size_t limit_bytes) {
  return (limit_bytes + POOL_BATCH_BYTES) / SLOT_BYTES[class] + SLACK_SLOTS;
}

int pool_open(struct pool *pool, size_t limit_bytes) {
  size_t total = 0;
  for (int i = 0; i < POOL_CLASSES; i++) total += slots_of(i, limit_bytes) * SLOT_BYTES[i];
  *pool = (struct pool){.memory_bytes = total};
  void *memory =
      mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return -errno;
  madvise(memory, total, MADV_NOHUGEPAGE); // 2 MiB pages would make a handful of packets cost megabytes
  pool->memory = memory;
  uint8_t *at = memory;
  for (int i = 0; i < POOL_CLASSES; i++) {
    size_t slots = slots_of(i, limit_bytes);
    pool->classes[i] = (struct pool_class){.base = at, .slot_bytes = SLOT_BYTES[i], .slots = slots};
    at += slots * SLOT_BYTES[i];
  }
  POISON(memory, total);
  return 0;
}

void pool_close(struct pool *pool) {
  if (pool->memory == NULL) return;
  UNPOISON(pool->memory, pool->memory_bytes);
  munmap(pool->memory, pool->memory_bytes);
  pool->memory = NULL;
}

static struct packet *slot_of(struct pool_class *class) {
  struct packet *packet = class->free;
  if (packet != NULL) {
    UNPOISON(packet, sizeof *packet);
    class->free = packet->next;
    return packet;
  }
  if (class->fresh == class->slots) return NULL;
  return (struct packet *)(void *)(class->base + class->slot_bytes * class->fresh++);
}

struct packet *pool_take(struct pool *pool, size_t length) {
  uint8_t index = 0;
  while (index < POOL_CLASSES && pool->classes[index].slot_bytes < sizeof(struct packet) + length) index++;
  if (index == POOL_CLASSES) return NULL;
  struct packet *packet = slot_of(&pool->classes[index]);
  if (packet == NULL) return NULL;
  UNPOISON(packet, sizeof *packet + length);
  packet->next = NULL;
  packet->length = (uint32_t)length;
  packet->pool_class = index;
  pool->used++;
  return packet;
}

void pool_give(struct pool *pool, struct packet *packet) {
  struct pool_class *class = &pool->classes[packet->pool_class];
  packet->next = class->free;
  class->free = packet;
  pool->used--;
  POISON(packet, class->slot_bytes);
}

size_t pool_cost(const struct pool *pool, const struct packet *packet) {
  return pool->classes[packet->pool_class].slot_bytes;
}

size_t pool_resident(const struct pool *pool) {
  size_t bytes = 0;
  for (int i = 0; i < POOL_CLASSES; i++) bytes += pool->classes[i].fresh * pool->classes[i].slot_bytes;
  return bytes;
}

void pool_trim(struct pool *pool) {
  if (pool->used != 0 || pool->memory == NULL) return;
  for (int i = 0; i < POOL_CLASSES; i++) {
    pool->classes[i].fresh = 0;
    pool->classes[i].free = NULL;
  }
  madvise(pool->memory, pool->memory_bytes, MADV_DONTNEED);
}
