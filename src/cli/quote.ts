/**
 * Commands as they can be pasted into a shell. Pure.
 */

/** Returns the words as one line that sh, bash, zsh and fish read back as the same words. */
export function quoteCommand(words: readonly string[]): string {
  return words.map(quoteWord).join(' ');
}

/** POSIX.1-2017, Shell Command Language, 2.2.2: within single quotes all is literal. fish reads `\` there too. */
function quoteWord(word: string): string {
  if (/^[\w@%+=:,./-]+$/.test(word)) return word;
  return `'${word.replaceAll(/'|\\/g, (char) => (char === "'" ? `'"'"'` : `'"\\\\"'`))}'`;
}
