// ioctl(2) on /dev/net/tun; linux/Documentation/networking/tuntap.rst.
#define _GNU_SOURCE
#include "tun_device.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "tun.h"
#include "virtio.h"

int tun_device_open(void) {
  int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  return fd >= 0 ? fd : -errno;
}

int tun_device_attach(int fd, char name[IFNAMSIZ]) {
  struct ifreq request = {0};
  request.ifr_flags = (short)(IFF_TUN | IFF_NO_PI | IFF_VNET_HDR | IFF_TUN_EXCL);
  memcpy(request.ifr_name, name, IFNAMSIZ);
  int header = VIRTIO_HEADER;
  int little_endian = 1;
  if (ioctl(fd, TUNSETIFF, &request) != 0) return -errno;
  if (ioctl(fd, TUNSETVNETHDRSZ, &header) != 0) return -errno;
  if (ioctl(fd, TUNSETVNETLE, &little_endian) != 0) return -errno;
  memcpy(name, request.ifr_name, IFNAMSIZ);
  return 0;
}

void tun_device_set_ring(const char *name, int packets) {
  struct ifreq request = {.ifr_qlen = packets};
  strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return;
  (void)ioctl(fd, SIOCSIFTXQLEN, &request);
  close(fd);
}

int tun_device_offload(int fd, unsigned offloads) {
  return ioctl(fd, TUNSETOFFLOAD, (unsigned long)offloads) == 0 ? 0 : -errno;
}

unsigned tun_device_probe(int fd) {
  static const unsigned STEPS[] = {
      OFFLOAD_CHECKSUM | OFFLOAD_TSO4 | OFFLOAD_TSO6 | OFFLOAD_TSO_ECN | OFFLOAD_USO, // Linux 6.2
      OFFLOAD_CHECKSUM | OFFLOAD_TSO4 | OFFLOAD_TSO6 | OFFLOAD_TSO_ECN,
      OFFLOAD_CHECKSUM | OFFLOAD_TSO4 | OFFLOAD_TSO6,
      OFFLOAD_CHECKSUM,
  };
  for (size_t i = 0; i < sizeof STEPS / sizeof *STEPS; i++)
    if (tun_device_offload(fd, STEPS[i]) == 0) return STEPS[i];
  return 0;
}

int tun_device_make(const char *path) {
  // By the bare system call: glibc's mknod moved in 2.33, and the addon loads on older ones too.
  return syscall(SYS_mknodat, AT_FDCWD, path, S_IFCHR | 0600, makedev(10, 200)) == 0 ? 0 : -errno;
}
