// Runs every test of the pure C parts: `check SEED ROUNDS`. Prints each expectation that fails; exit code 1 then.
#include <stdio.h>
#include <stdlib.h>

#include "../bytes.h"
#include "expect.h"

static uint64_t state;
static unsigned expectations, failures;

bool expect_at(bool holds, const char *text, const char *file, int line) {
  expectations++;
  if (holds) return true;
  failures++;
  printf("%s:%d: not so: %s\n", file, line, text);
  return false;
}

/** splitmix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014). */
static uint64_t next_random(void) {
  uint64_t z = state += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

uint32_t random_below(uint32_t bound) { return (uint32_t)(next_random() % bound); }

void random_fill(uint8_t *bytes, size_t length) {
  for (size_t i = 0; i < length; i++) bytes[i] = (uint8_t)next_random();
}

uint16_t header_sum(const uint8_t *ip) {
  uint32_t sum = 0;
  for (size_t i = 0; i < (size_t)(ip[0] & 15) * 4; i += 2) sum += be16(ip + i);
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return (uint16_t)sum;
}

size_t build_ipv4(uint8_t *ip, size_t length, struct ipv4 what) {
  size_t header = (what.header_words == 0 ? 5u : what.header_words) * 4u;
  for (size_t i = 0; i < length; i++) ip[i] = 0;
  ip[0] = (uint8_t)(0x40 | header / 4);
  ip[1] = what.tos;
  put_be16(ip + 2, (uint16_t)length);
  put_be16(ip + 6, what.fragment);
  ip[8] = 64;
  ip[9] = what.protocol;
  put_be32(ip + 12, what.source);
  put_be32(ip + 16, what.destination);
  if (header <= length) put_be16(ip + 10, (uint16_t)~header_sum(ip));
  return header;
}

int main(int count, char **values) {
  state = count > 1 ? strtoull(values[1], NULL, 10) : 1;
  uint32_t rounds = count > 2 ? (uint32_t)strtoul(values[2], NULL, 10) : 100000;
  printf("seed %llu, %u rounds\n", (unsigned long long)state, rounds);
  test_packets();
  test_virtio();
  test_filter();
  test_records();
  test_pool();
  test_queue();
  test_codel();
  fuzz_packets(rounds);
  fuzz_records(rounds);
  fuzz_queue(rounds);
  printf("%u expectations, %u failures\n", expectations, failures);
  return failures == 0 ? 0 : 1;
}
