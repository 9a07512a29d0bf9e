// The session filter: whose packets may pass a TUN, and which never may, whatever the other end says. Stateless;
// networks and ports are the manager's firewall's business. Pure.
#ifndef CZ_FILTER_H
#define CZ_FILTER_H

#include <stdbool.h>
#include <stdint.h>

#include "packet.h"

/**
 * Returns whether a packet from the laptop may go towards the cluster: IPv4 from the session's address to another,
 * ordinary host. (Read on the laptop, written at the manager.)
 */
bool filter_outbound(const struct packet_view *view, uint32_t address);

/**
 * Returns whether a packet may enter the laptop: IPv4 TCP, UDP or ICMP to the session's address from another,
 * ordinary host, that opens no connection; from a link-local one only DNS answers. (Read at the manager, written on the
 * laptop.)
 */
bool filter_inbound(const struct packet_view *view, uint32_t address);

#endif
