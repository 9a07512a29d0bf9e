// Address, connection and fragment rules of a session's packets. Pure. IPv6 belongs to no session yet.
#include "filter.h"

#include "bytes.h"

enum {
  TCP_HEADER = 20,
  ICMP_HEADER = 8,
  DNS_PORT = 53, // RFC 1035 §4.2
  SYN = 0x02,
  ACK = 0x10,
};

/** "This network" (RFC 791), loopback (RFC 1122 §3.2.1.3), multicast and above (RFC 1112, RFC 919). */
static bool special(uint32_t address) {
  uint32_t top = address >> 24;
  return top == 0 || top == 127 || top >= 224;
}

static bool link_local(uint32_t address) { return address >> 16 == 0xa9fe; } // 169.254.0.0/16, RFC 3927

bool filter_outbound(const struct packet_view *view, uint32_t address) {
  if (view->version != 4 || view->source != address) return false;
  return view->destination != address && !special(view->destination);
}

/**
 * A first fragment must show all of the TCP header, and no later one may overwrite it: else the flags that are
 * judged here are not the ones that arrive (RFC 1858 §3 and §4).
 */
static bool tcp_ok(const struct packet_view *view) {
  if (view->fragment_unit != 0) return view->fragment_unit > 2;
  if (view->length - view->transport < TCP_HEADER) return false;
  uint8_t flags = view->ip[view->transport + 13];
  return (flags & (SYN | ACK)) != SYN;
}

/** Answers and errors only (RFC 792); a redirect would bend the laptop's routes. */
static bool icmp_ok(const struct packet_view *view) {
  if (view->fragment_unit != 0) return true;
  if (view->length - view->transport < ICMP_HEADER) return false;
  switch (view->ip[view->transport]) {
    case 0:  // echo reply
    case 3:  // destination unreachable
    case 11: // time exceeded
    case 12: // parameter problem
    case 14: // timestamp reply
      return true;
    default:
      return false;
  }
}

/** A DNS answer: some clusters' resolver has a link-local address on each node, and nothing else there is theirs. */
static bool from_dns(const struct packet_view *view) {
  if (view->protocol != PROTOCOL_TCP && view->protocol != PROTOCOL_UDP) return false;
  if (view->fragment_unit != 0) return true; // is nothing without the first one
  return view->length - view->transport >= 2 && be16(view->ip + view->transport) == DNS_PORT;
}

bool filter_inbound(const struct packet_view *view, uint32_t address) {
  if (view->version != 4 || view->destination != address || view->source == address) return false;
  if (special(view->source)) return false;
  if (link_local(view->source) && !from_dns(view)) return false;
  switch (view->protocol) {
    case PROTOCOL_TCP:
      return tcp_ok(view);
    case PROTOCOL_UDP:
      return true;
    case PROTOCOL_ICMP:
      return icmp_ok(view);
    default:
      return false;
  }
}
