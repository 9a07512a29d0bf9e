/** Runs the scenario named by the argument; exit code 0 when its sentence is true. */
import { runScenario } from './scenarios.js';

await runScenario(process.argv[2] ?? '');
