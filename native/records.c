// The framing of packet records. Pure.
#include "records.h"

bool records_framed(const uint8_t *bytes, size_t length) {
  size_t at = 0;
  while (at < length) {
    if (length - at < RECORD_PREFIX) return false;
    uint32_t body = record_length(bytes + at);
    if (body < RECORD_BODY_MIN || body > RECORD_BODY_MAX) return false;
    if (body > length - at - RECORD_PREFIX) return false;
    at += RECORD_PREFIX + body;
  }
  return true;
}
