/**
 * X.509 certificates for the tests, made in memory: an authority, and what it signs. Nothing on disk, no tool needed.
 * RFC 5280 §4.1, DER by ITU-T X.690.
 */
import { generateKeyPairSync, randomBytes, sign, type KeyObject } from 'node:crypto';
import { isIPv4 } from 'node:net';

export interface Certificate {
  /** PEM. */
  readonly cert: string;
  /** PEM. */
  readonly key: string;
}

export interface Authority extends Certificate {
  /** Returns a certificate that this authority signed. */
  issue(o: {
    name: string;
    groups?: readonly string[];
    hosts?: readonly string[];
    from?: Date;
    until?: Date;
  }): Certificate;
}

const HOUR_MS = 3_600_000;

/** Returns a new authority. */
export function createAuthority(name = 'test authority'): Authority {
  const own = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const subject = distinguishedName(name);
  const own509 = certificate({
    subject,
    issuer: subject,
    publicKey: own.publicKey,
    signer: own.privateKey,
    ca: true,
  });
  return {
    cert: own509,
    key: pem(own.privateKey),
    issue({ name: common, groups = [], hosts = [], from, until }) {
      const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      const cert = certificate({
        subject: distinguishedName(common, groups),
        issuer: subject,
        publicKey: pair.publicKey,
        signer: own.privateKey,
        hosts,
        ...(from === undefined ? {} : { from }),
        ...(until === undefined ? {} : { until }),
      });
      return { cert, key: pem(pair.privateKey) };
    },
  };
}

interface Content {
  readonly subject: Buffer;
  readonly issuer: Buffer;
  readonly publicKey: KeyObject;
  readonly signer: KeyObject;
  readonly hosts?: readonly string[];
  readonly ca?: boolean;
  readonly from?: Date;
  readonly until?: Date;
}

const ECDSA_SHA256 = sequence(oid('1.2.840.10045.4.3.2'));

function certificate(o: Content): string {
  const from = o.from ?? new Date(Date.now() - HOUR_MS);
  const until = o.until ?? new Date(Date.now() + 24 * HOUR_MS);
  const serial = randomBytes(8);
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40;
  const signed = sequence(
    tagged(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, serial),
    ECDSA_SHA256,
    o.issuer,
    sequence(time(from), time(until)),
    o.subject,
    o.publicKey.export({ type: 'spki', format: 'der' }),
    tagged(0xa3, sequence(...extensions(o))),
  );
  const signature = bits(sign('sha256', signed, o.signer));
  const body = sequence(signed, ECDSA_SHA256, signature).toString('base64');
  return `-----BEGIN CERTIFICATE-----\n${body.replace(/.{64}/g, '$&\n')}\n-----END CERTIFICATE-----\n`;
}

function extensions({ ca, hosts = [] }: Content): Buffer[] {
  const constraints = ca === true ? sequence(der(0x01, Buffer.from([0xff]))) : sequence();
  const names = hosts.map((host) =>
    isIPv4(host)
      ? der(0x87, Buffer.from(host.split('.').map(Number)))
      : der(0x82, Buffer.from(host, 'ascii')),
  );
  return [
    sequence(oid('2.5.29.19'), der(0x01, Buffer.from([0xff])), der(0x04, constraints)),
    ...(names.length === 0 ? [] : [sequence(oid('2.5.29.17'), der(0x04, sequence(...names)))]),
  ];
}

function distinguishedName(common: string, groups: readonly string[] = []): Buffer {
  const part = (type: string, value: string) => der(0x31, sequence(oid(type), der(0x0c, Buffer.from(value))));
  return sequence(...groups.map((group) => part('2.5.4.10', group)), part('2.5.4.3', common));
}

function pem(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }).toString();
}

function der(tag: number, content: Buffer): Buffer {
  const size = content.length;
  const length = size < 128 ? [size] : size < 256 ? [0x81, size] : [0x82, size >> 8, size & 255];
  return Buffer.concat([Buffer.from([tag, ...length]), content]);
}

function sequence(...parts: Buffer[]): Buffer {
  return der(0x30, Buffer.concat(parts));
}

function tagged(tag: number, content: Buffer): Buffer {
  return der(tag, content);
}

function bits(content: Buffer): Buffer {
  return der(0x03, Buffer.concat([Buffer.from([0]), content]));
}

function time(date: Date): Buffer {
  return der(0x18, Buffer.from(date.toISOString().replace(/[-:T]|\.\d+/g, ''), 'ascii'));
}

function oid(text: string): Buffer {
  const [first = 0, second = 0, ...rest] = text.split('.').map(Number);
  const groups = rest.flatMap((arc) => {
    const bytes = [arc & 127];
    for (let left = arc >> 7; left > 0; left >>= 7) bytes.unshift((left & 127) | 128);
    return bytes;
  });
  return der(0x06, Buffer.from([first * 40 + second, ...groups]));
}
