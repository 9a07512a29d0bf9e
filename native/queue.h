// Flow queues with CoDel (RFC 8290, RFC 8289): each flow waits in a queue of its own, sparse flows go first, a
// flow whose packets wait too long is marked or dropped, and all of them together are bounded. A Linux TUN never
// pushes back, so this is where the laptop's senders learn that the path is full. Pure: the caller brings the time
// and holds the lock.
#ifndef CZ_QUEUE_H
#define CZ_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pool.h"

enum {
  QUEUE_FLOWS = 1024,    // RFC 8290 §5.2.1
  QUEUE_QUANTUM = 16384, // our choice: an initial window (RFC 6928: 14 600 bytes) still counts as sparse
};

/** CoDel's state of one flow; names of RFC 8289 §5.3. */
struct codel {
  uint64_t first_above_ns;
  uint64_t drop_next_ns;
  uint32_t count;
  uint32_t last_count;
  bool dropping;
};

struct flow {
  struct packet *head, *tail;
  struct flow *next;
  size_t bytes; // of the records' bodies
  size_t cost;  // of the slots
  size_t largest;
  int64_t deficit;
  bool listed;
  struct codel codel;
};

struct flow_list {
  struct flow *head, *tail;
};

struct queue {
  struct pool *pool;
  struct flow *flows;
  struct flow_list fresh, old; // RFC 8290's new and old queues
  size_t limit_cost;
  size_t cost;
  size_t bytes;
  uint64_t dropped_full;
  uint64_t dropped_codel;
  uint64_t marked_codel;
};

/** Makes an empty queue over the pool, bounded by slots of `limit_cost` bytes. Returns 0 or -errno. */
int queue_open(struct queue *queue, struct pool *pool, size_t limit_cost);

/** Frees all; packets still waiting go back to the pool. */
void queue_close(struct queue *queue);

/** Takes over the packet. Beyond the bound, packets of the flow that occupies most are dropped from its head. */
void queue_push(struct queue *queue, struct packet *packet, uint64_t flow_hash, uint64_t now_ns);

/** Returns the next packet, now the caller's, or NULL when none waits. */
struct packet *queue_pop(struct queue *queue, uint64_t now_ns);

/** Drops what waits, without counting it. */
void queue_flush(struct queue *queue);

#endif
