// The pool and the flow queues: who goes first, what is bounded, when CoDel marks and drops; then at random, with
// nothing lost from sight.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../bytes.h"
#include "../pool.h"
#include "../queue.h"
#include "../records.h"
#include "expect.h"

static const uint64_t MS = 1000000;

enum { LIMIT = 1024 * 1024, SMALL = 100, SUPER = 60000 };

struct fixture {
  struct pool pool;
  struct queue queue;
};

static void set_up(struct fixture *f) {
  EXPECT(pool_open(&f->pool, LIMIT) == 0);
  EXPECT(queue_open(&f->queue, &f->pool, LIMIT) == 0);
}

static void tear_down(struct fixture *f) {
  queue_close(&f->queue);
  EXPECT(f->pool.used == 0);
  pool_close(&f->pool);
}

/** Queues a packet that carries its flow and number, in an IPv4 packet of this type of service. */
static void push(struct fixture *f, uint32_t flow, uint32_t number, size_t length, uint8_t tos, uint64_t now) {
  struct packet *packet = pool_take(&f->pool, length);
  if (!EXPECT(packet != NULL)) return;
  memset(packet->bytes, 0, VIRTIO_HEADER);
  build_ipv4(packet->bytes + VIRTIO_HEADER, length - VIRTIO_HEADER, (struct ipv4){.tos = tos});
  put_be32(packet->bytes + 30, flow);
  put_be32(packet->bytes + 34, number);
  queue_push(&f->queue, packet, flow, now);
}

/** Returns the flow of the next packet, or -1 when none waits; `number` becomes its number. */
static int64_t pop(struct fixture *f, uint32_t *number, uint64_t now) {
  struct packet *packet = queue_pop(&f->queue, now);
  if (packet == NULL) return -1;
  uint32_t flow = be32(packet->bytes + 30);
  *number = be32(packet->bytes + 34);
  pool_give(&f->pool, packet);
  return flow;
}

void test_pool(void) {
  struct pool pool;
  EXPECT(pool_open(&pool, LIMIT) == 0);
  EXPECT(pool_resident(&pool) == 0);
  EXPECT(pool_take(&pool, RECORD_BODY_MAX + 4096) == NULL);
  struct packet *taken[64], *last = NULL;
  size_t count = 0;
  while (count < 64 && (last = pool_take(&pool, RECORD_BODY_MAX)) != NULL) {
    memset(last->bytes, 0xab, RECORD_BODY_MAX); // all of it is there
    taken[count++] = last;
  }
  EXPECT(last == NULL && count >= LIMIT / 69632 && count <= (LIMIT + POOL_BATCH_BYTES) / 69632 + 4);
  size_t resident = pool_resident(&pool);
  pool_trim(&pool);
  EXPECT(pool_resident(&pool) == resident); // in use: nothing is given back
  while (count > 0) pool_give(&pool, taken[--count]);
  pool_trim(&pool);
  EXPECT(pool_resident(&pool) == 0);
  pool_close(&pool);
}

static void a_sparse_flow_overtakes_bulk_ones(struct fixture *f) {
  uint32_t number;
  for (uint32_t i = 0; i < 200; i++) push(f, 10 + i % 8, i, 1400, 0, 0);
  for (uint32_t i = 0; i < 100; i++) EXPECT(pop(f, &number, 0) >= 10); // they are all old now
  push(f, 2, 0, SMALL, 0, 0);
  EXPECT(pop(f, &number, 0) == 2);
  push(f, 2, 1, SMALL, 0, 0); // again and again
  EXPECT(pop(f, &number, 0) == 2 && number == 1);
  queue_flush(&f->queue);
}

static void bulk_flows_share_by_bytes(struct fixture *f) {
  uint32_t number;
  size_t count[2] = {0, 0};
  for (uint32_t i = 0; i < 400; i++) push(f, 0, i, 1400, 0, 0);
  for (uint32_t i = 0; i < 7; i++) push(f, 1, i, SUPER, 0, 0);
  while (count[1] < 5) count[pop(f, &number, 0)]++;
  size_t thin = count[0] * 1400, fat = count[1] * SUPER;
  EXPECT(thin + SUPER + QUEUE_QUANTUM > fat && thin < fat + SUPER + QUEUE_QUANTUM); // one packet and one quantum apart
  queue_flush(&f->queue);
}

static void the_fattest_flow_pays_for_the_bound(struct fixture *f) {
  uint32_t number;
  push(f, 2, 0, SMALL, 0, 0);
  for (uint32_t i = 0; i < 100; i++) push(f, 1, i, SUPER, 0, 0);
  EXPECT(f->queue.cost <= LIMIT && f->queue.dropped_full > 0);
  EXPECT(pop(f, &number, 0) == 2); // the small one is still there
  EXPECT(pop(f, &number, 0) == 1 && number > 0); // and what went was the oldest
  queue_flush(&f->queue);
  EXPECT(f->queue.bytes == 0 && f->queue.cost == 0);
  f->queue.dropped_full = 0;
}

void test_queue(void) {
  struct fixture f;
  set_up(&f);
  a_sparse_flow_overtakes_bulk_ones(&f);
  bulk_flows_share_by_bytes(&f);
  the_fattest_flow_pays_for_the_bound(&f);
  tear_down(&f);
}

/** Feeds one flow at twice the rate at which it is drained for `ms`, then as fast as it is drained. */
static void overload(struct fixture *f, uint8_t tos, uint64_t ms) {
  uint32_t number, next = 0;
  for (uint64_t now = 1; now <= ms; now++) {
    push(f, 1, next++, 1000, tos, now * MS);
    if (now % 2 == 0) pop(f, &number, now * MS);
  }
}

static void a_standing_queue_is_cut(struct fixture *f) {
  overload(f, 0, 50); // in less than an interval nothing happens
  EXPECT(f->queue.dropped_codel == 0 && f->queue.marked_codel == 0);
  queue_flush(&f->queue);
  overload(f, 0, 400);
  EXPECT(f->queue.dropped_codel > 1 && f->queue.marked_codel == 0 && f->queue.dropped_full == 0);
  queue_flush(&f->queue);
  f->queue.dropped_codel = 0;
}

static void senders_that_understand_are_marked_instead(struct fixture *f) {
  overload(f, 2, 400); // ECT(0)
  EXPECT(f->queue.dropped_codel == 0 && f->queue.marked_codel > 1);
  queue_flush(&f->queue);
  f->queue.marked_codel = 0;
}

static void a_short_queue_is_left_alone(struct fixture *f) {
  uint32_t number;
  for (uint64_t now = 1; now < 1000; now++) { // four milliseconds of waiting, for a second
    push(f, 1, (uint32_t)now, 1000, 0, now * MS);
    if (now > 4) pop(f, &number, now * MS);
  }
  EXPECT(f->queue.dropped_codel == 0);
  queue_flush(&f->queue);
}

static void cutting_ends_with_the_standing_queue(struct fixture *f) {
  uint32_t number;
  overload(f, 0, 400);
  while (f->queue.bytes > 3000) pop(f, &number, 400 * MS); // three packets stay
  uint64_t dropped = f->queue.dropped_codel;
  for (uint64_t now = 401; now < 900; now++) {
    push(f, 1, (uint32_t)now, 1000, 0, now * MS);
    pop(f, &number, now * MS);
  }
  EXPECT(dropped > 0 && f->queue.dropped_codel <= dropped + 1); // the last of the old ones may go
  queue_flush(&f->queue);
  f->queue.dropped_codel = 0;
}

static void a_lone_packet_may_wait(struct fixture *f) {
  uint32_t number;
  for (uint64_t now = 1; now < 2000; now += 50) { // a path slower than one packet in CoDel's target
    push(f, 1, (uint32_t)now, SUPER, 0, now * MS);
    EXPECT(pop(f, &number, (now + 40) * MS) == 1);
  }
  EXPECT(f->queue.dropped_codel == 0);
}

void test_codel(void) {
  struct fixture f;
  set_up(&f);
  a_standing_queue_is_cut(&f);
  senders_that_understand_are_marked_instead(&f);
  a_short_queue_is_left_alone(&f);
  cutting_ends_with_the_standing_queue(&f);
  a_lone_packet_may_wait(&f);
  tear_down(&f);
}

enum { FLOWS = 40 };

/** Packets of one flow leave in the order in which they came; every one is delivered, dropped or waiting. */
void fuzz_queue(uint32_t rounds) {
  struct fixture f;
  uint32_t pushed[FLOWS] = {0}, expected[FLOWS] = {0}, number, total = 0, delivered = 0;
  uint64_t now = 1;
  set_up(&f);
  for (uint32_t i = 0; i < rounds; i++) {
    now += random_below(2000) * 1000;
    uint32_t burst = random_below(6), flow = random_below(random_below(FLOWS) + 1);
    for (uint32_t n = 0; n < burst; n++, total++) {
      size_t length = random_below(3) == 0 ? 40 + random_below(RECORD_BODY_MAX - 40) : 40 + random_below(1500);
      push(&f, flow, pushed[flow]++, length, (uint8_t)random_below(4), now);
    }
    for (uint32_t n = random_below(6); n > 0; n--) {
      int64_t from = pop(&f, &number, now);
      if (from < 0) break;
      delivered++;
      if (!EXPECT(from < FLOWS && number >= expected[from])) return;
      expected[from] = number + 1;
    }
    if (!EXPECT(f.queue.cost <= LIMIT)) return;
    EXPECT(total == delivered + f.queue.dropped_full + f.queue.dropped_codel + f.pool.used);
  }
  EXPECT(f.queue.dropped_full > 0 && f.queue.dropped_codel > 0 && f.queue.marked_codel > 0);
  while (pop(&f, &number, now) >= 0) delivered++;
  EXPECT(f.queue.bytes == 0 && total == delivered + f.queue.dropped_full + f.queue.dropped_codel);
  tear_down(&f);
}
