/**
 * YAML in and out, the only importer of `yaml`. The package is loaded when it is first needed: a kubeconfig that is
 * JSON or plain (plain-yaml.ts), and every command that has no YAML to read, goes without.
 */
import { CzError, messageOf } from '../base/errors.js';
import { parsePlainYaml } from './plain-yaml.js';

/** Returns the value of one YAML (or JSON) document. @throws YAML_INVALID with the line */
export async function parseYaml(text: string): Promise<unknown> {
  if (/^\s*\{/.test(text)) {
    try {
      return JSON.parse(text);
    } catch {
      // flow-style YAML begins like JSON
    }
  }
  return parsePlainYaml(text) ?? parseAnyYaml(text);
}

/** As `parseYaml`, by the real parser in every case. */
export async function parseAnyYaml(text: string): Promise<unknown> {
  const { parseDocument } = await import('yaml');
  const document = parseDocument(text, { version: '1.2', logLevel: 'silent' });
  const [error] = document.errors;
  if (error !== undefined) throw invalid(error.message, error.linePos?.[0].line);
  try {
    return document.toJS({ maxAliasCount: 100 });
  } catch (cause) {
    throw invalid(messageOf(cause), undefined);
  }
}

/** Returns the comment for the value at this path, or undefined for none. */
export type CommentOf = (path: readonly (string | number)[]) => string | undefined;

/** Returns one YAML document, block style, with comments above the values that have one. */
export async function formatYaml(value: unknown, commentOf?: CommentOf): Promise<string> {
  const { Document, isMap, isSeq, isScalar } = await import('yaml');
  const document = new Document(value, { aliasDuplicateObjects: false });
  const visit = (node: unknown, path: readonly (string | number)[]): void => {
    if (isSeq(node)) return node.items.forEach((item, index) => entry(item, item, [...path, index]));
    if (!isMap(node)) return;
    for (const pair of node.items)
      entry(pair.key, pair.value, [...path, isScalar(pair.key) ? String(pair.key.value) : String(pair.key)]);
  };
  const entry = (commented: unknown, child: unknown, path: readonly (string | number)[]): void => {
    const comment = commentOf?.(path);
    if (comment !== undefined && (isScalar(commented) || isMap(commented) || isSeq(commented)))
      commented.commentBefore = comment.replace(/^/gm, ' ');
    visit(child, path);
  };
  visit(document.contents, []);
  return document.toString({ lineWidth: 0 });
}

function invalid(message: string, line: number | undefined): CzError {
  const [first = 'not YAML'] = message.split('\n');
  const text = first.replace(/ at line \d+, column \d+:?$/, '');
  return new CzError('YAML_INVALID', line === undefined ? text : `line ${line}: ${text}`);
}
