// The owner's thread, batch by batch: records out of the queues, and records into the kernel.
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "bytes.h"
#include "records.h"
#include "tun_state.h"
#include "virtio.h"

/** Moves packets that fit, and one at least, out of the queue. Returns them linked; arms `readable` if there is none. */
static struct packet *dequeue(struct tun *tun, size_t wanted) {
  struct packet *first = NULL, **end = &first;
  uint64_t now = now_ns();
  size_t cost = 0, taken = 0;
  for (;;) {
    struct packet *packet = tun->stash != NULL ? tun->stash : queue_pop(&tun->queue, now);
    tun->stash = NULL;
    if (packet == NULL) break;
    if (first != NULL && (taken + RECORD_PREFIX + packet->length > wanted || cost >= POOL_BATCH_BYTES)) {
      tun->stash = packet;
      break;
    }
    taken += RECORD_PREFIX + packet->length;
    cost += pool_cost(&tun->pool, packet);
    packet->next = NULL;
    *end = packet;
    end = &packet->next;
  }
  tun->armed = first == NULL && tun->failed == 0;
  return first;
}

static size_t copy_out(const struct packet *first, uint8_t *arena) {
  size_t at = 0;
  for (const struct packet *packet = first; packet != NULL; packet = packet->next) {
    put_be32(arena + at, packet->length);
    memcpy(arena + at + RECORD_PREFIX, packet->bytes, packet->length);
    at += RECORD_PREFIX + packet->length;
  }
  return at;
}

ssize_t tun_take(struct tun *tun, uint8_t *arena, size_t wanted) {
  pthread_mutex_lock(&tun->lock);
  struct packet *first = dequeue(tun, wanted);
  int failed = tun->failed;
  pthread_mutex_unlock(&tun->lock);
  if (first == NULL) return failed;
  size_t taken = copy_out(first, arena);
  pthread_mutex_lock(&tun->lock);
  while (first != NULL) {
    struct packet *next = first->next;
    pool_give(&tun->pool, first);
    first = next;
  }
  pthread_mutex_unlock(&tun->lock);
  return (ssize_t)taken;
}

static void write_one(struct tun *tun, const uint8_t *body, size_t length) {
  struct packet_view view;
  bool sound = packet_parse(&view, body + VIRTIO_HEADER, length - VIRTIO_HEADER) && virtio_check(body, &view);
  if (!sound) {
    count(&tun->dropped_malformed, 1);
  } else if (!passes(tun, &view, false)) {
    count(&tun->dropped_filter, 1);
  } else if (write(tun->fd, body, length) < 0) {
    count(&tun->dropped_write, 1);
  } else {
    count(&tun->written_packets, 1);
    count(&tun->written_bytes, view.length);
  }
}

int tun_write(struct tun *tun, const uint8_t *records, size_t length) {
  if (!records_framed(records, length)) return -EPROTO;
  for (size_t at = 0; at < length;) {
    uint32_t body = be32(records + at);
    write_one(tun, records + at + RECORD_PREFIX, body);
    at += RECORD_PREFIX + body;
  }
  return 0;
}
