// The life of a TUN and its settings. Packets are in tun_read.c and tun_batch.c.
#define _GNU_SOURCE
#include "tun.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#include "glibc.h"
#include "tun_device.h"
#include "tun_state.h"

enum {
  RING_PACKETS = 2048,       // our choice: 20 ms of 100 000 packets/s while the reader waits for a core
  READER_STACK = 128 * 1024, // our choice: the reader calls nothing deep
};

static int open_device(struct tun *tun, enum tun_step *step) {
  *step = TUN_STEP_DEVICE;
  tun->fd = tun_device_open();
  if (tun->fd < 0) return tun->fd;
  *step = TUN_STEP_INTERFACE;
  int error = tun_device_attach(tun->fd, tun->name);
  if (error != 0) return error;
  tun->granted = tun_device_probe(tun->fd);
  tun->offloads = tun->granted;
  tun_device_set_ring(tun->name, RING_PACKETS);
  return 0;
}

static int start_reader(struct tun *tun) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, READER_STACK);
  int error = pthread_create(&tun->reader, &attributes, tun_reader, tun);
  pthread_attr_destroy(&attributes);
  return -error;
}

static int open_memory(struct tun *tun, enum tun_step *step, size_t queue_bytes) {
  *step = TUN_STEP_MEMORY;
  int error = pool_open(&tun->pool, queue_bytes);
  if (error == 0) error = queue_open(&tun->queue, &tun->pool, queue_bytes);
  if (error != 0) return error;
  if (getrandom(&tun->key, sizeof tun->key, 0) != sizeof tun->key) return -EIO;
  tun->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  return tun->wake < 0 ? -errno : start_reader(tun);
}

static void release(struct tun *tun) {
  if (tun->fd >= 0) close(tun->fd);
  if (tun->wake >= 0) close(tun->wake);
  queue_close(&tun->queue);
  pool_close(&tun->pool);
  pthread_mutex_destroy(&tun->lock);
  free(tun);
}

int tun_open(struct tun **out, enum tun_step *step, const char name[IFNAMSIZ], size_t queue_bytes,
             tun_readable *readable, void *context) {
  struct tun *tun = calloc(1, sizeof *tun);
  *step = TUN_STEP_MEMORY;
  if (tun == NULL) return -ENOMEM;
  tun->fd = tun->wake = -1;
  tun->readable = readable;
  tun->context = context;
  tun->armed = true;
  memcpy(tun->name, name, IFNAMSIZ);
  pthread_mutex_init(&tun->lock, NULL);
  int error = open_device(tun, step);
  if (error == 0) error = open_memory(tun, step, queue_bytes);
  if (error == 0)
    *out = tun;
  else
    release(tun);
  return error;
}

void tun_close(struct tun *tun) {
  const uint64_t one = 1;
  atomic_store(&tun->closing, true);
  (void)!write(tun->wake, &one, sizeof one);
  pthread_join(tun->reader, NULL);
  release(tun);
}

const char *tun_name(const struct tun *tun) { return tun->name; }

unsigned tun_offloads(const struct tun *tun) { return tun->offloads; }

int tun_set_offloads(struct tun *tun, unsigned wanted) {
  unsigned offloads = wanted & tun->granted;
  int error = tun_device_offload(tun->fd, offloads);
  if (error != 0) return error;
  tun->offloads = offloads;
  return (int)offloads;
}

void tun_set_session(struct tun *tun, enum side side, uint32_t address) {
  uint64_t session = side == SIDE_NONE ? 0 : (uint64_t)side << 32 | address;
  pthread_mutex_lock(&tun->lock);
  if (atomic_exchange(&tun->session, session) != session) {
    queue_flush(&tun->queue);
    if (tun->stash != NULL) pool_give(&tun->pool, tun->stash);
    tun->stash = NULL;
  }
  pthread_mutex_unlock(&tun->lock);
}

void tun_read_stats(struct tun *tun, struct tun_stats *stats) {
  *stats = (struct tun_stats){
      .read_packets = counted(&tun->read_packets),
      .read_bytes = counted(&tun->read_bytes),
      .written_packets = counted(&tun->written_packets),
      .written_bytes = counted(&tun->written_bytes),
      .dropped_filter = counted(&tun->dropped_filter),
      .dropped_malformed = counted(&tun->dropped_malformed),
      .dropped_write = counted(&tun->dropped_write),
  };
  pthread_mutex_lock(&tun->lock);
  stats->dropped_queue = tun->queue.dropped_full;
  stats->dropped_codel = tun->queue.dropped_codel;
  stats->marked_codel = tun->queue.marked_codel;
  stats->queued_bytes = tun->queue.bytes + (tun->stash != NULL ? tun->stash->length : 0);
  stats->resident_bytes = pool_resident(&tun->pool);
  pthread_mutex_unlock(&tun->lock);
}
