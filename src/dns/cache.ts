/**
 * Answers by key, bounded in number and bytes. Expired ones stay until their place is needed: while the cluster cannot
 * be asked, they are what its names are known by. What was not asked for since its last turn leaves first (second chance).
 */
import type { Entry } from './answer.js';

export interface Cache {
  get(key: string): Entry | undefined;
  set(key: string, entry: Entry): void;
  /** Forgets what the test says of its key. */
  forget(test: (key: string) => boolean): void;
  readonly size: number;
  readonly bytes: number;
}

/** Our choice: a laptop's day of names, at 200 bytes each about 2 MB. */
const ENTRY_LIMIT = 8192;
const BYTES_LIMIT = 8 * 1024 * 1024;

/** What an entry weighs beside its bytes: key, offsets, map slot (estimated). */
const OVERHEAD_BYTES = 300;

interface Slot {
  readonly entry: Entry;
  used: boolean;
}

/** Returns an empty cache. */
export function createCache(entryLimit = ENTRY_LIMIT, bytesLimit = BYTES_LIMIT): Cache {
  const slots = new Map<string, Slot>();
  let bytes = 0;
  const drop = (key: string, slot: Slot) => {
    slots.delete(key);
    bytes -= weight(slot.entry);
  };
  const makeRoom = () => {
    for (const [key, slot] of slots) {
      if (slots.size <= entryLimit && bytes <= bytesLimit) return;
      if (!slot.used) drop(key, slot);
      else slots.delete(key);
      if (slot.used) slots.set(key, { entry: slot.entry, used: false });
    }
  };
  return {
    get(key) {
      const slot = slots.get(key);
      if (slot !== undefined) slot.used = true;
      return slot?.entry;
    },
    set(key, entry) {
      const old = slots.get(key);
      if (old !== undefined) drop(key, old);
      slots.set(key, { entry, used: false });
      bytes += weight(entry);
      makeRoom();
    },
    forget(test) {
      for (const [key, slot] of slots) if (test(key)) drop(key, slot);
    },
    get size() {
      return slots.size;
    },
    get bytes() {
      return bytes;
    },
  };
}

function weight(entry: Entry): number {
  return entry.bytes.length + OVERHEAD_BYTES;
}
