// What one IP packet says about itself: a view parsed once and then judged by the virtio check, the session
// filter and the flow hash. Pure; never reads beyond the given length. RFC 791, RFC 8200.
#ifndef CZ_PACKET_H
#define CZ_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "siphash.h"

enum {
  PACKET_MIN = 20,    // an IPv4 header without options, RFC 791 §3.1
  PACKET_MAX = 65535, // its total length is a 16-bit field
};

enum protocol { PROTOCOL_ICMP = 1, PROTOCOL_TCP = 6, PROTOCOL_UDP = 17 };

struct packet_view {
  const uint8_t *ip;
  uint32_t length;       // of the whole packet
  uint32_t transport;    // offset of what follows the IP header
  uint32_t source;       // IPv4 only, host order
  uint32_t destination;  // IPv4 only, host order
  uint8_t version;       // 4 or 6
  uint8_t protocol;      // IPv6: the first next-header
  bool fragment;         // any fragment, the first too
  uint16_t fragment_unit; // fragment offset in 8-byte units
};

/** Fills the view and returns true when the IP header's lengths agree with `length` exactly. */
bool packet_parse(struct packet_view *view, const uint8_t *ip, size_t length);

/**
 * Returns a keyed hash of the flow: addresses, protocol and, unless the packet is a fragment, TCP or UDP ports
 * or the identifier of an ICMP echo. All fragments of a packet share one flow.
 */
uint64_t packet_flow(const struct packet_view *view, const struct siphash_key *key);

/**
 * Marks the packet as having met congestion (CE, RFC 3168 §5) if its sender is able to understand that, and
 * keeps the IPv4 header checksum right (RFC 1624 §3). Returns whether the packet now carries CE.
 */
bool packet_mark_congestion(uint8_t *ip, size_t length);

#endif
