/**
 * The words for a link on a command line: `rate=100mbit,delay=25ms,loss=1%,limit=500kb,cut,reset`, each with `up-` or
 * `down-` before it for one direction alone. Pure.
 */
import { CzError } from '../../../src/base/errors.js';
import type { LinkSettings } from './shaper.js';

const BITS: Readonly<Record<string, number>> = { bit: 1, kbit: 1e3, mbit: 1e6, gbit: 1e9 };
const BYTES: Readonly<Record<string, number>> = { b: 1, kb: 1e3, mb: 1e6 };
const MILLISECONDS: Readonly<Record<string, number>> = { us: 1e-3, ms: 1, s: 1e3 };
const SHARE: Readonly<Record<string, number>> = { '%': 1e-2 };

/** Returns the settings of both directions. @throws USAGE naming the word that is none */
export function parseShape(text: string): { readonly up: LinkSettings; readonly down: LinkSettings } {
  const words = text.split(',').filter(Boolean).map(parseWord);
  const of = (other: string): LinkSettings =>
    Object.assign({}, ...words.filter(({ side }) => side !== other).map(({ setting }) => setting));
  return { up: of('down'), down: of('up') };
}

function parseWord(word: string): { readonly side: string | undefined; readonly setting: LinkSettings } {
  const match = /^(?:(up|down)-)?([a-z]+)(?:=(.*))?$/.exec(word);
  const [, side, key = '', value] = match ?? [];
  return { side, setting: parseSetting(word, key, value) };
}

function parseSetting(word: string, key: string, value: string | undefined): LinkSettings {
  switch (key) {
    case 'rate':
      return { bitsPerSecond: quantity(word, value, BITS) };
    case 'delay':
      return { delayMs: quantity(word, value, MILLISECONDS) };
    case 'loss':
      return { loss: Math.min(1, quantity(word, value, SHARE)) };
    case 'limit':
      return { limitBytes: quantity(word, value, BYTES) };
    case 'cut':
    case 'reset':
      if (value === undefined) return key === 'cut' ? { cut: true } : { reset: true };
      break;
    case 'plain':
      if (value === undefined) return {};
  }
  throw unknown(word);
}

function quantity(word: string, value: string | undefined, units: Readonly<Record<string, number>>): number {
  const [, digits, unit = ''] = /^(\d+(?:\.\d+)?)(\D+)$/.exec(value ?? '') ?? [];
  const factor = units[unit];
  if (digits === undefined || factor === undefined) throw unknown(word);
  return Number(digits) * factor;
}

function unknown(word: string): CzError {
  return new CzError('USAGE', `"${word}" says nothing about a link`, {
    hint: 'rate=100mbit,delay=25ms,loss=1%,limit=500kb,cut,reset — each also with up- or down-; "off" for a plain cable',
  });
}
