/**
 * A server that has fallen silent is not waited for again and again: after some questions in a row without any answer,
 * further ones fail at once for a while. Names that never were the server's would wait with it otherwise.
 */
import { CzError, hasCode } from '../base/errors.js';
import type { Upstream } from './upstream.js';

/** Our choice: one slow name is no silence, three with nothing answered in between are. */
const SILENT_QUESTIONS = 3;
/** Our choice: a server that is back is noticed within this time. */
const REST_MS = 2000;

/** Returns an `ask` that fails at once while the server rests. @throws as Upstream.ask */
export function createImpatientAsk(upstream: Pick<Upstream, 'ask'>, nowMs: () => number): Upstream['ask'] {
  let unanswered = 0;
  let restsUntilMs = 0;
  return async (key) => {
    if (nowMs() < restsUntilMs) throw new CzError('DNS_NO_ANSWER', 'the DNS server has been silent of late');
    try {
      const answer = await upstream.ask(key);
      unanswered = 0;
      return answer;
    } catch (cause) {
      if (hasCode(cause, 'DNS_NO_ANSWER') && ++unanswered >= SILENT_QUESTIONS)
        restsUntilMs = nowMs() + REST_MS;
      throw cause;
    }
  };
}
