// IP parsing, flow hash, congestion mark, record framing: by hand, then at random.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../bytes.h"
#include "../filter.h"
#include "../packet.h"
#include "../records.h"
#include "../siphash.h"
#include "../virtio.h"
#include "expect.h"

enum { A = 0xc6120001, B = 0x0a630001 }; // 198.18.0.1, 10.99.0.1

static const struct siphash_key KEY = {0x0706050403020100u, 0x0f0e0d0c0b0a0908u};

static uint64_t flow_of(const uint8_t *ip, size_t length) {
  struct packet_view view;
  EXPECT(packet_parse(&view, ip, length));
  return packet_flow(&view, &KEY);
}

static void siphash_gives_the_papers_value(void) {
  uint8_t data[15]; // appendix A of the paper: key 00…0f, message 00…0e
  for (uint8_t i = 0; i < 15; i++) data[i] = i;
  EXPECT(siphash(&KEY, data, sizeof data) == 0xa129ca6149be45e5u);
}

static void lengths_must_agree(void) {
  uint8_t ip[64];
  struct packet_view view;
  build_ipv4(ip, 64, (struct ipv4){.protocol = 6});
  EXPECT(packet_parse(&view, ip, 64));
  EXPECT(!packet_parse(&view, ip, 63));
  EXPECT(!packet_parse(&view, ip, 19));
  ip[0] = 0x44; // a header of 16 bytes
  EXPECT(!packet_parse(&view, ip, 64));
  ip[0] = 0x55; // version 5
  EXPECT(!packet_parse(&view, ip, 64));
  build_ipv4(ip, 24, (struct ipv4){.header_words = 7}); // a header longer than the packet
  EXPECT(!packet_parse(&view, ip, 24));
}

static void a_fragment_must_end_within_a_packet(void) {
  uint8_t ip[64];
  struct packet_view view;
  build_ipv4(ip, 64, (struct ipv4){.protocol = 17, .fragment = 0x1fff}); // the ping of death
  EXPECT(!packet_parse(&view, ip, 64));
  build_ipv4(ip, 27, (struct ipv4){.protocol = 17, .fragment = 0x1fff});
  EXPECT(packet_parse(&view, ip, 27) && view.fragment && view.fragment_unit == 0x1fff);
}

static void ipv6_is_parsed(void) {
  uint8_t ip[48] = {0x60, [5] = 8, [6] = 17};
  struct packet_view view;
  EXPECT(packet_parse(&view, ip, 48) && view.version == 6 && view.transport == 40 && view.protocol == 17);
  EXPECT(!packet_parse(&view, ip, 47));
  EXPECT(!packet_parse(&view, ip, 39));
}

static void flows_differ_by_ports_but_not_among_fragments(void) {
  uint8_t one[40], two[40], first[40], later[40];
  size_t at = build_ipv4(one, 40, (struct ipv4){.source = A, .destination = B, .protocol = 6});
  memcpy(two, one, 40);
  EXPECT(flow_of(one, 40) == flow_of(two, 40));
  two[at + 1] = 1;
  EXPECT(flow_of(one, 40) != flow_of(two, 40));
  build_ipv4(first, 40, (struct ipv4){.source = A, .destination = B, .protocol = 17, .fragment = 0x2000});
  build_ipv4(later, 40, (struct ipv4){.source = A, .destination = B, .protocol = 17, .fragment = 1});
  first[at] = 7;
  EXPECT(flow_of(first, 40) == flow_of(later, 40));
}

static void a_mark_keeps_the_checksum_right(void) {
  uint8_t ip[20];
  for (int tos = 0; tos < 256; tos++) {
    build_ipv4(ip, 20, (struct ipv4){.source = A, .destination = B, .tos = (uint8_t)tos});
    EXPECT(packet_mark_congestion(ip, 20) == ((tos & 3) != 0));
    EXPECT((ip[1] & 3) == ((tos & 3) == 0 ? 0 : 3) && (ip[1] & ~3) == (tos & ~3));
    EXPECT(header_sum(ip) == 0xffff);
  }
  uint8_t six[40] = {0x60, 0x20}; // ECT(0) in the traffic class
  EXPECT(packet_mark_congestion(six, 40) && six[0] == 0x60 && six[1] == 0x30);
}

void test_packets(void) {
  siphash_gives_the_papers_value();
  lengths_must_agree();
  a_fragment_must_end_within_a_packet();
  ipv6_is_parsed();
  flows_differ_by_ports_but_not_among_fragments();
  a_mark_keeps_the_checksum_right();
}

void test_records(void) {
  uint8_t bytes[RECORD_PREFIX + RECORD_BODY_MIN + 4] = {0};
  const size_t whole = RECORD_PREFIX + RECORD_BODY_MIN;
  EXPECT(records_framed(bytes, 0));
  bytes[3] = RECORD_BODY_MIN;
  EXPECT(records_framed(bytes, whole));
  EXPECT(!records_framed(bytes, whole - 1));
  EXPECT(!records_framed(bytes, whole + 3)); // a second prefix cut off
  EXPECT(!records_framed(bytes, whole + 4)); // a second record of no length
  bytes[3] = RECORD_BODY_MIN - 1;
  EXPECT(!records_framed(bytes, whole - 1));
  memset(bytes, 0xff, RECORD_PREFIX);
  EXPECT(!records_framed(bytes, whole));
}

/** A packet of exactly its own allocation, so that any read beyond it is seen. */
static uint8_t *random_packet(size_t *length) {
  *length = random_below(random_below(4) == 0 ? 2000 : 80);
  uint8_t *ip = malloc(*length + 1);
  random_fill(ip, *length);
  if (*length >= PACKET_MIN && random_below(8) != 0) {
    struct ipv4 what = {.protocol = (uint8_t[]){1, 6, 17, 47}[random_below(4)],
                        .source = random_below(2) ? A : B,
                        .destination = random_below(2) ? A : B,
                        .header_words = (uint8_t)(5 + random_below(3))};
    if (random_below(4) == 0) what.fragment = (uint16_t)(random_below(16) | (random_below(2) << 13));
    size_t at = build_ipv4(ip, *length, what);
    if (at < *length) random_fill(ip + at, *length - at);
  }
  uint8_t *exact = malloc(*length == 0 ? 1 : *length);
  memcpy(exact, ip, *length);
  free(ip);
  return exact;
}

/** A header that would suit the packet, with one byte changed half of the time. */
static void random_header(uint8_t header[VIRTIO_HEADER], const uint8_t *ip, size_t length) {
  memset(header, 0, VIRTIO_HEADER);
  bool tcp = length >= PACKET_MIN && ip[9] == PROTOCOL_TCP;
  uint32_t kind = random_below(3);
  if (kind > 0) {
    header[0] = 1;
    header[6] = length > 0 ? (ip[0] & 15) * 4 : 0;
    header[8] = tcp ? 16 : 6;
  }
  if (kind > 1) {
    header[1] = tcp ? 1 : 5;
    header[4] = (uint8_t)(8 + random_below(200));
  }
  if (random_below(2) == 0) header[random_below(VIRTIO_HEADER)] = (uint8_t)random_below(256);
}

/** What every packet that passes must satisfy, said in another way than the checks themselves do. */
static void passed_ones_are_sane(const uint8_t *header, const struct packet_view *view) {
  bool sums = header[0] & 1;
  if (sums) EXPECT(le16(header + 6) + le16(header + 8) + 2u <= view->length);
  if (header[1] != 0) EXPECT(sums && le16(header + 4) > 0 && !view->fragment);
  EXPECT(le16(header + 2) <= view->length && view->transport <= view->length);
}

void fuzz_packets(uint32_t rounds) {
  uint32_t parsed = 0, passed = 0, inside = 0;
  for (uint32_t i = 0; i < rounds; i++) {
    size_t length;
    uint8_t header[VIRTIO_HEADER], *ip = random_packet(&length);
    struct packet_view view;
    random_header(header, ip, length);
    if (packet_parse(&view, ip, length)) {
      parsed++;
      packet_flow(&view, &KEY);
      if (virtio_check(header, &view)) passed++, passed_ones_are_sane(header, &view);
      if (filter_inbound(&view, A)) inside++, EXPECT(view.destination == A && view.source != A);
      if (filter_outbound(&view, A)) EXPECT(view.source == A && view.destination != A);
    }
    packet_mark_congestion(ip, length);
    free(ip);
  }
  printf("packets: %u parsed, %u with a sound header, %u permitted inside\n", parsed, passed, inside);
  EXPECT(parsed > rounds / 4 && passed > rounds / 50 && inside > rounds / 50); // they reach beyond the first check
}

void fuzz_records(uint32_t rounds) {
  uint32_t framed = 0;
  for (uint32_t i = 0; i < rounds; i++) {
    size_t length = random_below(300), at = 0;
    uint8_t *bytes = malloc(length == 0 ? 1 : length);
    random_fill(bytes, length);
    while (length - at >= RECORD_PREFIX + RECORD_BODY_MIN && random_below(16) != 0) {
      uint32_t body = RECORD_BODY_MIN + random_below(60);
      if (random_below(2) == 0 || at + RECORD_PREFIX + body > length) body = (uint32_t)(length - at - RECORD_PREFIX);
      put_be32(bytes + at, body);
      at += RECORD_PREFIX + body;
    }
    bool ok = records_framed(bytes, length);
    framed += ok;
    if (at == length) EXPECT(ok);
    free(bytes);
  }
  EXPECT(framed > rounds / 20 && framed < rounds);
}
