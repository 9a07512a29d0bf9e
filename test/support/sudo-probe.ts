/**
 * What cz sees when sudo has started it (kube-sudo.test.ts): who called, and the credential that their kubeconfig gives.
 */
import { findInvoker } from '../../src/base/invoker.js';
import { loadAccess } from '../../src/kube/access.js';

const invoker = await findInvoker({ env: process.env });
const { uid, gid, user, home, env } = invoker;
const names = ['KUBECONFIG', 'AWS_PROFILE', 'PATH', 'LD_LIBRARY_PATH', 'ROOTS_SECRET', 'PWD'];
const picked = Object.fromEntries(names.map((name) => [name, env[name]]));
const access = await loadAccess({ invoker });
const { headers } = await access.credentials.current();
console.log(JSON.stringify({ uid, gid, user, home, env: picked, context: access.context, headers }));
