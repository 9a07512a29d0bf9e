// The test program's few words: a named test, an expectation, a repeatable source of randomness, packets by hand.
#ifndef CZ_EXPECT_H
#define CZ_EXPECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Notes a failure, with its place, when the condition does not hold. Returns the condition. */
#define EXPECT(condition) expect_at(condition, #condition, __FILE__, __LINE__)

bool expect_at(bool holds, const char *text, const char *file, int line);

/** Returns the next of a repeatable sequence (the seed is the program's argument), below `bound`. */
uint32_t random_below(uint32_t bound);

void random_fill(uint8_t *bytes, size_t length);

/** What to build an IPv4 packet of; zero fields are left zero. */
struct ipv4 {
  uint32_t source, destination;
  uint16_t fragment; // flags and offset as in the header
  uint8_t protocol, tos;
  uint8_t header_words; // 5 when zero
};

/** Writes an IPv4 header with a right checksum and zeroes behind it. Returns the offset of the transport header. */
size_t build_ipv4(uint8_t *ip, size_t length, struct ipv4 what);

/** Returns the one's complement sum over the header: 0xffff when its checksum is right (RFC 1071). */
uint16_t header_sum(const uint8_t *ip);

void test_packets(void);
void test_virtio(void);
void test_filter(void);
void test_records(void);
void test_pool(void);
void test_queue(void);
void test_codel(void);
void fuzz_packets(uint32_t rounds);
void fuzz_records(uint32_t rounds);
void fuzz_queue(uint32_t rounds);

#endif
