/**
 * The voice: what goes to which stream, what a terminal gets that a pipe does not, and that text from outside
 * cannot steer the terminal.
 */
import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { CzError } from '../../../src/base/errors.js';
import { createUi, printable, type UiOptions } from '../../../src/cli/ui.js';

function listen(options: Partial<UiOptions> & { readonly isTTY?: boolean } = {}) {
  const heard = { out: '', err: '' };
  const sink = (stream: 'out' | 'err') => ({
    isTTY: options.isTTY ?? false,
    columns: 60,
    write: (text: string) => void (heard[stream] += text),
  });
  const ui = createUi({ env: {}, ...options, out: sink('out'), err: sink('err') });
  return { ui, heard };
}

test('the answer is on standard output, the talk on standard error', () => {
  const { ui, heard } = listen();
  ui.answer('42');
  ui.note('connected');
  ui.warn('careful', 'look');
  ui.error(new CzError('X', 'no', { hint: 'yes' }));
  assert.deepEqual(heard, {
    out: '42\n',
    err: 'cz: connected\ncz: warning: careful\ncz: hint: look\ncz: error: no\ncz: hint: yes\n',
  });
});

test('quiet leaves the answer, warnings and errors; verbose adds details and causes', () => {
  const quiet = listen({ quiet: true });
  quiet.ui.note('a');
  quiet.ui.detail('b');
  quiet.ui.warn('c');
  assert.equal(quiet.heard.err, 'cz: warning: c\n');
  const verbose = listen({ verbose: true });
  verbose.ui.detail('b');
  verbose.ui.progress({ kind: 'started', step: 'x', text: 'asking' });
  verbose.ui.progress({ kind: 'done', step: 'x', text: 'asking', tookMs: 1234 });
  verbose.ui.error(new CzError('X', 'no', { cause: new Error('root') }));
  assert.equal(verbose.heard.err, 'cz: b\ncz: asking (1.2 s)\ncz: error: no\ncz: because: root\n');
});

const colourless: readonly [string, Parameters<typeof listen>[0]][] = [
  ['a pipe', {}],
  ['NO_COLOR', { isTTY: true, env: { NO_COLOR: '1' } }],
  ['a dumb terminal', { isTTY: true, env: { TERM: 'dumb' } }],
];
for (const [what, options] of colourless) {
  test(`no colours for ${what}`, () => {
    const { ui, heard } = listen(options);
    ui.warn('x');
    assert.equal(heard.err + ui.paint('red', 'y'), 'cz: warning: x\ny');
  });
}

test('a terminal gets colours', () => {
  const { ui, heard } = listen({ isTTY: true });
  ui.warn('x');
  assert.equal(heard.err, 'cz: \u001B[33mwarning:\u001B[0m x\n');
});

test('a step is spoken of after a second: a line that goes away on a terminal, a plain line elsewhere', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout', 'setInterval'] });
  const cases = [
    listen({ isTTY: true }),
    listen(),
    listen({ isTTY: true, env: { CI: '1' } }),
    listen({ quiet: true }),
  ];
  for (const { ui } of cases) ui.progress({ kind: 'started', step: 'x', text: 'waiting' });
  t.mock.timers.tick(999);
  assert.deepEqual(
    cases.map(({ heard }) => heard.err),
    ['', '', '', ''],
  );
  t.mock.timers.tick(201);
  for (const { ui } of cases) ui.settle();
  const [terminal = '', ...others] = cases.map(({ heard }) => heard.err);
  assert.ok(terminal.startsWith('\r\u001B[K⠋ waiting …'), JSON.stringify(terminal));
  assert.ok(terminal.endsWith('\r\u001B[K'), 'gone when done');
  assert.deepEqual(others, ['cz: waiting …\n', 'cz: waiting …\n', '']);
  mock.timers.reset();
});

test('a note takes the progress line away first', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout', 'setInterval'] });
  const { ui, heard } = listen({ isTTY: true });
  ui.progress({ kind: 'started', step: 'x', text: 'waiting' });
  t.mock.timers.tick(1000);
  ui.note('said');
  ui.settle();
  assert.ok(heard.err.endsWith('\r\u001B[Kcz: said\n'), JSON.stringify(heard.err));
});

test('control characters and direction marks from outside become visible', () => {
  assert.equal(printable('a\u001B[2Jb\rc\u202Ed\u0007'), 'a�[2Jb�c�d�');
  assert.equal(printable('two\nlines\tand ü'), 'two\nlines\tand ü');
});
