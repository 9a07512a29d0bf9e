// FQ-CoDel over slots of the pool. In the order of a packet's stay: join a flow, make room, be chosen, be judged.
#include "queue.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "packet.h"
#include "virtio.h"

static const uint64_t TARGET_NS = 5 * 1000 * 1000;     // RFC 8289 §4.3
static const uint64_t INTERVAL_NS = 100 * 1000 * 1000; // RFC 8289 §4.2

enum {
  ROOM_BYTES = 65536, // freed at once when the bound is reached, so that the fattest flow is not sought per packet
};

int queue_open(struct queue *queue, struct pool *pool, size_t limit_cost) {
  *queue = (struct queue){.pool = pool, .limit_cost = limit_cost};
  queue->flows = calloc(QUEUE_FLOWS, sizeof *queue->flows);
  return queue->flows == NULL ? -ENOMEM : 0;
}

void queue_close(struct queue *queue) {
  if (queue->flows == NULL) return;
  queue_flush(queue);
  free(queue->flows);
  queue->flows = NULL;
}

static void list_append(struct flow_list *list, struct flow *flow) {
  flow->next = NULL;
  if (list->head == NULL)
    list->head = flow;
  else
    list->tail->next = flow;
  list->tail = flow;
}

static void list_shift(struct flow_list *list) { list->head = list->head->next; }

static void flow_append(struct queue *queue, struct flow *flow, struct packet *packet) {
  packet->next = NULL;
  if (flow->head == NULL)
    flow->head = packet;
  else
    flow->tail->next = packet;
  flow->tail = packet;
  size_t cost = pool_cost(queue->pool, packet);
  flow->bytes += packet->length;
  flow->cost += cost;
  queue->bytes += packet->length;
  queue->cost += cost;
  if (packet->length > flow->largest) flow->largest = packet->length;
}

static struct packet *flow_shift(struct queue *queue, struct flow *flow) {
  struct packet *packet = flow->head;
  if (packet == NULL) return NULL;
  flow->head = packet->next;
  size_t cost = pool_cost(queue->pool, packet);
  flow->bytes -= packet->length;
  flow->cost -= cost;
  queue->bytes -= packet->length;
  queue->cost -= cost;
  return packet;
}

/** RFC 8290 §4.1.1: the flow that occupies most loses from its head, where the sender notices soonest. */
static void make_room(struct queue *queue) {
  struct flow *fattest = &queue->flows[0];
  for (size_t i = 1; i < QUEUE_FLOWS; i++)
    if (queue->flows[i].cost > fattest->cost) fattest = &queue->flows[i];
  size_t aim = fattest->cost / 2 < ROOM_BYTES ? fattest->cost / 2 : fattest->cost - ROOM_BYTES;
  do {
    pool_give(queue->pool, flow_shift(queue, fattest));
    queue->dropped_full++;
  } while (fattest->head != NULL && fattest->cost > aim);
}

void queue_push(struct queue *queue, struct packet *packet, uint64_t flow_hash, uint64_t now_ns) {
  struct flow *flow = &queue->flows[flow_hash % QUEUE_FLOWS];
  packet->since_ns = now_ns;
  flow_append(queue, flow, packet);
  if (!flow->listed) {
    flow->listed = true;
    flow->deficit = QUEUE_QUANTUM;
    flow->largest = packet->length;
    list_append(&queue->fresh, flow);
  }
  while (queue->cost > queue->limit_cost) make_room(queue);
}

/** RFC 8289 §5.5 `dodequeue`: the head, and whether it has been above target for an interval. */
static struct packet *codel_head(struct queue *queue, struct flow *flow, uint64_t now_ns, bool *late) {
  bool last = flow->bytes <= flow->largest; // dropping the only packet drains no standing queue
  struct packet *packet = flow_shift(queue, flow);
  *late = false;
  if (packet == NULL || now_ns - packet->since_ns < TARGET_NS || last)
    flow->codel.first_above_ns = 0;
  else if (flow->codel.first_above_ns == 0)
    flow->codel.first_above_ns = now_ns + INTERVAL_NS;
  else
    *late = now_ns >= flow->codel.first_above_ns;
  return packet;
}

static uint64_t control_law(uint64_t from_ns, uint32_t count) {
  return from_ns + (uint64_t)((double)INTERVAL_NS / sqrt((double)count));
}

/** Returns whether a mark did, so that nothing needs to be dropped (RFC 8290 §4.2, RFC 3168). */
static bool marked(struct queue *queue, struct packet *packet) {
  if (!packet_mark_congestion(packet->bytes + VIRTIO_HEADER, packet->length - VIRTIO_HEADER)) return false;
  queue->marked_codel++;
  return true;
}

static void codel_drop(struct queue *queue, struct packet *packet) {
  pool_give(queue->pool, packet);
  queue->dropped_codel++;
}

/** RFC 8289 §5.5 `deque`, while in the dropping state. */
static struct packet *codel_dropping(struct queue *queue, struct flow *flow, struct packet *packet, uint64_t now_ns,
                                     bool late) {
  struct codel *codel = &flow->codel;
  if (!late) codel->dropping = false;
  while (codel->dropping && now_ns >= codel->drop_next_ns) {
    codel->count++;
    codel->drop_next_ns = control_law(codel->drop_next_ns, codel->count);
    if (marked(queue, packet)) return packet;
    codel_drop(queue, packet);
    packet = codel_head(queue, flow, now_ns, &late);
    if (!late) codel->dropping = false;
  }
  return packet;
}

/** RFC 8289 §5.5 `deque`, entering the dropping state: near the last one's rate if that was recent. */
static struct packet *codel_enter(struct queue *queue, struct flow *flow, struct packet *packet, uint64_t now_ns) {
  struct codel *codel = &flow->codel;
  bool late;
  uint32_t since_last = codel->count - codel->last_count;
  bool recent = now_ns < codel->drop_next_ns + 16 * INTERVAL_NS;
  codel->dropping = true;
  codel->count = recent && since_last > 1 ? since_last : 1;
  codel->last_count = codel->count;
  codel->drop_next_ns = control_law(now_ns, codel->count);
  if (marked(queue, packet)) return packet;
  codel_drop(queue, packet);
  return codel_head(queue, flow, now_ns, &late);
}

static struct packet *codel_pop(struct queue *queue, struct flow *flow, uint64_t now_ns) {
  bool late;
  struct packet *packet = codel_head(queue, flow, now_ns, &late);
  if (packet == NULL) {
    flow->codel.dropping = false;
    return NULL;
  }
  if (flow->codel.dropping) return codel_dropping(queue, flow, packet, now_ns, late);
  return late ? codel_enter(queue, flow, packet, now_ns) : packet;
}

/** RFC 8290 §4.2: a spent flow goes behind the old ones; an empty one too if it was new, else it leaves. */
static void step_aside(struct queue *queue, struct flow_list *list, struct flow *flow) {
  bool empty = flow->head == NULL;
  list_shift(list);
  if (empty && (list == &queue->old || queue->old.head == NULL))
    flow->listed = false;
  else
    list_append(&queue->old, flow);
}

struct packet *queue_pop(struct queue *queue, uint64_t now_ns) {
  for (;;) {
    struct flow_list *list = queue->fresh.head != NULL ? &queue->fresh : &queue->old;
    struct flow *flow = list->head;
    if (flow == NULL) return NULL;
    if (flow->deficit <= 0) {
      flow->deficit += QUEUE_QUANTUM;
      list_shift(list);
      list_append(&queue->old, flow);
      continue;
    }
    struct packet *packet = codel_pop(queue, flow, now_ns);
    if (packet != NULL) {
      flow->deficit -= packet->length;
      return packet;
    }
    step_aside(queue, list, flow);
  }
}

void queue_flush(struct queue *queue) {
  for (size_t i = 0; i < QUEUE_FLOWS; i++) {
    struct flow *flow = &queue->flows[i];
    for (struct packet *packet; (packet = flow_shift(queue, flow)) != NULL;) pool_give(queue->pool, packet);
    *flow = (struct flow){0};
  }
  queue->fresh = queue->old = (struct flow_list){0};
}
