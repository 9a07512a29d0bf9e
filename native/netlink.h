// Two requests to the kernel that no command line tool makes: IPv4 forwarding of one interface with NET_ADMIN
// alone, and the end of TCP connections from an address that is gone. netlink(7), rtnetlink(7), sock_diag(7).
#ifndef CZ_NETLINK_H
#define CZ_NETLINK_H

#include <stdint.h>

/** Turns IPv4 forwarding on for the interface. Returns 0 or -errno. */
int netlink_set_forwarding(const char *interface_name);

/**
 * Ends every TCP connection whose source is this IPv4 address (host order), so that programs learn at once.
 * Returns how many, or -errno.
 */
int netlink_destroy_sockets(uint32_t address);

#endif
