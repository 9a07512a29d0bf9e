/**
 * Invokers for the tests: this process's own user unless told otherwise.
 */
import type { Invoker } from '../../src/base/invoker.js';

/** Returns an invoker with these traits. */
export function someone(traits: Partial<Invoker> = {}): Invoker {
  return {
    uid: process.getuid?.() ?? 0,
    gid: process.getgid?.() ?? 0,
    user: 'jane',
    home: '/nonexistent',
    env: {},
    ...traits,
  };
}
