import { z } from 'zod';
import { uint16Max } from '../spec/limits.js';
import { isTopicName } from '../topic/names.js';
import { parseNetwork } from './networks.js';

/** Longest path of a Unix socket, in bytes, that the kernel takes. */
const socketPathMax = 107;

/** Longest mount point, in bytes. */
const mountPointMax = 1024;

/** Where not given. */
export const defaultWebSocketPath = '/mqtt';

const file = () => z.string().min(1).optional();

/** One place to listen at, and what is spoken there. Part of `optionsSchema`. */
export const listenerSchema = z
  .strictObject({
    type: z
      .enum(['tcp', 'tls', 'ws', 'wss', 'unix'])
      .describe('What is spoken: MQTT over TCP, TLS, WebSocket or both, or over a Unix socket.'),
    host: z.string().min(1).default('127.0.0.1').describe('Address or host name to listen on.'),
    port: z
      .int()
      .min(0)
      .max(uint16Max)
      .optional()
      .describe('TCP port to listen on; 0 takes a free one. Needed by all types but unix.'),
    path: z
      .string()
      .min(1)
      .optional()
      .describe(`Path of WebSockets, ${defaultWebSocketPath} where not given; of type unix the socket's file.`),
    // YAML reads 0660 as the number 660.
    mode: z
      .literal(['0600', '0660', '0666', 600, 660, 666])
      .optional()
      .describe(
        'Who may open the socket of type unix: its owner (0600, where not given), the group too, or everybody.',
      ),
    allowedOrigins: z
      .array(z.string().min(1))
      .optional()
      .describe(
        'Origins of web pages that may open a WebSocket, such as https://app.example; where not given all, or, while ' +
          'nothing checks who connects, those of this machine.',
      ),
    allowAnonymous: z
      .boolean()
      .optional()
      .describe('Whether to listen on an address that is not loopback though nothing checks who connects.'),
    mountPoint: z
      .string()
      .refine(isMountPoint, 'a topic prefix of up to 1024 bytes without wildcards, not beginning with $, ends with /')
      .optional()
      .describe('Prefix of all topics of clients of this listener, such as plant-a/, which they do not see.'),
    maximumConnections: z
      .int()
      .min(1)
      .optional()
      .describe('How many connections this listener may have open; more are refused. Those of all count together too.'),
    proxyProtocol: z
      .boolean()
      .optional()
      .describe('Whether each connection begins with a header of the PROXY protocol, version 1 or 2.'),
    trustedProxies: z
      .array(z.string().refine((text) => parseNetwork(text) !== null, 'an address, or a network such as 10.0.0.0/8'))
      .min(1)
      .optional()
      .describe('Addresses and networks that proxies connect from, such as 10.0.0.0/8; others are refused.'),
    certificateFile: file().describe('PEM file with the certificate chain of tls or wss.'),
    keyFile: file().describe('PEM file with the private key of tls or wss.'),
    minimumTlsVersion: z
      .enum(['TLSv1.2', 'TLSv1.3'])
      .optional()
      .describe('Lowest version of tls or wss that is spoken; TLSv1.2 where not given.'),
    clientCertificates: z
      .enum(['none', 'optional', 'required'])
      .optional()
      .describe('Whether clients of tls or wss are asked for a certificate, and may go without; none where not given.'),
    caFile: file().describe("PEM file with the authorities that clients' certificates are verified by."),
    crlFile: file().describe('PEM file with the revocation lists of these authorities, one of each.'),
    userFromCertificate: z
      .enum(['none', 'commonName', 'subject'])
      .optional()
      .describe(
        "What of a client's certificate is its user name, in place of user name and password; none where not given.",
      ),
  })
  .superRefine((listener, context) => {
    const wrong: Wrong = (key, message) =>
      context.addIssue({ code: 'custom', path: [key], message, input: listener[key as keyof typeof listener] });
    if (listener.type === 'unix') checkSocket(listener, wrong);
    else checkPort(listener, wrong);
    checkProxy(listener, wrong);
    checkTls(listener, wrong);
  });

/** True if every client has shown a certificate that says who it is: one that is merely valid says that of nobody. */
export function knowsUsers(listener: Pick<TlsKeys, 'clientCertificates' | 'userFromCertificate'>): boolean {
  const { clientCertificates = 'none', userFromCertificate = 'none' } = listener;
  return clientCertificates === 'required' && userFromCertificate !== 'none';
}

/** True for a prefix that makes a topic name of any topic name, and a filter of any filter. */
function isMountPoint(prefix: string): boolean {
  const isName = isTopicName(prefix) && Buffer.from(prefix).toString() === prefix;
  return isName && Buffer.byteLength(prefix) <= mountPointMax && prefix.endsWith('/') && !prefix.startsWith('$');
}

/** Tells that a key has a wrong value. */
export type Wrong = (key: string, message: string) => void;

interface Place {
  readonly type: string;
  readonly port?: number | undefined;
  readonly path?: string | undefined;
  readonly mode?: string | number | undefined;
}

function checkSocket({ port, path }: Place, wrong: Wrong): void {
  if (port !== undefined) wrong('port', 'a Unix socket has a path and no port');
  if (path === undefined) wrong('path', 'listeners of type unix need the path of their socket');
  else checkSocketPath('path', path, wrong);
}

/** The kernel would take a longer path for the first part of it. */
export function checkSocketPath(key: string, path: string, wrong: Wrong): void {
  if (path.includes('\0')) wrong(key, 'it must name a file');
  else if (Buffer.byteLength(path) > socketPathMax) wrong(key, `a socket's path has at most ${socketPathMax} bytes`);
}

function checkPort({ type, port, path, mode }: Place, wrong: Wrong): void {
  if (port === undefined) wrong('port', `listeners of type ${type} need one`);
  if (path?.startsWith('/') === false) wrong('path', 'the path of WebSockets begins with /');
  if (mode !== undefined) wrong('mode', 'it is for listeners of type unix');
}

interface ProxyKeys {
  readonly type: string;
  readonly proxyProtocol?: boolean | undefined;
  readonly trustedProxies?: readonly string[] | undefined;
}

function checkProxy({ type, proxyProtocol, trustedProxies }: ProxyKeys, wrong: Wrong): void {
  if (trustedProxies === undefined) return;
  if (type === 'unix') wrong('trustedProxies', 'who connects to a Unix socket has no address: see mode');
  if (proxyProtocol !== true) wrong('trustedProxies', 'it has no effect without proxyProtocol: true');
}

interface TlsKeys {
  readonly type: string;
  readonly certificateFile?: string | undefined;
  readonly keyFile?: string | undefined;
  readonly minimumTlsVersion?: string | undefined;
  readonly clientCertificates?: string | undefined;
  readonly caFile?: string | undefined;
  readonly crlFile?: string | undefined;
  readonly userFromCertificate?: string | undefined;
}

const tlsKeys = ['certificateFile', 'keyFile', 'minimumTlsVersion', 'clientCertificates'] as const;
const clientKeys = ['caFile', 'crlFile', 'userFromCertificate'] as const;

function checkTls(listener: TlsKeys, wrong: Wrong): void {
  const { type, clientCertificates = 'none' } = listener;
  const isTls = type === 'tls' || type === 'wss';
  for (const key of isTls ? [] : [...tlsKeys, ...clientKeys]) {
    // Whoever writes it believes that the listener speaks TLS.
    if (listener[key] !== undefined) wrong(key, 'it is for listeners of type tls and wss');
  }
  for (const key of isTls ? (['certificateFile', 'keyFile'] as const) : []) {
    if (listener[key] === undefined) wrong(key, `listeners of type ${type} need one`);
  }
  if (isTls && clientCertificates !== 'none' && listener.caFile === undefined) {
    wrong('caFile', "clients' certificates need authorities to be verified by");
  }
  for (const key of isTls && clientCertificates === 'none' ? clientKeys : []) {
    if (listener[key] !== undefined && listener[key] !== 'none') {
      wrong(key, 'it has no effect without clientCertificates: required or optional');
    }
  }
}
