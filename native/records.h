// Packet records as they travel (PROTOCOL.md): u32 big-endian length of what follows, the virtio header, the IP
// packet. Pure.
#ifndef CZ_RECORDS_H
#define CZ_RECORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "packet.h"
#include "virtio.h"

enum {
  RECORD_PREFIX = 4,
  RECORD_BODY_MIN = VIRTIO_HEADER + PACKET_MIN,
  RECORD_BODY_MAX = VIRTIO_HEADER + PACKET_MAX,
  RECORD_MAX = RECORD_PREFIX + RECORD_BODY_MAX,
};

/** Returns whether the bytes are nothing but whole records of permitted lengths (none at all is fine). */
bool records_framed(const uint8_t *bytes, size_t length);

/** One record of framed bytes: the body, and its length; the next one starts at `bytes + RECORD_PREFIX + length`. */
static inline uint32_t record_length(const uint8_t *bytes) {
  return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

#endif
