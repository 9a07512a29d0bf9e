// Socket options by setsockopt(2) and getsockopt(2).
#define _GNU_SOURCE
#include "socket.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

int socket_peer(int fd, struct peer *peer) {
  struct ucred who;
  socklen_t length = sizeof who;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &length) != 0) return -errno;
  *peer = (struct peer){who.pid, who.uid, who.gid};
  return 0;
}

static int tcp_option(int fd, int option, const void *value, socklen_t length) {
  return setsockopt(fd, IPPROTO_TCP, option, value, length) == 0 ? 0 : -errno;
}

int socket_notsent_lowat(int fd, uint32_t bytes) {
  return tcp_option(fd, TCP_NOTSENT_LOWAT, &bytes, sizeof bytes);
}

int socket_user_timeout(int fd, uint32_t ms) { return tcp_option(fd, TCP_USER_TIMEOUT, &ms, sizeof ms); }

int socket_congestion(int fd, const char *name) {
  return tcp_option(fd, TCP_CONGESTION, name, (socklen_t)strlen(name));
}
