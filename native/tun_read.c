// The reader's thread. On a packet's walk out it is read, checked, queued, and the owner is woken. Between packets the
// reader waits, and gives memory back.
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "records.h"
#include "tun_state.h"
#include "virtio.h"

enum {
  COPY_MAX = 16000,        // larger packets are queued in the slot that they were read into
  KEEP_BYTES = 256 * 1024, // memory that an idle TUN may keep
  IDLE_MS = 1000,          // how long it keeps more than that
};

/** Returns the read packet in the slot that it waits in: its own small one, or the one that it was read into. */
static struct packet *settle(struct tun *tun, size_t length) {
  struct packet *packet = NULL;
  if (length <= COPY_MAX) packet = pool_take(&tun->pool, length);
  if (packet != NULL) {
    memcpy(packet->bytes, tun->slot->bytes, length);
    return packet;
  }
  packet = tun->slot;
  packet->length = (uint32_t)length;
  tun->slot = NULL;
  return packet;
}

/** Queues the packet if it is the session's, decided under the lock: a session that ends leaves none behind. */
static bool enqueue(struct tun *tun, const struct packet_view *view, size_t length) {
  uint64_t flow = packet_flow(view, &tun->key);
  uint64_t now = now_ns();
  pthread_mutex_lock(&tun->lock);
  bool mine = passes(tun, view, true);
  if (mine) queue_push(&tun->queue, settle(tun, length), flow, now);
  if (tun->queue.cost > KEEP_BYTES) tun->busy_ns = now;
  bool wake = mine && tun->armed;
  if (wake) tun->armed = false;
  pthread_mutex_unlock(&tun->lock);
  if (wake) tun->readable(tun->context);
  return mine;
}

static void accept_read(struct tun *tun, size_t length) {
  struct packet_view view;
  const uint8_t *bytes = tun->slot->bytes;
  bool sound = length >= RECORD_BODY_MIN && packet_parse(&view, bytes + VIRTIO_HEADER, length - VIRTIO_HEADER);
  if (!sound) {
    count(&tun->dropped_malformed, 1);
  } else if (!enqueue(tun, &view, length)) {
    count(&tun->dropped_filter, 1);
  } else {
    count(&tun->read_packets, 1);
    count(&tun->read_bytes, view.length);
  }
}

/** Returns whether there is a slot to read into; the pool's slack is meant to make sure of it. */
static bool have_slot(struct tun *tun) {
  if (tun->slot != NULL) return true;
  pthread_mutex_lock(&tun->lock);
  tun->slot = pool_take(&tun->pool, RECORD_BODY_MAX);
  pthread_mutex_unlock(&tun->lock);
  return tun->slot != NULL;
}

/** Reads until none waits. Returns whether the interface is still there. */
static bool read_all(struct tun *tun) {
  while (!atomic_load_explicit(&tun->closing, memory_order_relaxed)) {
    if (!have_slot(tun)) return false;
    ssize_t length = read(tun->fd, tun->slot->bytes, RECORD_BODY_MAX);
    if (length >= 0)
      accept_read(tun, (size_t)length);
    else if (errno == EAGAIN)
      return true;
    else if (errno != EINTR && errno != ENOMEM && errno != ENOBUFS)
      return false;
  }
  return true;
}

/** Gives memory back when much was used, none is now, and a while has passed. Returns the wait until then in ms. */
static int rest(struct tun *tun) {
  pthread_mutex_lock(&tun->lock);
  bool much = pool_resident(&tun->pool) > KEEP_BYTES;
  if (much && now_ns() - tun->busy_ns > IDLE_MS * 1000000ull) {
    size_t own = tun->slot != NULL ? 1 : 0;
    if (tun->pool.used == own) {
      if (own) pool_give(&tun->pool, tun->slot);
      tun->slot = NULL;
      pool_trim(&tun->pool);
      much = false;
    }
  }
  pthread_mutex_unlock(&tun->lock);
  return much ? IDLE_MS : -1;
}

/** Notes that the interface is gone. (The kernel says EBADFD, EFAULT or EIO, by the moment.) */
static void fail(struct tun *tun) {
  pthread_mutex_lock(&tun->lock);
  tun->failed = -ENODEV;
  bool wake = tun->armed;
  tun->armed = false;
  pthread_mutex_unlock(&tun->lock);
  if (wake) tun->readable(tun->context);
}

void *tun_reader(void *context) {
  struct tun *tun = context;
  struct pollfd wait[2] = {{.fd = tun->fd, .events = POLLIN}, {.fd = tun->wake, .events = POLLIN}};
  while (!atomic_load(&tun->closing)) {
    if (poll(wait, 2, rest(tun)) <= 0 || wait[0].revents == 0) continue;
    if (read_all(tun) && !(wait[0].revents & (POLLERR | POLLHUP | POLLNVAL))) continue;
    fail(tun);
    break;
  }
  return NULL;
}
