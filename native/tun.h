// A Linux TUN with offloads (linux/if_tun.h): super-packets pass whole, each behind its virtio header. A thread
// reads and queues; the owner's thread takes batches and writes. No policy but the session filter.
#ifndef CZ_TUN_H
#define CZ_TUN_H

#include <net/if.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct tun;

/** What the kernel may leave undone in packets; the bits are TUN_F_* of linux/if_tun.h. */
enum offload {
  OFFLOAD_CHECKSUM = 0x01,
  OFFLOAD_TSO4 = 0x02,
  OFFLOAD_TSO6 = 0x04,
  OFFLOAD_TSO_ECN = 0x08,
  OFFLOAD_USO = 0x60, // USO4 and USO6: the kernel takes both or none
};

enum side { SIDE_NONE = 0, SIDE_LAPTOP = 1, SIDE_MANAGER = 2 };

struct tun_stats {
  uint64_t read_packets, read_bytes;
  uint64_t written_packets, written_bytes;
  uint64_t dropped_queue, dropped_codel, dropped_filter, dropped_malformed, dropped_write;
  uint64_t marked_codel;
  uint64_t queued_bytes, resident_bytes;
};

/** Called on the reader's thread, once each time that packets wait after a take found none. */
typedef void tun_readable(void *context);

enum tun_step { TUN_STEP_DEVICE, TUN_STEP_INTERFACE, TUN_STEP_MEMORY };

/**
 * Makes the interface `name` (a `%d` is the kernel's to fill) and starts its reader. Nothing passes before a session
 * is set. Returns 0 and the TUN, or -errno and the step that failed.
 */
int tun_open(struct tun **out, enum tun_step *step, const char name[IFNAMSIZ], size_t queue_bytes,
             tun_readable *readable, void *context);

/** Stops the reader, ends the interface, frees all. */
void tun_close(struct tun *tun);

const char *tun_name(const struct tun *tun);

/** Returns the offloads in force. */
unsigned tun_offloads(const struct tun *tun);

/** Restricts the offloads to these of those that the kernel granted at first. Returns those in force, or -errno. */
int tun_set_offloads(struct tun *tun, unsigned wanted);

/** Lets this session's packets pass (host order); SIDE_NONE: none. What waits of another session is dropped. */
void tun_set_session(struct tun *tun, enum side side, uint32_t address);

/**
 * Fills the arena with records, fairly over flows, up to `wanted` bytes; the first whatever its length. Returns the
 * bytes written; 0 when none waits, and then `readable` will be called once; -ENODEV when the interface is gone. The
 * arena has room for RECORD_MAX at least, and for `wanted`.
 */
ssize_t tun_take(struct tun *tun, uint8_t *arena, size_t wanted);

/** Writes framed records; what fails its checks is dropped and counted. Returns 0, or -EPROTO for broken framing. */
int tun_write(struct tun *tun, const uint8_t *records, size_t length);

void tun_read_stats(struct tun *tun, struct tun_stats *stats);

#endif
