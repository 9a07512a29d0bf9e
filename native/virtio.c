// Layout (virtio 1.3 §5.1.6, little-endian): u8 flags, u8 gso_type, u16 hdr_len, u16 gso_size, u16 csum_start,
// u16 csum_offset. Pure.
#include "virtio.h"

#include <linux/virtio_net.h>

#include "bytes.h"

enum {
  GSO_UDP_L4 = 5, // VIRTIO_NET_HDR_GSO_UDP_L4; older headers lack the name
  KNOWN_FLAGS = VIRTIO_NET_HDR_F_NEEDS_CSUM | VIRTIO_NET_HDR_F_DATA_VALID,
  TCP_HEADER = 20, // RFC 9293 §3.1
  UDP_HEADER = 8,  // RFC 768
  TCP_CHECKSUM = 16,
  UDP_CHECKSUM = 6,
  TCP_SIZE_MIN = 8,       // TCP_MIN_GSO_SIZE of linux/tcp.h: the smallest MSS less the longest options
  UDP_SEGMENTS_MAX = 128, // UDP_MAX_SEGMENTS of linux/udp.h
};

struct header {
  uint8_t flags, type;
  uint16_t length, size, start, offset;
};

static bool room(const struct packet_view *view, uint32_t bytes) {
  return view->length - view->transport >= bytes;
}

/** The checksum field must lie in this packet's own transport header, or in one that this packet wraps. */
static bool checksum_ok(const struct header *h, const struct packet_view *view) {
  if (view->fragment) return false;
  if ((uint32_t)h->start + h->offset + 2 > view->length) return false;
  if (h->start == view->transport) {
    if (view->protocol == PROTOCOL_TCP) return h->offset == TCP_CHECKSUM && room(view, TCP_HEADER);
    return view->protocol == PROTOCOL_UDP && h->offset == UDP_CHECKSUM && room(view, UDP_HEADER);
  }
  bool wraps = view->protocol != PROTOCOL_TCP && view->protocol != PROTOCOL_ICMP;
  return wraps && h->start >= view->transport + UDP_HEADER &&
         (h->offset == TCP_CHECKSUM || h->offset == UDP_CHECKSUM);
}

static bool tcp_gso_ok(const struct header *h, const struct packet_view *view, uint8_t version) {
  if (view->version != version || view->protocol != PROTOCOL_TCP || !room(view, TCP_HEADER)) return false;
  uint32_t header = (uint32_t)(view->ip[view->transport + 12] >> 4) * 4;
  return header >= TCP_HEADER && room(view, header) && h->size >= TCP_SIZE_MIN;
}

static bool udp_gso_ok(const struct header *h, const struct packet_view *view) {
  if (view->protocol != PROTOCOL_UDP || !room(view, UDP_HEADER) || h->size == 0) return false;
  uint32_t payload = view->length - view->transport - UDP_HEADER;
  return payload <= (uint32_t)h->size * UDP_SEGMENTS_MAX;
}

static bool gso_ok(const struct header *h, const struct packet_view *view) {
  if (!(h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) || h->start != view->transport) return false;
  switch (h->type) {
    case VIRTIO_NET_HDR_GSO_TCPV4:
    case VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN:
      return tcp_gso_ok(h, view, 4);
    case VIRTIO_NET_HDR_GSO_TCPV6:
    case VIRTIO_NET_HDR_GSO_TCPV6 | VIRTIO_NET_HDR_GSO_ECN:
      return tcp_gso_ok(h, view, 6);
    case GSO_UDP_L4:
      return udp_gso_ok(h, view);
    default:
      return false;
  }
}

bool virtio_check(const uint8_t bytes[VIRTIO_HEADER], const struct packet_view *view) {
  const struct header h = {bytes[0],       bytes[1],       le16(bytes + 2),
                           le16(bytes + 4), le16(bytes + 6), le16(bytes + 8)};
  if (h.flags & ~KNOWN_FLAGS || h.length > view->length) return false;
  if (h.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM && !checksum_ok(&h, view)) return false;
  if (h.type == VIRTIO_NET_HDR_GSO_NONE) return h.size == 0;
  return gso_ok(&h, view);
}
