/**
 * What the harness says while it works: on stderr, a line each, with the seconds since it began. stdout belongs to answers.
 */

/** Writes a line on stderr. */
export function say(text: string): void {
  process.stderr.write(`cluster: ${text}\n`);
}

/**
 * Returns what `work` returns; says what is done, repeats it while it lasts (every `everyMs`), and says how long it took.
 * `work` that ends within a second is not mentioned.
 */
export async function telling<T>(what: string, work: () => Promise<T>, everyMs = 15_000): Promise<T> {
  const began = performance.now();
  const seconds = () => Math.round((performance.now() - began) / 1000);
  const first = setTimeout(() => say(`${what} …`), 1000);
  const beat = setInterval(() => say(`${what} … ${seconds()} s`), everyMs);
  try {
    return await work();
  } finally {
    clearTimeout(first);
    clearInterval(beat);
    if (seconds() >= 1) say(`${what}: ${seconds()} s`);
  }
}
