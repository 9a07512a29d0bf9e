// The Node-API face (version 8, so that one binary serves Node 20 and later): arguments in, numbers out. A failed
// system call is returned as -errno; src/base/addon.ts, the only caller, turns it into an error.
#define NAPI_VERSION 8
#include <node_api.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "netlink.h"
#include "records.h"
#include "socket.h"
#include "tun.h"
#include "tun_device.h"

enum { TEXT_MAX = 64 }; // longer than a name of an interface, a device or a congestion control

static const napi_type_tag TUN_TAG = {0x8f1c0a5e63d94b27u, 0xb2747e0cc9a1d35fu};

/** A TUN as JavaScript holds it; `tun` is NULL once closed. */
struct handle {
  struct tun *tun;
  napi_threadsafe_function readable;
};

// Arguments. Each returns whether it could; the caller then returns NULL with the TypeError pending.

static bool complain(napi_env env, const char *what) {
  napi_throw_type_error(env, NULL, what);
  return false;
}

static bool arguments(napi_env env, napi_callback_info info, size_t count, napi_value *values) {
  size_t given = count;
  if (napi_get_cb_info(env, info, &given, values, NULL, NULL) == napi_ok && given >= count) return true;
  return complain(env, "too few arguments");
}

static bool integer(napi_env env, napi_value value, int32_t *out) {
  return napi_get_value_int32(env, value, out) == napi_ok || complain(env, "not a number");
}

static bool size(napi_env env, napi_value value, uint32_t *out) {
  return napi_get_value_uint32(env, value, out) == napi_ok || complain(env, "not a number");
}

static bool text(napi_env env, napi_value value, char out[TEXT_MAX]) {
  size_t length;
  bool ok = napi_get_value_string_utf8(env, value, NULL, 0, &length) == napi_ok && length < TEXT_MAX;
  if (!ok) return complain(env, "not a short string");
  return napi_get_value_string_utf8(env, value, out, TEXT_MAX, &length) == napi_ok;
}

static bool bytes(napi_env env, napi_value value, uint8_t **out, size_t *length) {
  bool is_buffer = false;
  napi_is_buffer(env, value, &is_buffer);
  if (!is_buffer) return complain(env, "not a buffer");
  return napi_get_buffer_info(env, value, (void **)out, length) == napi_ok;
}

static bool handle_of(napi_env env, napi_value value, struct handle **out) {
  bool tagged = false;
  napi_check_object_type_tag(env, value, &TUN_TAG, &tagged);
  if (!tagged || napi_unwrap(env, value, (void **)out) != napi_ok) return complain(env, "not a TUN");
  return (*out)->tun != NULL || complain(env, "the TUN is closed");
}

// Results.

static napi_value number(napi_env env, double value) {
  napi_value result = NULL;
  napi_create_double(env, value, &result);
  return result;
}

static napi_value numbers(napi_env env, const double *values, uint32_t count) {
  napi_value list = NULL;
  napi_create_array_with_length(env, count, &list);
  for (uint32_t i = 0; i < count; i++) napi_set_element(env, list, i, number(env, values[i]));
  return list;
}

// TUN.

/** On the reader's thread. */
static void wake(void *context) {
  struct handle *handle = context;
  napi_call_threadsafe_function(handle->readable, NULL, napi_tsfn_nonblocking);
}

/** On JavaScript's thread. */
static void call_listener(napi_env env, napi_value listener, void *context, void *data) {
  (void)context, (void)data;
  napi_value undefined;
  if (env == NULL || listener == NULL) return; // being torn down
  napi_get_undefined(env, &undefined);
  napi_call_function(env, undefined, listener, 0, NULL, NULL);
}

static void close_handle(struct handle *handle) {
  if (handle->tun == NULL) return;
  tun_close(handle->tun);
  handle->tun = NULL;
  napi_release_threadsafe_function(handle->readable, napi_tsfn_abort);
}

static void on_exit_of_environment(void *context) { close_handle(context); }

static void finalize(napi_env env, void *data, void *hint) {
  (void)hint;
  napi_remove_env_cleanup_hook(env, on_exit_of_environment, data);
  close_handle(data);
  free(data);
}

static napi_value listener_function(napi_env env, napi_value listener, struct handle *handle) {
  napi_value name;
  napi_create_string_utf8(env, "cz tun", NAPI_AUTO_LENGTH, &name);
  napi_status status = napi_create_threadsafe_function(env, listener, NULL, name, 0, 1, NULL, NULL, NULL,
                                                       call_listener, &handle->readable);
  return status == napi_ok ? listener : NULL;
}

static napi_value wrap(napi_env env, struct handle *handle) {
  napi_value object;
  napi_create_object(env, &object);
  napi_type_tag_object(env, object, &TUN_TAG);
  napi_wrap(env, object, handle, finalize, NULL, NULL);
  napi_add_env_cleanup_hook(env, on_exit_of_environment, handle);
  return object;
}

/** tunOpen(name, queueBytes, listener): the handle, or [step, -errno]. */
static napi_value tun_open_js(napi_env env, napi_callback_info info) {
  napi_value values[3];
  char name[TEXT_MAX] = {0};
  uint32_t queue_bytes;
  if (!arguments(env, info, 3, values) || !text(env, values[0], name) || !size(env, values[1], &queue_bytes))
    return NULL;
  if (strlen(name) >= IFNAMSIZ) return complain(env, "name too long"), NULL;
  struct handle *handle = calloc(1, sizeof *handle);
  if (handle == NULL || listener_function(env, values[2], handle) == NULL) {
    free(handle);
    return complain(env, "not a function"), NULL;
  }
  enum tun_step step;
  int error = tun_open(&handle->tun, &step, name, queue_bytes, wake, handle);
  if (error == 0) return wrap(env, handle);
  napi_release_threadsafe_function(handle->readable, napi_tsfn_abort);
  free(handle);
  return numbers(env, (double[]){step, error}, 2);
}

static napi_value tun_name_js(napi_env env, napi_callback_info info) {
  napi_value value, result;
  struct handle *handle;
  if (!arguments(env, info, 1, &value) || !handle_of(env, value, &handle)) return NULL;
  napi_create_string_utf8(env, tun_name(handle->tun), NAPI_AUTO_LENGTH, &result);
  return result;
}

static napi_value tun_offloads_js(napi_env env, napi_callback_info info) {
  napi_value value;
  struct handle *handle;
  if (!arguments(env, info, 1, &value) || !handle_of(env, value, &handle)) return NULL;
  return number(env, tun_offloads(handle->tun));
}

static napi_value tun_set_offloads_js(napi_env env, napi_callback_info info) {
  napi_value values[2];
  struct handle *handle;
  uint32_t wanted;
  if (!arguments(env, info, 2, values) || !handle_of(env, values[0], &handle) || !size(env, values[1], &wanted))
    return NULL;
  return number(env, tun_set_offloads(handle->tun, wanted));
}

/** tunSetSession(handle, side, address) */
static napi_value tun_set_session_js(napi_env env, napi_callback_info info) {
  napi_value values[3];
  struct handle *handle;
  uint32_t side, address;
  bool ok = arguments(env, info, 3, values) && handle_of(env, values[0], &handle) && size(env, values[1], &side) &&
            size(env, values[2], &address);
  if (!ok) return NULL;
  if (side > SIDE_MANAGER) return complain(env, "unknown side"), NULL;
  tun_set_session(handle->tun, (enum side)side, address);
  return NULL;
}

/** tunTake(handle, arena, offset, wanted): bytes written or -errno. */
static napi_value tun_take_js(napi_env env, napi_callback_info info) {
  napi_value values[4];
  struct handle *handle;
  uint8_t *arena;
  size_t length;
  uint32_t offset, wanted;
  bool ok = arguments(env, info, 4, values) && handle_of(env, values[0], &handle) &&
            bytes(env, values[1], &arena, &length) && size(env, values[2], &offset) &&
            size(env, values[3], &wanted);
  if (!ok) return NULL;
  if (offset > length || length - offset < RECORD_MAX) return complain(env, "the arena is too small"), NULL;
  size_t room = length - offset;
  return number(env, (double)tun_take(handle->tun, arena + offset, wanted < room ? wanted : room));
}

/** tunWrite(handle, records): 0 or -errno. */
static napi_value tun_write_js(napi_env env, napi_callback_info info) {
  napi_value values[2];
  struct handle *handle;
  uint8_t *records;
  size_t length;
  bool ok = arguments(env, info, 2, values) && handle_of(env, values[0], &handle) &&
            bytes(env, values[1], &records, &length);
  if (!ok) return NULL;
  return number(env, tun_write(handle->tun, records, length));
}

/** tunStats(handle): numbers in the order that src/base/addon.ts names. */
static napi_value tun_stats_js(napi_env env, napi_callback_info info) {
  napi_value value;
  struct handle *handle;
  struct tun_stats s;
  if (!arguments(env, info, 1, &value) || !handle_of(env, value, &handle)) return NULL;
  tun_read_stats(handle->tun, &s);
  const double list[] = {
      (double)s.read_packets,      (double)s.read_bytes,     (double)s.written_packets, (double)s.written_bytes,
      (double)s.dropped_queue,     (double)s.dropped_codel,  (double)s.dropped_filter,
      (double)s.dropped_malformed, (double)s.dropped_write,  (double)s.marked_codel,    (double)s.queued_bytes,
      (double)s.resident_bytes,
  };
  return numbers(env, list, sizeof list / sizeof *list);
}

static napi_value tun_close_js(napi_env env, napi_callback_info info) {
  napi_value value;
  struct handle *handle;
  if (arguments(env, info, 1, &value) && handle_of(env, value, &handle)) close_handle(handle);
  return NULL;
}

/** tunDeviceMake(path): 0 or -errno. */
static napi_value tun_device_make_js(napi_env env, napi_callback_info info) {
  napi_value value;
  char path[TEXT_MAX];
  if (!arguments(env, info, 1, &value) || !text(env, value, path)) return NULL;
  return number(env, tun_device_make(path));
}

// Sockets and netlink.

/** peerCredentials(fd): [pid, uid, gid] or -errno. */
static napi_value peer_credentials_js(napi_env env, napi_callback_info info) {
  napi_value value;
  int32_t fd;
  struct peer peer;
  if (!arguments(env, info, 1, &value) || !integer(env, value, &fd)) return NULL;
  int error = socket_peer(fd, &peer);
  return error != 0 ? number(env, error) : numbers(env, (double[]){peer.pid, peer.uid, peer.gid}, 3);
}

typedef int set_number(int fd, uint32_t value);

static napi_value set_option(napi_env env, napi_callback_info info, set_number *set) {
  napi_value values[2];
  int32_t fd;
  uint32_t value;
  if (!arguments(env, info, 2, values) || !integer(env, values[0], &fd) || !size(env, values[1], &value))
    return NULL;
  return number(env, set(fd, value));
}

static napi_value notsent_lowat_js(napi_env env, napi_callback_info info) {
  return set_option(env, info, socket_notsent_lowat);
}

static napi_value user_timeout_js(napi_env env, napi_callback_info info) {
  return set_option(env, info, socket_user_timeout);
}

static napi_value congestion_js(napi_env env, napi_callback_info info) {
  napi_value values[2];
  int32_t fd;
  char name[TEXT_MAX];
  if (!arguments(env, info, 2, values) || !integer(env, values[0], &fd) || !text(env, values[1], name)) return NULL;
  return number(env, socket_congestion(fd, name));
}

static napi_value set_forwarding_js(napi_env env, napi_callback_info info) {
  napi_value value;
  char name[TEXT_MAX];
  if (!arguments(env, info, 1, &value) || !text(env, value, name)) return NULL;
  return number(env, netlink_set_forwarding(name));
}

static napi_value destroy_sockets_js(napi_env env, napi_callback_info info) {
  napi_value value;
  uint32_t address;
  if (!arguments(env, info, 1, &value) || !size(env, value, &address)) return NULL;
  return number(env, netlink_destroy_sockets(address));
}

#define METHOD(js, c) {js, NULL, c, NULL, NULL, NULL, napi_default, NULL}

NAPI_MODULE_INIT() {
  const napi_property_descriptor methods[] = {
      METHOD("tunOpen", tun_open_js),
      METHOD("tunName", tun_name_js),
      METHOD("tunOffloads", tun_offloads_js),
      METHOD("tunSetOffloads", tun_set_offloads_js),
      METHOD("tunSetSession", tun_set_session_js),
      METHOD("tunTake", tun_take_js),
      METHOD("tunWrite", tun_write_js),
      METHOD("tunStats", tun_stats_js),
      METHOD("tunClose", tun_close_js),
      METHOD("tunDeviceMake", tun_device_make_js),
      METHOD("peerCredentials", peer_credentials_js),
      METHOD("setNotsentLowat", notsent_lowat_js),
      METHOD("setUserTimeout", user_timeout_js),
      METHOD("setCongestion", congestion_js),
      METHOD("setForwarding", set_forwarding_js),
      METHOD("destroySockets", destroy_sockets_js),
  };
  napi_define_properties(env, exports, sizeof methods / sizeof *methods, methods);
  return exports;
}
