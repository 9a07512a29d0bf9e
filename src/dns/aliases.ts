/**
 * Aliases (CNAME) in an answer: where they lead, and whether the answer holds what is there. Pure. RFC 1034 §3.6.2.
 */
import { rcodeOf, targetOf, type Message } from './message.js';
import { lowerName, RCODE, TYPE, type WireName } from './wire.js';

/** The question type that asks for all there is (RFC 1035 §3.2.3); an alias answers it. */
const ANY = 255;

/**
 * Returns the name that the answers lead to without saying what is there, small letters; undefined where they end at
 * records, or are no aliases, or the alias itself was asked for.
 */
export function openAlias(message: Message): WireName | undefined {
  const { question, answers } = message;
  if (question.type === TYPE.CNAME || question.type === ANY || rcodeOf(message) !== RCODE.ok)
    return undefined;
  const end = followAliases(message);
  const hasRecords = answers.some((record) => record.type !== TYPE.CNAME && lowerName(record.name) === end);
  return end === lowerName(question.name) || hasRecords ? undefined : end;
}

/** A chain that bites its tail ends after as many steps as there are aliases. */
function followAliases({ question, answers }: Message): WireName {
  const aliases = new Map(
    answers.flatMap((record) => {
      const target = record.type === TYPE.CNAME ? targetOf(record) : undefined;
      return target === undefined ? [] : [[lowerName(record.name), lowerName(target)] as const];
    }),
  );
  let name = lowerName(question.name);
  for (let steps = 0; steps < aliases.size; steps++) name = aliases.get(name) ?? name;
  return name;
}
