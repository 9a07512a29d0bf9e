/**
 * Reading the words of the command line, and writing words that a shell reads back.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { exec } from '../../../src/base/exec.js';
import { codeOf } from '../../../src/base/errors.js';
import { COMMANDS, COMMON_OPTIONS } from '../../../src/cli/commands.js';
import { parseWords } from '../../../src/cli/parser.js';
import { quoteCommand } from '../../../src/cli/quote.js';

const grammar = { program: 'cz', commands: COMMANDS, common: COMMON_OPTIONS };

function parse(...words: readonly string[]) {
  const parsed = parseWords(words, grammar);
  assert.ok(parsed.kind === 'command');
  return parsed;
}

test('options by short and long name, repeated ones in order', () => {
  const { spec, options } = parse(
    'connect',
    '-n',
    'a',
    '--namespace=b',
    '-qv',
    '--also-route',
    '10.0.0.0/8',
    '--install',
  );
  assert.equal(spec.name, 'connect');
  assert.deepEqual(options.list('namespace'), ['a', 'b']);
  assert.deepEqual(options.list('also-route'), ['10.0.0.0/8']);
  assert.deepEqual(
    ['install', 'quiet', 'verbose'].map((name) => options.flag(name)),
    [true, true, true],
  );
  assert.equal(options.text('context'), undefined);
  assert.deepEqual(options.list('never-route'), []);
});

test('a switch that can be turned off again: on, off, not said', () => {
  const said = (...words: readonly string[]) => parse('install', ...words).options.toggle('node-addresses');
  assert.deepEqual([said('--node-addresses'), said('--no-node-addresses'), said()], [true, false, undefined]);
});

test('everything after -- is the command, also what looks like an option or another --', () => {
  const { command, options } = parse('connect', '-q', '--', 'curl', '--help', '--', '-n', '');
  assert.deepEqual(command, ['curl', '--help', '--', '-n', '']);
  assert.ok(options.flag('quiet'));
});

test('help is found before -- only', () => {
  for (const words of [
    [],
    ['--help'],
    ['-h'],
    ['help'],
    ['status', '--help'],
    ['help', 'status'],
    ['--help', 'status'],
  ])
    assert.equal(parseWords(words, grammar).kind, 'help', words.join(' '));
  assert.equal(parse('connect', '--', 'ls', '--help').kind, 'command');
});

test('any words are a command, help, or a USAGE error', () => {
  const word = fc.oneof(
    fc.string(),
    fc.constantFrom(
      ...COMMANDS.map(({ name }) => name),
      '--',
      '-n',
      '-o',
      'json',
      '--help',
      '--context',
      '-x',
      '__proto__',
    ),
  );
  fc.assert(
    fc.property(fc.array(word, { maxLength: 6 }), (words) => {
      try {
        parseWords(words, grammar);
      } catch (error) {
        assert.equal(codeOf(error), 'USAGE', String(error));
      }
    }),
  );
});

test('each command has examples that parse', () => {
  for (const { name, examples } of COMMANDS) {
    assert.ok(examples.length > 0, name);
    for (const { line } of examples) {
      const [words = ''] = line.replace(/^(?:sudo |source <\()?cz /, '').split(/[>)]/);
      assert.equal(parse(...words.trim().split(' ')).spec.name, name, line);
    }
  }
});

test('quoted words come back as they were from sh and bash', async () => {
  const words = fc.array(
    fc.string({ unit: 'binary' }).filter((s) => !/\0|[\uD800-\uDFFF]/.test(s)),
    { minLength: 1, maxLength: 4 },
  );
  await fc.assert(
    fc.asyncProperty(words, fc.constantFrom('sh', 'bash'), async (list, shell) => {
      const { stdout } = await exec([shell, '-c', `printf '%s\\0' ${quoteCommand(list)}`]);
      assert.deepEqual(stdout.split('\0').slice(0, -1), list);
    }),
    { numRuns: 30 },
  );
});
