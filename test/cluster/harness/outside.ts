/**
 * What is not of the cluster: a host beside the nodes, and the laptops' own DNS server: a few invented names, NXDOMAIN for all else, each query in a log, so that a test can see
 * what a laptop asked outside.
 */
import { writeFile } from 'node:fs/promises';
import { background } from './processes.js';
import { BESIDE, inCluster, OUTSIDE, OUTSIDE_ZONE } from './settings.js';

/** What the outside DNS server answers for any name in its zone. */
export const OUTSIDE_ANSWER = '203.0.113.80';

/** Where each query to the outside DNS server leaves a line: `TYPE NAME`. */
export const OUTSIDE_DNS_LOG = inCluster('logs', 'outside-dns.log');

/** Starts the servers of the host beside the nodes. */
export async function startBeside(): Promise<void> {
  await background('beside-web', { net: BESIDE }, ['workload', 'web', '-port', '80']);
  await background('beside-echo', { net: BESIDE }, ['workload', 'echo', '-port', '7']);
}

/** Starts the outside DNS server. */
export async function startOutsideDns(): Promise<void> {
  await writeFile(inCluster('outside-dns.conf'), CONFIGURATION);
  await background('outside-dns', { net: OUTSIDE }, ['coredns', '-conf', inCluster('outside-dns.conf')]);
}

const CONFIGURATION = `.:53 {
  errors
  log . "{type} {name} {rcode}"
  template IN A ${OUTSIDE_ZONE} {
    match ^missing\\.
    rcode NXDOMAIN
    authority "${OUTSIDE_ZONE} 60 IN SOA ns.${OUTSIDE_ZONE} hostmaster.${OUTSIDE_ZONE} 1 60 60 60 60"
    fallthrough
  }
  template IN A ${OUTSIDE_ZONE} {
    answer "{{ .Name }} 60 IN A ${OUTSIDE_ANSWER}"
  }
  template ANY ANY ${OUTSIDE_ZONE} {
    rcode NOERROR
    authority "${OUTSIDE_ZONE} 60 IN SOA ns.${OUTSIDE_ZONE} hostmaster.${OUTSIDE_ZONE} 1 60 60 60 60"
  }
  template ANY ANY . {
    rcode NXDOMAIN
    authority ". 60 IN SOA a.root. hostmaster.root. 1 60 60 60 60"
  }
}
`;
