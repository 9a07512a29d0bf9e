// SipHash-2-4 (Aumasson, Bernstein: "SipHash: a fast short-input PRF", 2012): which flow queue a packet joins
// must not be predictable for whoever sends the packets.
#ifndef CZ_SIPHASH_H
#define CZ_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

struct siphash_key {
  uint64_t k0, k1;
};

/** Returns the 64-bit hash of `length` bytes. */
uint64_t siphash(const struct siphash_key *key, const uint8_t *data, size_t length);

#endif
