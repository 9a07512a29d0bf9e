/** Runs the scenarios named by the arguments, one after another. Prints a line of JSON for each: why it is not true. */
import { inspect } from 'node:util';
import { runScenario } from './scenarios.js';

for (const sentence of process.argv.slice(2)) {
  const failure = await runScenario(sentence).then(
    () => null,
    (error: unknown) => inspect(error),
  );
  process.stdout.write(`${JSON.stringify({ sentence, failure })}\n`);
}
