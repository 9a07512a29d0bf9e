// Parsing of an IP header, the flow hash and the congestion mark. Pure.
#include "packet.h"

#include <string.h>

#include "bytes.h"

enum {
  IPV6_HEADER = 40,       // RFC 8200 §3
  MORE_FRAGMENTS = 0x2000, // RFC 791 §3.1
  OFFSET_MASK = 0x1fff,
  ICMP_ECHO = 8, // RFC 792
  ICMP_ECHO_REPLY = 0,
  ECN_CE = 3, // RFC 3168 §5
};

static bool parse_ipv4(struct packet_view *view) {
  const uint8_t *ip = view->ip;
  uint32_t header = (uint32_t)(ip[0] & 15) * 4;
  if (header < PACKET_MIN || header > view->length) return false;
  if (be16(ip + 2) != view->length) return false;
  uint16_t fragment = be16(ip + 6);
  view->transport = header;
  view->protocol = ip[9];
  view->source = be32(ip + 12);
  view->destination = be32(ip + 16);
  view->fragment_unit = fragment & OFFSET_MASK;
  view->fragment = (fragment & (MORE_FRAGMENTS | OFFSET_MASK)) != 0;
  return view->fragment_unit * 8u + view->length - header <= PACKET_MAX;
}

static bool parse_ipv6(struct packet_view *view) {
  if (view->length < IPV6_HEADER) return false;
  if (be16(view->ip + 4) != view->length - IPV6_HEADER) return false;
  view->transport = IPV6_HEADER;
  view->protocol = view->ip[6];
  return true;
}

bool packet_parse(struct packet_view *view, const uint8_t *ip, size_t length) {
  if (length < PACKET_MIN || length > PACKET_MAX) return false;
  *view = (struct packet_view){.ip = ip, .length = (uint32_t)length, .version = ip[0] >> 4};
  if (view->version == 4) return parse_ipv4(view);
  return view->version == 6 && parse_ipv6(view);
}

/** Writes what tells flows between two hosts apart; zero where there is no such thing. */
static void ports_of(const struct packet_view *view, uint8_t out[4]) {
  const uint8_t *transport = view->ip + view->transport;
  uint32_t rest = view->length - view->transport;
  memset(out, 0, 4);
  if (view->fragment || rest < 8) return;
  if (view->protocol == PROTOCOL_TCP || view->protocol == PROTOCOL_UDP) memcpy(out, transport, 4);
  bool echo = transport[0] == ICMP_ECHO || transport[0] == ICMP_ECHO_REPLY;
  if (view->protocol == PROTOCOL_ICMP && echo) memcpy(out, transport + 4, 2);
}

uint64_t packet_flow(const struct packet_view *view, const struct siphash_key *key) {
  uint8_t tuple[4 + 1 + 32];
  size_t addresses = view->version == 4 ? 8 : 32;
  ports_of(view, tuple);
  tuple[4] = view->protocol;
  memcpy(tuple + 5, view->ip + (view->version == 4 ? 12 : 8), addresses);
  return siphash(key, tuple, 5 + addresses);
}

static void mark_ipv4(uint8_t *ip) {
  uint16_t before = be16(ip);
  ip[1] |= ECN_CE;
  uint32_t sum = (uint16_t)~be16(ip + 10);
  sum += (uint16_t)~before;
  sum += be16(ip);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  put_be16(ip + 10, (uint16_t)~sum);
}

bool packet_mark_congestion(uint8_t *ip, size_t length) {
  if (length < PACKET_MIN) return false;
  bool four = ip[0] >> 4 == 4;
  uint8_t ecn = four ? ip[1] & 3 : (ip[1] >> 4) & 3;
  if (ecn == 0) return false;
  if (ecn == ECN_CE) return true;
  if (four)
    mark_ipv4(ip);
  else
    ip[1] |= ECN_CE << 4;
  return true;
}
