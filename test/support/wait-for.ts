/** Waiting for a condition, with a deadline: what tests do instead of sleeping. */
import { setTimeout as delay } from 'node:timers/promises';

const DEADLINE_MS = 5000;
const LOOK_EVERY_MS = 20;

/** Resolves when `condition` holds. Rejects, naming `what`, when it does not within the deadline. */
export async function waitFor(
  what: string,
  condition: () => boolean | Promise<boolean>,
  deadlineMs = DEADLINE_MS,
): Promise<void> {
  const endAt = Date.now() + deadlineMs;
  while (!(await condition())) {
    if (Date.now() > endAt) throw new Error(`${what}: not within ${deadlineMs} ms`);
    await delay(LOOK_EVERY_MS);
  }
}
