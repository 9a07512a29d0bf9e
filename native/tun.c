// The life of a TUN. On a packet's walk out: 1 the reader's thread reads, checks and queues it, 2 it wakes the owner,
// 3 the owner takes it as a record. On the walk in: 4 the owner writes it after its checks.
#define _GNU_SOURCE
#include "tun.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "bytes.h"
#include "filter.h"
#include "glibc.h"
#include "pool.h"
#include "queue.h"
#include "records.h"
#include "tun_device.h"
#include "virtio.h"

enum {
  RING_PACKETS = 2048,      // our choice: 20 ms of 100 000 packets/s while the reader waits for a core
  COPY_MAX = 16384,         // larger packets are queued in the slot that they were read into
  READER_STACK = 128 * 1024, // our choice: the reader calls nothing deep
  KEEP_BYTES = 256 * 1024,  // memory that an idle TUN may keep
  IDLE_MS = 1000,           // how long it keeps more than that
};

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

static void count(atomic_uint_fast64_t *counter, uint64_t more) {
  atomic_fetch_add_explicit(counter, more, memory_order_relaxed);
}

static uint64_t counted(const atomic_uint_fast64_t *counter) {
  return atomic_load_explicit(counter, memory_order_relaxed);
}

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/** Returns whether the session's filter lets the packet pass; `from_tun`: it was read, else it is to be written. */
static bool passes(const struct tun *tun, const struct packet_view *view, bool from_tun) {
  uint64_t session = atomic_load_explicit(&tun->session, memory_order_acquire);
  enum side side = (enum side)(session >> 32);
  if (side == SIDE_NONE) return false;
  bool outbound = (side == SIDE_LAPTOP) == from_tun;
  return outbound ? filter_outbound(view, (uint32_t)session) : filter_inbound(view, (uint32_t)session);
}

// 1 Read, check, queue.

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

/** Returns whether there is a slot to read into. */
static bool have_slot(struct tun *tun) {
  if (tun->slot != NULL) return true;
  pthread_mutex_lock(&tun->lock);
  tun->slot = pool_take(&tun->pool, RECORD_BODY_MAX);
  pthread_mutex_unlock(&tun->lock);
  return tun->slot != NULL;
}

/** Reads until none waits. Returns 0, or -errno when the interface is gone. */
static int read_all(struct tun *tun) {
  while (!atomic_load_explicit(&tun->closing, memory_order_relaxed)) {
    if (!have_slot(tun)) return -ENOMEM;
    ssize_t length = read(tun->fd, tun->slot->bytes, RECORD_BODY_MAX);
    if (length >= 0) {
      accept_read(tun, (size_t)length);
      continue;
    }
    if (errno == EAGAIN) return 0;
    if (errno != EINTR && errno != ENOMEM && errno != ENOBUFS) return -errno;
  }
  return 0;
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

/** The kernel says EBADFD, EFAULT or EIO, by the moment at which the interface went. */
static void fail(struct tun *tun, int error) {
  pthread_mutex_lock(&tun->lock);
  tun->failed = error == -ENOMEM ? error : -ENODEV;
  bool wake = tun->armed;
  tun->armed = false;
  pthread_mutex_unlock(&tun->lock);
  if (wake) tun->readable(tun->context);
}

static void *read_until_closed(void *context) {
  struct tun *tun = context;
  struct pollfd wait[2] = {{.fd = tun->fd, .events = POLLIN}, {.fd = tun->wake, .events = POLLIN}};
  while (!atomic_load(&tun->closing)) {
    if (poll(wait, 2, rest(tun)) <= 0) continue;
    if (wait[0].revents == 0) continue;
    int error = read_all(tun);
    if (error == 0 && wait[0].revents & (POLLERR | POLLHUP | POLLNVAL)) error = -EIO;
    if (error == 0) continue;
    fail(tun, error);
    break;
  }
  return NULL;
}

// 3 Take.

/** Moves packets that fit out of the queue. Returns the first, all linked; arms `readable` if there is none. */
static struct packet *dequeue(struct tun *tun, size_t room) {
  struct packet *first = NULL, **end = &first;
  uint64_t now = now_ns();
  size_t cost = 0;
  for (;;) {
    struct packet *packet = tun->stash != NULL ? tun->stash : queue_pop(&tun->queue, now);
    tun->stash = NULL;
    if (packet == NULL) break;
    if (RECORD_PREFIX + packet->length > room || cost >= POOL_BATCH_BYTES) {
      tun->stash = packet;
      break;
    }
    room -= RECORD_PREFIX + packet->length;
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

ssize_t tun_take(struct tun *tun, uint8_t *arena, size_t length) {
  pthread_mutex_lock(&tun->lock);
  struct packet *first = dequeue(tun, length);
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

// 4 Write.

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

// Open, settings, close.

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
  int error = pthread_create(&tun->reader, &attributes, read_until_closed, tun);
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
