// Which virtio headers and which addresses pass: tables.
#include <linux/virtio_net.h>
#include <stdio.h>

#include "../filter.h"
#include "../packet.h"
#include "../virtio.h"
#include "expect.h"

enum {
  ME = 0xc6120001,   // 198.18.0.1, the session
  POD = 0x0a630001,  // 10.99.0.1
  NODE_DNS = 0xa9fe140a, // 169.254.20.10
  SUM = VIRTIO_NET_HDR_F_NEEDS_CSUM,
  VALID = VIRTIO_NET_HDR_F_DATA_VALID,
};

struct virtio_case {
  const char *name;
  bool passes;
  uint8_t protocol;
  uint8_t flags, type;
  uint16_t header_length, size, start, offset;
  uint16_t fragment;
};

/** Each beside a packet of 400 bytes; a TCP header has 32. */
static const struct virtio_case VIRTIO_CASES[] = {
    {"nothing left undone", true, 6, 0, 0, 0, 0, 0, 0, 0},
    {"checksum known good", true, 6, VALID, 0, 0, 0, 0, 0, 0},
    {"checksum of TCP", true, 6, SUM, 0, 0, 0, 20, 16, 0},
    {"checksum of UDP", true, 17, SUM, 0, 0, 0, 20, 6, 0},
    {"checksum of TCP inside UDP", true, 17, SUM, 0, 0, 0, 78, 16, 0},
    {"TCP super-packet", true, 6, SUM, 1, 52, 100, 20, 16, 0},
    {"TCP super-packet with congestion marks", true, 6, SUM, 0x81, 52, 100, 20, 16, 0},
    {"UDP super-packet", true, 17, SUM, 5, 28, 100, 20, 6, 0},
    {"unknown flag", false, 6, 4, 0, 0, 0, 0, 0, 0},
    {"unknown kind of super-packet", false, 6, SUM, 2, 52, 100, 20, 16, 0},
    {"old UDP fragmentation", false, 17, SUM, 3, 28, 100, 20, 6, 0},
    {"congestion marks without super-packet", false, 6, SUM, 0x80, 0, 0, 20, 16, 0},
    {"congestion marks on UDP", false, 17, SUM, 0x85, 28, 100, 20, 6, 0},
    {"super-packet without checksum", false, 6, 0, 1, 52, 100, 20, 16, 0},
    {"super-packet of segments without size", false, 6, SUM, 1, 52, 0, 20, 16, 0},
    {"TCP segments below the least MSS", false, 6, SUM, 1, 52, 7, 20, 16, 0},
    {"more UDP segments than a kernel makes", false, 17, SUM, 5, 28, 2, 20, 6, 0},
    {"size without super-packet", false, 6, 0, 0, 0, 100, 0, 0, 0},
    {"TCPv6 in IPv4", false, 6, SUM, 4, 52, 100, 20, 16, 0},
    {"TCP super-packet of UDP", false, 17, SUM, 1, 52, 100, 20, 6, 0},
    {"UDP super-packet of TCP", false, 6, SUM, 5, 52, 100, 20, 16, 0},
    {"checksum beyond the end", false, 6, SUM, 0, 0, 0, 399, 0, 0},
    {"checksum inside UDP, just within the end", true, 17, SUM, 0, 0, 0, 392, 6, 0},
    {"checksum inside UDP, just beyond the end", false, 17, SUM, 0, 0, 0, 393, 6, 0},
    {"checksum beyond 16 bits", false, 6, SUM, 0, 0, 0, 65535, 65535, 0},
    {"checksum within the IP header", false, 17, SUM, 0, 0, 0, 4, 6, 0},
    {"checksum at another place of TCP", false, 6, SUM, 0, 0, 0, 20, 6, 0},
    {"checksum in TCP's data", false, 6, SUM, 0, 0, 0, 78, 16, 0},
    {"checksum of ICMP", false, 1, SUM, 0, 0, 0, 20, 2, 0},
    {"checksum of a fragment", false, 17, SUM, 0, 0, 0, 20, 6, 0x2000},
    {"super-packet of a fragment", false, 6, SUM, 1, 52, 100, 20, 16, 0x2000},
    {"header beyond the end", false, 6, SUM, 1, 401, 100, 20, 16, 0},
};

static bool virtio_passes(const struct virtio_case *c, uint8_t data_offset) {
  uint8_t ip[400];
  size_t at = build_ipv4(ip, sizeof ip, (struct ipv4){.protocol = c->protocol, .fragment = c->fragment});
  ip[at + 12] = data_offset;
  const uint16_t words[] = {c->header_length, c->size, c->start, c->offset};
  uint8_t header[VIRTIO_HEADER] = {c->flags, c->type};
  for (int i = 0; i < 4; i++) {
    header[2 + 2 * i] = (uint8_t)words[i];
    header[3 + 2 * i] = (uint8_t)(words[i] >> 8);
  }
  struct packet_view view;
  return EXPECT(packet_parse(&view, ip, sizeof ip)) && virtio_check(header, &view);
}

void test_virtio(void) {
  for (size_t i = 0; i < sizeof VIRTIO_CASES / sizeof *VIRTIO_CASES; i++) {
    const struct virtio_case *c = &VIRTIO_CASES[i];
    if (!EXPECT(virtio_passes(c, 0x80) == c->passes)) printf("  case: %s\n", c->name);
  }
  const struct virtio_case segment = {"", true, 6, SUM, 1, 52, 100, 20, 16, 0};
  EXPECT(!virtio_passes(&segment, 0x40)); // a TCP header of 16 bytes
}

struct filter_case {
  const char *name;
  bool passes;
  uint32_t source, destination;
  uint8_t protocol;
  uint8_t mark; // TCP: flags, ICMP: type
  uint16_t fragment;
  uint16_t length; // 60 when zero
  uint16_t port;   // TCP, UDP: the source port
};

static const struct filter_case INBOUND[] = {
    {"TCP answer", true, POD, ME, 6, 0x12, 0, 0, 0},
    {"TCP data", true, POD, ME, 6, 0x10, 0, 0, 0},
    {"TCP reset", true, POD, ME, 6, 0x04, 0, 0, 0},
    {"TCP opening", false, POD, ME, 6, 0x02, 0, 0, 0},
    {"TCP opening with congestion bits", false, POD, ME, 6, 0xc2, 0, 0, 0},
    {"TCP opening that ends", false, POD, ME, 6, 0x03, 0, 0, 0},
    {"TCP without its whole header", false, POD, ME, 6, 0x10, 0, 39, 0},
    {"TCP first fragment", true, POD, ME, 6, 0x10, 0x2000, 0, 0},
    {"TCP first fragment that hides its flags", false, POD, ME, 6, 0x10, 0x2000, 28, 0},
    {"TCP opening in a first fragment", false, POD, ME, 6, 0x02, 0x2000, 0, 0},
    {"TCP fragment over the flags", false, POD, ME, 6, 0, 1, 0, 0},
    {"TCP fragment over the header's end", false, POD, ME, 6, 0, 2, 0, 0},
    {"TCP later fragment", true, POD, ME, 6, 0, 3, 0, 0},
    {"UDP", true, POD, ME, 17, 0, 0, 0, 0},
    {"UDP fragment", true, POD, ME, 17, 0, 185, 0, 0},
    {"echo reply", true, POD, ME, 1, 0, 0, 0, 0},
    {"unreachable", true, POD, ME, 1, 3, 0, 0, 0},
    {"time exceeded", true, POD, ME, 1, 11, 0, 0, 0},
    {"echo request", false, POD, ME, 1, 8, 0, 0, 0},
    {"redirect", false, POD, ME, 1, 5, 0, 0, 0},
    {"timestamp request", false, POD, ME, 1, 13, 0, 0, 0},
    {"ICMP cut short", false, POD, ME, 1, 3, 0, 27, 0},
    {"another protocol", false, POD, ME, 132, 0, 0, 0, 0},
    {"to another", false, POD, ME + 1, 17, 0, 0, 0, 0},
    {"from itself", false, ME, ME, 17, 0, 0, 0, 0},
    {"from loopback", false, 0x7f000001, ME, 17, 0, 0, 0, 0},
    {"from nowhere", false, 0, ME, 17, 0, 0, 0, 0},
    {"from this network", false, 0x00010203, ME, 17, 0, 0, 0, 0},
    {"from multicast", false, 0xe0000001, ME, 17, 0, 0, 0, 0},
    {"from broadcast", false, 0xffffffff, ME, 17, 0, 0, 0, 0},
    {"from link-local", false, NODE_DNS, ME, 17, 0, 0, 0, 80},
    {"error from link-local", false, NODE_DNS, ME, 1, 3, 0, 0, 53},
    {"DNS answer by UDP from link-local", true, NODE_DNS, ME, 17, 0, 0, 0, 53},
    {"its first fragment", true, NODE_DNS, ME, 17, 0, 0x2000, 0, 53},
    {"its later fragment", true, NODE_DNS, ME, 17, 0, 185, 0, 0},
    {"DNS answer by TCP from link-local", true, NODE_DNS, ME, 6, 0x10, 0, 0, 53},
    {"TCP opening from port 53 of link-local", false, NODE_DNS, ME, 6, 0x02, 0, 0, 53},
    {"UDP without its ports from link-local", false, NODE_DNS, ME, 17, 0, 0, 21, 53},
};

static const struct filter_case OUTBOUND[] = {
    {"TCP opening", true, ME, POD, 6, 0x02, 0, 0, 0},
    {"echo request", true, ME, POD, 1, 8, 0, 0, 0},
    {"another protocol", true, ME, POD, 132, 0, 0, 0, 0},
    {"fragment", true, ME, POD, 17, 0, 3, 0, 0},
    {"from another", false, ME + 1, POD, 6, 0x02, 0, 0, 0},
    {"to itself", false, ME, ME, 6, 0x02, 0, 0, 0},
    {"to loopback", false, ME, 0x7f000001, 6, 0x02, 0, 0, 0},
    {"to multicast", false, ME, 0xe00000fb, 17, 0, 0, 0, 0},
    {"to broadcast", false, ME, 0xffffffff, 17, 0, 0, 0, 0},
    {"to nowhere", false, ME, 0, 17, 0, 0, 0, 0},
};

typedef bool filter(const struct packet_view *view, uint32_t address);

static void judge(const struct filter_case *c, filter *passes) {
  uint8_t ip[60];
  struct packet_view view;
  size_t length = c->length == 0 ? sizeof ip : c->length;
  size_t at = build_ipv4(ip, length, (struct ipv4){c->source, c->destination, c->fragment, c->protocol, 0, 0});
  size_t mark = at + (c->protocol == PROTOCOL_TCP ? 13 : 0);
  if (c->port != 0 && at + 1 < length) ip[at + 1] = (uint8_t)c->port;
  if (mark < length) ip[mark] = c->mark;
  bool outcome = EXPECT(packet_parse(&view, ip, length)) && passes(&view, ME);
  if (!EXPECT(outcome == c->passes)) printf("  case: %s\n", c->name);
}

void test_filter(void) {
  for (size_t i = 0; i < sizeof INBOUND / sizeof *INBOUND; i++) judge(&INBOUND[i], filter_inbound);
  for (size_t i = 0; i < sizeof OUTBOUND / sizeof *OUTBOUND; i++) judge(&OUTBOUND[i], filter_outbound);
  uint8_t six[60] = {0x60, [5] = 20, [6] = 17};
  struct packet_view view;
  EXPECT(packet_parse(&view, six, sizeof six));
  EXPECT(!filter_inbound(&view, 0) && !filter_outbound(&view, 0)); // IPv6 is nobody's
}
