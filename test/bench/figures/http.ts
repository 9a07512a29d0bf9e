/** HTTP to the pod: on connections that stay, and on new ones. */
import { PORTS, type Figure } from '../bench.js';

const ROUNDS = 4;
const AT_ONCE = 16;
/** A run leaves its connections in TIME_WAIT, which holds the NAT's ports; two directions, four rounds. */
const MOST_CONNECTIONS = 5000;

/** The figures. */
export const http: readonly Figure[] = [
  figure('http-new', 'new connections, 16 at a time', 'connect', 0.35, ['-most', `${MOST_CONNECTIONS}`]),
  figure('http-keepalive', 'keep-alive requests, 16 connections', 'keepalive', 0.3, ['-skip', '0.5']),
];

function figure(name: string, what: string, kind: string, least: number, more: readonly string[]): Figure {
  return {
    name,
    seconds: 20,
    connected: true,
    measure: async (bench) => {
      const options = { address: `${bench.pod}:${PORTS.web}`, seconds: 2, atOnce: AT_ONCE, more };
      const seen = await bench.compare(ROUNDS, async (on) => (await bench.load(on, kind, options)).perSecond);
      return [{ what, unit: '/s', ...seen, wanted: { of: 'ratio', least } }];
    },
  };
}
