/**
 * Who may say what to the daemon: the user who connected, and root; to connect, root alone (the request names the
 * user whose programs are run, so whoever may send it may be anybody). Pure: the kernel told who the peer is.
 */
import { CzError } from '../base/errors.js';
import type { MethodName } from './schema.js';

/** A process at the other end of the socket, by SO_PEERCRED. unix(7) */
export interface Peer {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

/** Whose the session is. */
export interface Owner {
  readonly uid: number;
  readonly user: string;
}

/** Checks a call. @throws NOT_PERMITTED saying whose the session is */
export type Authorize = (peer: Peer, method: MethodName) => void;

/** Returns the check. `owner` returns undefined while nobody is connected: then anybody may ask for the status. */
export function createAccess(owner: () => Owner | undefined): Authorize {
  return (peer, method) => {
    if (peer.uid === 0) return;
    if (method === 'connect')
      throw new CzError('NOT_ROOT', 'connecting needs root', { hint: 'sudo cz connect' });
    const who = owner();
    if (who === undefined ? method === 'status' : who.uid === peer.uid) return;
    if (who === undefined) throw new CzError('NOT_CONNECTED', 'not connected', { hint: 'sudo cz connect' });
    throw new CzError('NOT_PERMITTED', `this laptop's session belongs to the user "${who.user}"`, {
      hint: `ask ${who.user}, or as root: sudo cz ${method}`,
    });
  };
}
