/** What the tests' cluster DNS and outside DNS know, and the policy that they are tried with. */
import type { Answer } from 'dns-packet';
import type { NamePolicy } from '../../src/dns/names.js';
import type { FakeZone } from './dns-fake.js';

const address = (name: string, data: string, ttl = 30): Answer => ({ type: 'A', name, ttl, data });
const pods = Array.from({ length: 60 }, (_, index) => `10.244.1.${index + 1}`);

/** A cluster's zone as CoreDNS serves it. */
export const CLUSTER_ZONE: FakeZone = {
  zones: ['cluster.local', 'in-addr.arpa'],
  records: {
    'web.shop.svc.cluster.local': [address('web.shop.svc.cluster.local', '10.96.7.7')],
    'db.shop.svc.cluster.local': [address('db.shop.svc.cluster.local', '10.244.1.5')],
    'pod-0.db.shop.svc.cluster.local': [address('pod-0.db.shop.svc.cluster.local', '10.244.1.5')],
    '10-244-1-5.shop.pod.cluster.local': [address('10-244-1-5.shop.pod.cluster.local', '10.244.1.5')],
    'api.team.svc.cluster.local': [address('api.team.svc.cluster.local', '10.96.8.8')],
    'web.dev.svc.cluster.local': [address('web.dev.svc.cluster.local', '10.96.9.9')],
    'many.shop.svc.cluster.local': pods.map((pod) => address('many.shop.svc.cluster.local', pod)),
    'far.shop.svc.cluster.local': [
      { type: 'CNAME', name: 'far.shop.svc.cluster.local', ttl: 30, data: 'www.example.com' },
    ],
    '_http._tcp.web.shop.svc.cluster.local': [
      {
        type: 'SRV',
        name: '_http._tcp.web.shop.svc.cluster.local',
        ttl: 30,
        data: { priority: 0, weight: 100, port: 80, target: 'web.shop.svc.cluster.local' },
      },
    ],
    '7.7.96.10.in-addr.arpa': [
      { type: 'PTR', name: '7.7.96.10.in-addr.arpa', ttl: 30, data: 'web.shop.svc.cluster.local' },
    ],
  },
};

/** The rest of the world, with a wildcard-free laptop domain. */
export const OUTSIDE_ZONE: FakeZone = {
  zones: [''],
  records: {
    'www.example.com': [address('www.example.com', '203.0.113.80')],
    'pages.dev': [address('pages.dev', '203.0.113.81')],
    'intra.corp.example': [address('intra.corp.example', '203.0.113.82')],
    'printer.corp.example': [address('printer.corp.example', '203.0.113.83')],
    '1.113.0.203.in-addr.arpa': [
      { type: 'PTR', name: '1.113.0.203.in-addr.arpa', ttl: 30, data: 'www.example.com' },
    ],
  },
};

export const TRIED_POLICY: NamePolicy = {
  clusterDomain: 'cluster.local',
  namespaces: ['default', 'shop', 'team', 'dev', 'kube-system'],
  connected: ['shop', 'team'],
  networks: ['10.96.0.0/16', '10.244.0.0/16'],
  laptopDomains: ['corp.example'],
};
