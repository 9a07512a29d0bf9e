// The ioctls of a TUN device: open, features, offloads. Nothing here waits or keeps state.
#ifndef CZ_TUN_DEVICE_H
#define CZ_TUN_DEVICE_H

#include <net/if.h>

/** Opens /dev/net/tun, non-blocking. Returns the descriptor or -errno. */
int tun_device_open(void);

/** Makes an interface of its own with virtio headers on the descriptor; `name` becomes its name. 0 or -errno. */
int tun_device_attach(int fd, char name[IFNAMSIZ]);

/** Lengthens the kernel's ring of packets not yet read. Best effort. */
void tun_device_set_ring(const char *name, int packets);

/** Sets the offloads, all or nothing. Returns 0 or -errno. */
int tun_device_offload(int fd, unsigned offloads);

/** Sets the most offloads that this kernel has and returns them. */
unsigned tun_device_probe(int fd);

/** Makes the character device `path` (10:200, linux/Documentation/admin-guide/devices.txt), 0600. 0 or -errno. */
int tun_device_make(const char *path);

#endif
