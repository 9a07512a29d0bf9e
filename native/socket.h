// What Node cannot ask of a socket: who is at the other end, and TCP options.
#ifndef CZ_SOCKET_H
#define CZ_SOCKET_H

#include <stdint.h>
#include <sys/types.h>

struct peer {
  pid_t pid;
  uid_t uid;
  gid_t gid;
};

/** Fills in who connected to this unix socket (SO_PEERCRED, unix(7)). Returns 0 or -errno. */
int socket_peer(int fd, struct peer *peer);

/** Limits what the kernel holds unsent (TCP_NOTSENT_LOWAT, tcp(7)). Returns 0 or -errno. */
int socket_notsent_lowat(int fd, uint32_t bytes);

/** Limits how long sent data may stay unacknowledged (TCP_USER_TIMEOUT, tcp(7)). Returns 0 or -errno. */
int socket_user_timeout(int fd, uint32_t ms);

/** Selects a congestion control by name (TCP_CONGESTION, tcp(7)). Returns 0 or -errno. */
int socket_congestion(int fd, const char *name);

#endif
