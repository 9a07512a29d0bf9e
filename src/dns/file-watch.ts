/**
 * Watching files that are rewritten, replaced or not there yet: their folders are watched, and a change is told when the
 * writer has come to rest. inotify(7) by node:fs.
 */
import { watch, type FSWatcher } from 'node:fs';
import { basename, dirname } from 'node:path';
import { targetOf } from './resolv-conf-file.js';

export interface FileWatch {
  /** Idempotent; nothing is told afterwards. */
  close(): void;
}

/** Between a change and telling it: writers write in several steps (our choice). */
const SETTLE_MS = 100;

/** Tells the path, as it was given, of each file that changed; links are followed. Folders that are not there are left out. */
export function openFileWatch(paths: readonly string[], onChange: (path: string) => void): FileWatch {
  const watchers: FSWatcher[] = [];
  const timers = new Map<string, NodeJS.Timeout>();
  let closed = false;
  const later = (path: string) => {
    clearTimeout(timers.get(path));
    timers.set(
      path,
      setTimeout(() => onChange(path), SETTLE_MS),
    );
  };
  const watchFile = (path: string, file: string) => {
    const watcher = openWatcher(dirname(file), (name) => name === basename(file) && later(path));
    if (watcher !== undefined) watchers.push(watcher);
  };
  for (const path of paths) {
    watchFile(path, path);
    void targetOf(path).then((target) => {
      if (!closed && target !== path) watchFile(path, target);
    });
  }
  return {
    close() {
      closed = true;
      for (const watcher of watchers.splice(0)) watcher.close();
      for (const timer of timers.values()) clearTimeout(timer);
    },
  };
}

function openWatcher(folder: string, onName: (name: string) => void): FSWatcher | undefined {
  try {
    const watcher = watch(folder, (_event, name) => {
      if (name !== null) onName(name);
    });
    return watcher.on('error', () => watcher.close());
  } catch {
    return undefined; // no such folder: that program does not run here
  }
}
