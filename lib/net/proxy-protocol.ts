import { isIPv4, isIPv6, SocketAddress } from 'node:net';

/** What a header says that a proxy has put before a connection's own bytes. */
export interface ProxyHeader {
  /** Its bytes; what follows is the client's. */
  readonly length: number;
  /** `HOST:PORT` of the client; null where none is told, as of connections that are the proxy's own. */
  readonly address: string | null;
}

/** Longest line of version 1, in bytes, with its end. */
const lineMax = 107;
/** Most bytes behind the fixed part of version 2, that is addresses and what proxies add about the client's TLS. */
const blockMax = 4096;

const lineStart = Buffer.from('PROXY ');
const signature = Buffer.from('\r\n\r\n\0\r\nQUIT\n');
const fixedLength = 16;

/** Address families and protocols of version 2 that there are, and the bytes of both addresses where these are read. */
const addressBlocks: Readonly<Record<number, number>> = {
  0: 0,
  17: 12,
  18: 0,
  33: 36,
  34: 0,
  49: 0,
  50: 0,
};
const tcp4 = 0x11;

/**
 * Reads a header of the PROXY protocol, version 1 or 2.
 *
 *     PROXY TCP4 192.0.2.7 198.51.100.1 50000 8883\r\n
 *     signature (12 bytes) | version, command | family, protocol | length (2) | addresses | extensions, not looked at
 *
 * @param bytes all that have come so far
 * @returns null while the header is not whole; `problem` if it can not become one
 * @see https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt §2
 */
export function parseProxyHeader(bytes: Buffer): ProxyHeader | { readonly problem: string } | null {
  if (startsLike(bytes, lineStart)) return parseLine(bytes);
  if (startsLike(bytes, signature)) return parseBlock(bytes);
  return { problem: 'the first bytes are no header of the PROXY protocol' };
}

/** True if the bytes begin so, as far as they have come. */
function startsLike(bytes: Buffer, start: Buffer): boolean {
  const length = Math.min(bytes.length, start.length);
  return bytes.compare(start, 0, length, 0, length) === 0;
}

function parseLine(bytes: Buffer): ProxyHeader | { readonly problem: string } | null {
  const end = bytes.subarray(0, lineMax).indexOf('\r\n');
  if (end < 0) {
    const isTooLong = bytes.length >= lineMax;
    return isTooLong ? { problem: `a PROXY header of version 1 has at most ${lineMax} bytes` } : null;
  }
  const length = end + 2;
  const line = bytes.toString('latin1', 0, end);
  if (/^PROXY UNKNOWN(?: [^\r\n]*)?$/.test(line)) return { length, address: null };
  const [, family, source = '', destination = '', sourcePort, destinationPort] =
    /^PROXY TCP([46]) ([\da-fA-F.:]+) ([\da-fA-F.:]+) (0|[1-9]\d{0,4}) (0|[1-9]\d{0,4})$/.exec(line) ?? [];
  const isAddress = family === '4' ? isIPv4 : isIPv6;
  const ports = [Number(sourcePort), Number(destinationPort)];
  if (!isAddress(source) || !isAddress(destination) || !ports.every((port) => port <= 65_535)) {
    return { problem: 'a PROXY header of version 1 that is not well-formed' };
  }
  return { length, address: `${canonical(source, family === '4')}:${ports[0]}` };
}

function parseBlock(bytes: Buffer): ProxyHeader | { readonly problem: string } | null {
  const problem = { problem: 'a PROXY header of version 2 that is not well-formed' };
  // Version 2 in the upper half; command LOCAL (0) or PROXY (1) in the lower.
  if (bytes.length > 12 && bytes[12] !== 0x20 && bytes[12] !== 0x21) return problem;
  if (bytes.length > 13 && !Object.hasOwn(addressBlocks, bytes[13])) return problem;
  if (bytes.length < fixedLength) return null;
  const size = bytes.readUInt16BE(14);
  const isProxied = bytes[12] === 0x21;
  const needed = isProxied ? addressBlocks[bytes[13]] : 0;
  if (size < needed) return problem;
  if (size > blockMax) return { problem: `a PROXY header of version 2 has at most ${blockMax} bytes of addresses` };
  const length = fixedLength + size;
  if (bytes.length < length) return null;
  return { length, address: needed === 0 ? null : readSource(bytes, bytes[13] === tcp4) };
}

/** The client's address and port in the addresses of version 2. */
function readSource(bytes: Buffer, isV4: boolean): string {
  const end = fixedLength + (isV4 ? 4 : 16);
  const port = bytes.readUInt16BE(isV4 ? fixedLength + 8 : fixedLength + 32);
  const source = bytes.subarray(fixedLength, end);
  if (isV4) return `${source.join('.')}:${port}`;
  const groups = Array.from({ length: 8 }, (_, at) => source.readUInt16BE(2 * at).toString(16));
  return `${canonical(groups.join(':'), false)}:${port}`;
}

/** The one way in which the system writes an address, whatever way the proxy did. */
function canonical(address: string, isV4: boolean): string {
  return new SocketAddress({ address, family: isV4 ? 'ipv4' : 'ipv6' }).address;
}
