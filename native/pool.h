// Memory for waiting packets: slots of four sizes cut from one reserved range of address space. Pages become
// resident on first use and go back to the kernel when the pool is trimmed, so an idle TUN costs next to nothing.
// Not thread-safe: the owner holds its lock.
#ifndef CZ_POOL_H
#define CZ_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  POOL_CLASSES = 4,
  POOL_BATCH_BYTES = 1024 * 1024, // slots that may be out for delivery beyond the limit; our choice: a few arenas
};

/** A packet in its slot; `bytes` is the virtio header and the IP packet. */
struct packet {
  struct packet *next;
  uint64_t since_ns; // when it joined its queue
  uint32_t length;   // of `bytes`
  uint8_t pool_class;
  uint8_t bytes[];
};

struct pool_class {
  uint8_t *base;
  size_t slot_bytes;
  size_t slots;
  size_t fresh; // slots from here on were never handed out since the last trim
  struct packet *free;
};

struct pool {
  uint8_t *memory;
  size_t memory_bytes;
  size_t used; // slots in use
  struct pool_class classes[POOL_CLASSES];
};

/** Reserves address space for `limit_bytes` in slots of any one size, and a batch more. Returns 0 or -errno. */
int pool_open(struct pool *pool, size_t limit_bytes);

void pool_close(struct pool *pool);

/** Returns a packet with room for `length` bytes (and that length set), or NULL when all such slots are in use. */
struct packet *pool_take(struct pool *pool, size_t length);

void pool_give(struct pool *pool, struct packet *packet);

/** Returns the memory that the packet occupies, which is what queues are bounded by. */
size_t pool_cost(const struct pool *pool, const struct packet *packet);

/** Returns an upper bound of the resident bytes. */
size_t pool_resident(const struct pool *pool);

/** Gives all memory back to the kernel if no slot is in use. */
void pool_trim(struct pool *pool);

#endif
