// Netlink messages built by hand: a request in a fixed buffer, the answers read until DONE or an error.
#define _GNU_SOURCE
#include "netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_link.h>
#include <linux/inet_diag.h>
#include <linux/ip.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
  REQUEST_BYTES = 256,
  ANSWER_BYTES = 32768, // what the kernel puts into one datagram of a dump at most
};

struct request {
  struct nlmsghdr head;
  uint8_t body[REQUEST_BYTES];
};

/** Called for each message of a dump. Returns 0 to go on, or -errno. */
typedef int visit(const struct nlmsghdr *message, void *context);

static void *append(struct request *request, const void *data, size_t length) {
  uint8_t *at = (uint8_t *)&request->head + NLMSG_ALIGN(request->head.nlmsg_len);
  if (data != NULL) memcpy(at, data, length);
  request->head.nlmsg_len = (uint32_t)(NLMSG_ALIGN(request->head.nlmsg_len) + length);
  return at;
}

static struct rtattr *open_attribute(struct request *request, unsigned short type) {
  struct rtattr head = {.rta_len = 0, .rta_type = type};
  return append(request, &head, sizeof head);
}

static void close_attribute(struct request *request, struct rtattr *attribute) {
  uint8_t *end = (uint8_t *)&request->head + request->head.nlmsg_len;
  attribute->rta_len = (unsigned short)(end - (uint8_t *)attribute);
}

static int nl_open(int family) {
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, family);
  return fd >= 0 ? fd : -errno;
}

/** Returns 1 when the answer goes on, 0 at its end, or -errno. */
static int read_messages(const uint8_t *buffer, int length, visit *each, void *context) {
  const struct nlmsghdr *message = (const struct nlmsghdr *)(const void *)buffer;
  for (; NLMSG_OK(message, length); message = NLMSG_NEXT(message, length)) {
    if (message->nlmsg_type == NLMSG_DONE) return 0;
    if (message->nlmsg_type == NLMSG_ERROR) return ((const struct nlmsgerr *)NLMSG_DATA(message))->error;
    int result = each == NULL ? 0 : each(message, context);
    if (result < 0) return result;
  }
  return 1;
}

/** Sends the request and reads answers to their end. Returns 0 or -errno. */
static int ask(int fd, const struct request *request, visit *each, void *context) {
  _Alignas(struct nlmsghdr) uint8_t buffer[ANSWER_BYTES];
  if (send(fd, request, request->head.nlmsg_len, 0) < 0) return -errno;
  for (;;) {
    ssize_t length = recv(fd, buffer, sizeof buffer, 0);
    if (length < 0 && errno == EINTR) continue;
    if (length < 0) return -errno;
    int result = read_messages(buffer, (int)length, each, context);
    if (result <= 0) return result;
  }
}

int netlink_set_forwarding(const char *interface_name) {
  unsigned index = if_nametoindex(interface_name);
  if (index == 0) return -errno;
  struct request request = {.head = {.nlmsg_len = NLMSG_LENGTH(0),
                                     .nlmsg_type = RTM_NEWLINK,
                                     .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK}};
  const struct ifinfomsg link = {.ifi_family = AF_UNSPEC, .ifi_index = (int)index};
  const uint32_t on = 1;
  append(&request, &link, sizeof link);
  struct rtattr *spec = open_attribute(&request, IFLA_AF_SPEC);
  struct rtattr *inet = open_attribute(&request, AF_INET);
  struct rtattr *conf = open_attribute(&request, IFLA_INET_CONF);
  struct rtattr *forwarding = open_attribute(&request, IPV4_DEVCONF_FORWARDING);
  append(&request, &on, sizeof on);
  close_attribute(&request, forwarding);
  close_attribute(&request, conf);
  close_attribute(&request, inet);
  close_attribute(&request, spec);
  int fd = nl_open(NETLINK_ROUTE);
  if (fd < 0) return fd;
  int result = ask(fd, &request, NULL, NULL);
  close(fd);
  return result;
}

/** The connections to end, found first and ended then: ending one changes the table that is being read. */
struct found {
  uint32_t address; // network order
  struct inet_diag_sockid *ids;
  size_t count, room;
};

/** An IPv6 socket speaks IPv4 with mapped addresses, ::ffff:a.b.c.d (RFC 4291 §2.5.5.2); a JVM's all do. */
static bool is_from(const struct inet_diag_msg *socket, uint32_t address) {
  const uint32_t *source = socket->id.idiag_src;
  if (socket->idiag_family == AF_INET) return source[0] == address;
  return source[0] == 0 && source[1] == 0 && source[2] == htonl(0xffff) && source[3] == address;
}

static int remember(const struct nlmsghdr *message, void *context) {
  struct found *found = context;
  if (message->nlmsg_len < NLMSG_LENGTH(sizeof(struct inet_diag_msg))) return 0;
  const struct inet_diag_msg *socket = NLMSG_DATA(message);
  if (!is_from(socket, found->address)) return 0;
  if (found->count == found->room) {
    size_t room = found->room == 0 ? 64 : found->room * 2;
    void *grown = reallocarray(found->ids, room, sizeof *found->ids);
    if (grown == NULL) return -ENOMEM;
    found->ids = grown;
    found->room = room;
  }
  found->ids[found->count++] = socket->id;
  return 0;
}

static struct request diag_request(uint16_t type, uint16_t flags, const struct inet_diag_req_v2 *what) {
  struct request request = {
      .head = {.nlmsg_len = NLMSG_LENGTH(0), .nlmsg_type = type, .nlmsg_flags = NLM_F_REQUEST | flags}};
  append(&request, what, sizeof *what);
  return request;
}

static int destroy_family(int fd, uint8_t family, uint32_t address) {
  // Listening sockets stay, and what only waits out its time (TIME_WAIT) has nobody to tell.
  const uint32_t states = 0xfffu & ~(1u << TCP_LISTEN | 1u << TCP_TIME_WAIT | 1u << TCP_CLOSE);
  struct inet_diag_req_v2 what = {.sdiag_family = family, .sdiag_protocol = IPPROTO_TCP, .idiag_states = states};
  struct request dump = diag_request(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, &what);
  struct found found = {.address = htonl(address)};
  int destroyed = 0;
  int result = ask(fd, &dump, remember, &found);
  for (size_t i = 0; result == 0 && i < found.count; i++) {
    what.id = found.ids[i];
    struct request end = diag_request(SOCK_DESTROY, NLM_F_ACK, &what);
    int outcome = ask(fd, &end, NULL, NULL);
    if (outcome == 0) destroyed++;
    if (outcome == -EOPNOTSUPP || outcome == -EPERM) result = outcome;
  }
  free(found.ids);
  return result < 0 ? result : destroyed;
}

int netlink_destroy_sockets(uint32_t address) {
  int fd = nl_open(NETLINK_SOCK_DIAG);
  if (fd < 0) return fd;
  int four = destroy_family(fd, AF_INET, address);
  int six = destroy_family(fd, AF_INET6, address);
  close(fd);
  if (four < 0) return four;
  return six < 0 ? four : four + six; // a kernel without IPv6 has no such table
}
