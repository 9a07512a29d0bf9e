// What the two threads of a TUN share: the reader's (tun_read.c) and the owner's (tun_batch.c, tun.c).
#ifndef CZ_TUN_STATE_H
#define CZ_TUN_STATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "filter.h"
#include "packet.h"
#include "pool.h"
#include "queue.h"
#include "tun.h"

struct tun {
  int fd, wake;
  char name[IFNAMSIZ];
  unsigned granted;
  atomic_uint offloads;
  pthread_t reader;
  atomic_bool closing;
  tun_readable *readable;
  void *context;
  struct siphash_key key;
  atomic_uint_fast64_t session; // side << 32 | address
  atomic_uint_fast64_t read_packets, read_bytes, written_packets, written_bytes;
  atomic_uint_fast64_t dropped_filter, dropped_malformed, dropped_write;
  pthread_mutex_t lock; // guards what follows
  struct pool pool;
  struct queue queue;
  struct packet *stash; // out of the queue, but the arena was full
  struct packet *slot;  // what the reader reads into
  bool armed;           // the owner waits for `readable`
  int failed;           // why the reader ended, -errno
  uint64_t busy_ns;     // when much memory was last in use
};

static inline void count(atomic_uint_fast64_t *counter, uint64_t more) {
  atomic_fetch_add_explicit(counter, more, memory_order_relaxed);
}

static inline uint64_t counted(const atomic_uint_fast64_t *counter) {
  return atomic_load_explicit(counter, memory_order_relaxed);
}

static inline uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/** Returns whether the session's filter lets the packet pass; `from_tun`: it was read, else it is to be written. */
static inline bool passes(const struct tun *tun, const struct packet_view *view, bool from_tun) {
  uint64_t session = atomic_load_explicit(&tun->session, memory_order_acquire);
  enum side side = (enum side)(session >> 32);
  if (side == SIDE_NONE) return false;
  bool outbound = (side == SIDE_LAPTOP) == from_tun;
  return outbound ? filter_outbound(view, (uint32_t)session) : filter_inbound(view, (uint32_t)session);
}

/** The reader's thread: runs until the TUN is closing or its interface is gone. `context` is the TUN. */
void *tun_reader(void *context);

#endif
