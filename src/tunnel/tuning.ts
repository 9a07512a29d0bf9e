/**
 * What both ends ask of the TCP socket under the websocket (tcp(7)). Best effort: a kernel that lacks one goes without.
 */

/** Settings of the websocket's socket; `base/addon.ts` tuneSocket applies them. */
export const TUNNEL_TUNING = {
  /**
   * Unsent bytes that the kernel takes beyond what is in flight: a message's worth, so that what waits, waits in our
   * flow queues, where a small packet can overtake (our choice).
   */
  notsentLowatBytes: 128 * 1024,
  /** An unacknowledged segment ends the connection after this; the heartbeat is usually first (our choice). */
  userTimeoutMs: 10_000,
  /** Keeps a lossy link full, where cubic gives up: 34 – 85 against 2 – 3 of 100 Mbit/s at 1 % loss (measured). */
  congestion: 'bbr',
} as const;
