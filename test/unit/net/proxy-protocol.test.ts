import { SocketAddress } from 'node:net';
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import t from 'tap';
import { parseProxyHeader } from '../../../lib/net/proxy-protocol.js';
import { addressBlock, blockHeader, extension, families, lineHeader } from '../../helpers/proxy-headers.js';

const tcp4 = addressBlock([192, 0, 2, 7], 50_000);
const tcp6 = addressBlock([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9], 1);

/** Headers and the client that they name; null for the proxy itself. */
const good: readonly (readonly [string, Buffer, string | null])[] = [
  ['v1, TCP4', lineHeader('TCP4 192.0.2.7 198.51.100.1 50000 8883'), '192.0.2.7:50000'],
  ['v1, TCP6', lineHeader('TCP6 2001:db8::9 ::1 0 65535'), '2001:db8::9:0'],
  ['v1, TCP6 written at length', lineHeader('TCP6 2001:0DB8:0:0:0:0:0:0009 ::1 1 2'), '2001:db8::9:1'],
  ['v1, IPv4 within TCP6', lineHeader('TCP6 ::ffff:192.0.2.7 ::1 1 2'), '::ffff:192.0.2.7:1'],
  [
    'v1, the longest TCP6',
    lineHeader(`TCP6 ${'ffff:'.repeat(7)}ffff ${'ffff:'.repeat(7)}ffff 65535 65535`),
    `${'ffff:'.repeat(8)}65535`,
  ],
  ['v1, UNKNOWN', lineHeader('UNKNOWN'), null],
  ['v1, UNKNOWN with more', lineHeader('UNKNOWN ffff::1 what ever 1 2'), null],
  ['v1, UNKNOWN at the limit', lineHeader(`UNKNOWN ${'x'.repeat(91)}`), null],
  ['v2, TCP4', blockHeader({ block: tcp4 }), '192.0.2.7:50000'],
  ['v2, TCP6', blockHeader({ family: families.tcp6, block: tcp6 }), '2001:db8::9:1'],
  ['v2, LOCAL', blockHeader({ command: 0x20, family: families.unspecified }), null],
  ['v2, LOCAL with an address', blockHeader({ command: 0x20, block: tcp4 }), null],
  ['v2, LOCAL with a block that is too short', blockHeader({ command: 0x20, block: Buffer.from('abc') }), null],
  ['v2, unspecified', blockHeader({ family: families.unspecified, block: Buffer.alloc(5) }), null],
  ['v2, UDP', blockHeader({ family: families.udp4, block: tcp4 }), null],
  ['v2, UDP over IPv6', blockHeader({ family: families.udp6, block: tcp6 }), null],
  ['v2, Unix sockets', blockHeader({ family: families.unix, block: Buffer.alloc(216) }), null],
  [
    'v2, extensions',
    blockHeader({ block: Buffer.concat([tcp4, extension(3, Buffer.alloc(4)), extension(0xea, Buffer.alloc(1000))]) }),
    '192.0.2.7:50000',
  ],
  [
    'v2, broken extensions',
    blockHeader({ block: Buffer.concat([tcp4, Buffer.from([1, 255, 255])]) }),
    '192.0.2.7:50000',
  ],
  ['v2, the largest', blockHeader({ block: Buffer.concat([tcp4, Buffer.alloc(4084)]) }), '192.0.2.7:50000'],
];

const bad: readonly (readonly [string, Buffer])[] = [
  ['MQTT', Buffer.from('101000044d515454', 'hex')],
  ['TLS', Buffer.from('160301', 'hex')],
  ['HTTP', Buffer.from('GET / HTTP/1.1\r\n')],
  ['nothing in front', Buffer.from(' PROXY TCP4')],
  ['small letters', Buffer.from('proxy tcp4 1.1.1.1 1.1.1.1 1 1\r\n')],
  ['v1 without a family', Buffer.from('PROXY \r\n')],
  ['v1, unknown family', lineHeader('TCP5 1.1.1.1 1.1.1.1 1 1')],
  ['v1, family only', lineHeader('TCP4')],
  ['v1, IPv6 as TCP4', lineHeader('TCP4 ::1 ::1 1 1')],
  ['v1, IPv4 as TCP6', lineHeader('TCP6 1.1.1.1 1.1.1.1 1 1')],
  ['v1, one address only is right', lineHeader('TCP4 1.1.1.1 1.1.1.256 1 1')],
  ['v1, leading zero', lineHeader('TCP4 1.1.1.01 1.1.1.1 1 1')],
  ['v1, a zone', lineHeader('TCP6 fe80::1%eth0 ::1 1 1')],
  ['v1, port too large', lineHeader('TCP4 1.1.1.1 1.1.1.1 65536 1')],
  ['v1, port with a zero', lineHeader('TCP4 1.1.1.1 1.1.1.1 01 1')],
  ['v1, negative port', lineHeader('TCP4 1.1.1.1 1.1.1.1 -1 1')],
  ['v1, port in hexadecimal', lineHeader('TCP4 1.1.1.1 1.1.1.1 0x1 1')],
  ['v1, one port', lineHeader('TCP4 1.1.1.1 1.1.1.1 1')],
  ['v1, two blanks', lineHeader('TCP4  1.1.1.1 1.1.1.1 1 1')],
  ['v1, a tab', lineHeader('TCP4\t1.1.1.1 1.1.1.1 1 1')],
  ['v1, something behind', lineHeader('TCP4 1.1.1.1 1.1.1.1 1 1 x')],
  ['v1, a line feed within', Buffer.from('PROXY TCP4 1.1.1.1 1.1.1.1 1 1\n\r\n')],
  ['v1, a name', lineHeader('TCP4 localhost 1.1.1.1 1 1')],
  ['v1, UNKNOWN and more without a blank', lineHeader('UNKNOWNS')],
  ['v1, a line feed within UNKNOWN', Buffer.from('PROXY UNKNOWN \n1.1.1.1\r\n')],
  ['v1, one byte too long', lineHeader(`UNKNOWN ${'x'.repeat(92)}`)],
  ['v1, endless', Buffer.from(`PROXY UNKNOWN ${'x'.repeat(93)}`)],
  ['v1, ended too late', Buffer.from(`PROXY UNKNOWN ${'x'.repeat(92)}\r\nx`)],
  ['v2, version 1', blockHeader({ command: 0x11, block: tcp4 })],
  ['v2, version 3', blockHeader({ command: 0x31, block: tcp4 })],
  ['v2, unknown command', blockHeader({ command: 0x22, block: tcp4 })],
  ['v2, unknown family', blockHeader({ family: 0x41, block: tcp4 })],
  ['v2, family without a protocol', blockHeader({ family: 0x10, block: tcp4 })],
  ['v2, a name that all objects have', blockHeader({ family: 0xff, block: tcp4 })],
  ['v2, TCP4 too short', blockHeader({ block: tcp4.subarray(0, 11) })],
  ['v2, TCP4 without a block', blockHeader({})],
  ['v2, TCP6 too short', blockHeader({ family: families.tcp6, block: tcp6.subarray(0, 35) })],
  ['v2, too large', blockHeader({ length: 4097 })],
  ['v2, as large as can be told', blockHeader({ length: 65_535 })],
];

const problemOf = (bytes: Buffer): boolean => {
  const header = parseProxyHeader(bytes);
  return header !== null && 'problem' in header;
};

for (const [name, bytes, address] of good) {
  t.test(`a header is read, and not before it is whole: ${name}`, async (t) => {
    for (const rest of ['', 'x', '\r\n', 'PROXY UNKNOWN\r\n']) {
      t.same(parseProxyHeader(Buffer.concat([bytes, Buffer.from(rest)])), { length: bytes.length, address });
    }
    for (let end = 0; end < bytes.length; end++) {
      if (parseProxyHeader(bytes.subarray(0, end)) !== null) t.fail(`${end} bytes are not a header`);
    }
  });
}

t.test('what is no header is told as soon as that is known, and stays told', async (t) => {
  for (const [name, bytes] of bad) {
    t.ok(problemOf(bytes), name);
    let isTold = false;
    for (let end = 0; end <= bytes.length; end++) {
      const header = parseProxyHeader(bytes.subarray(0, end));
      if (header !== null && !('problem' in header)) t.fail(`${name}: ${end} bytes are a header`);
      if (isTold && header === null) t.fail(`${name}: ${end} bytes are good again`);
      isTold = header !== null;
    }
  }
});

/** The same decision for version 1, made by taking the line apart. */
function modelOfLine(bytes: Buffer): string | null | 'problem' | 'more' {
  const text = bytes.toString('latin1');
  const at = text.indexOf('\r\n');
  if (at < 0 || at > 105) return text.length < 107 ? 'more' : 'problem';
  const [word, family, ...fields] = text.slice(0, at).split(' ');
  if (word !== 'PROXY') return 'problem';
  if (family === 'UNKNOWN') return /[\r\n]/.test(text.slice(0, at)) ? 'problem' : null;
  if (fields.length !== 4 || (family !== 'TCP4' && family !== 'TCP6')) return 'problem';
  const [source, destination, ...ports] = fields;
  if (!ports.every((port) => String(Number(port)) === port && /^\d+$/.test(port) && Number(port) < 65_536))
    return 'problem';
  const read = (address: string): string | null => {
    if (/[^\da-f:.]/i.test(address)) return null;
    try {
      return new SocketAddress({ address, family: family === 'TCP4' ? 'ipv4' : 'ipv6' }).address;
    } catch {
      return null;
    }
  };
  const client = read(source);
  return client === null || read(destination) === null ? 'problem' : `${client}:${ports[0]}`;
}

function outcomeOf(bytes: Buffer): string | null | 'problem' | 'more' {
  const header = parseProxyHeader(bytes);
  if (header === null) return 'more';
  return 'problem' in header ? 'problem' : header.address;
}

const port = fc.integer({ min: -1, max: 66_000 });
const address = fc.oneof(fc.ipV4(), fc.ipV6(), fc.constantFrom('', '1.1.1', '::g', '::1%a', '01.1.1.1'));
const line = fc
  .tuple(fc.constantFrom('TCP4', 'TCP4', 'TCP6', 'TCP6', 'UNKNOWN', 'TCP', ''), address, address, port, port)
  .map((fields) => Buffer.from(`PROXY ${fields.join(' ')}\r\n`));

t.test('headers of version 1 are judged as by taking the line apart', async (t) => {
  const change = fc.record({ at: fc.nat(110), byte: fc.integer({ min: 0, max: 255 }), cut: fc.nat(200) });
  const property = fc.property(line, fc.option(change), (bytes, changed) => {
    const given = Buffer.from(changed === null ? bytes : bytes.subarray(0, changed.cut));
    if (changed !== null && changed.at >= 6 && changed.at < given.length) given[changed.at] = changed.byte;
    return given.length < 6 || outcomeOf(given) === modelOfLine(given);
  });
  fc.assert(property, { numRuns: 3000 });
  t.pass();
});

t.test('headers of version 2 name the address that was put into them', async (t) => {
  const byte = fc.integer({ min: 0, max: 255 });
  const source = fc.oneof(
    fc.array(byte, { minLength: 4, maxLength: 4 }),
    fc.array(byte, { minLength: 16, maxLength: 16 }),
  );
  const more = fc.uint8Array({ maxLength: 300 });
  const property = fc.property(source, fc.integer({ min: 0, max: 65_535 }), more, (bytes, port, rest) => {
    const isV4 = bytes.length === 4;
    const block = addressBlock(bytes, port, Buffer.from(rest));
    const header = blockHeader({ family: isV4 ? families.tcp4 : families.tcp6, block });
    const words = Array.from({ length: 8 }, (_, at) => ((bytes[2 * at] << 8) | bytes[2 * at + 1]).toString(16));
    const written = isV4 ? bytes.join('.') : new SocketAddress({ address: words.join(':'), family: 'ipv6' }).address;
    return isDeepStrictEqual(parseProxyHeader(header), { length: header.length, address: `${written}:${port}` });
  });
  fc.assert(property, { numRuns: 500 });
  t.pass();
});

t.test('whatever bytes come, nothing is thrown, and no header is longer than its bound', async (t) => {
  const start = fc.constantFrom(Buffer.alloc(0), Buffer.from('PROXY '), blockHeader({}).subarray(0, 12));
  const property = fc.property(start, fc.uint8Array({ maxLength: 5000 }), (first, rest) => {
    const bytes = Buffer.concat([first, rest]);
    const header = parseProxyHeader(bytes);
    if (header === null) return bytes.length < 16 + 4096;
    return 'problem' in header || (header.length <= bytes.length && header.length <= 16 + 4096);
  });
  fc.assert(property, { numRuns: 3000 });
  t.pass();
});
