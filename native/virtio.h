// The 10-byte virtio header in front of each packet (struct virtio_net_hdr, linux/virtio_net.h): which ones the
// kernel may be given. The kernel checks too; what it would misread or expand without bound stops here.
#ifndef CZ_VIRTIO_H
#define CZ_VIRTIO_H

#include <stdbool.h>
#include <stdint.h>

#include "packet.h"

enum { VIRTIO_HEADER = 10 };

/** Returns whether the header is known in every bit and agrees with the packet behind it. */
bool virtio_check(const uint8_t header[VIRTIO_HEADER], const struct packet_view *view);

#endif
