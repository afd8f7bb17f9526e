import t from 'tap';
import { ProtocolError } from '../../../lib/base/errors.js';
import { ConnectError, decodeConnect } from '../../../lib/codec/connect.js';
import { bytes, field, packet, properties, userProperty } from './bytes.js';
import { describe, describeStream, refusal } from './describe-packet.js';

const begin31 = bytes(field('MQIsdp'), 3);

t.test('MQTT 3.1 tolerates what its text leaves unused', async (t) => {
  for (const [title, whole] of [
    ['the reserved connect flag', packet(0x10, begin31, 0x03, '003c', field('c'))],
    ['unused header bits of CONNECT', packet(0x1f, begin31, 0x02, '003c', field('c'))],
    ['unused header bits of PUBACK', packet(0x4b, '0001')],
    ['PUBREL with DUP', packet(0x6a, '0001')],
    ['SUBSCRIBE with DUP', packet(0x8a, '0001', field('a'), 0)],
    ['UNSUBSCRIBE with DUP', packet(0xaa, '0001', field('a'))],
    ['unused header bits of PINGREQ', packet(0xc8)],
    ['unused header bits of DISCONNECT', packet(0xe1)],
    ['DUP at QoS 0', packet(0x38, field('a'))],
    ['SUBSCRIBE without filter', packet(0x82, '0001')],
    ['UNSUBSCRIBE without filter', packet(0xa2, '0001')],
  ] as [string, Buffer][]) {
    t.equal(refusal(whole, 3), null, title);
  }
});

t.test('MQTT 3.1: the remaining length decides about user name and password', async (t) => {
  const neither = describe(packet(0x10, begin31, 0xc2, '003c', field('c')), 3);
  t.strictSame([neither.userName, neither.password], [null, null]);
  const one = describe(packet(0x10, begin31, 0xc2, '003c', field('c'), field('u')), 3);
  t.strictSame([one.userName, one.password], ['u', null]);
});

t.test('MQTT 3.1: only the QoS of the SUBSCRIBE options counts', async (t) => {
  const { subscriptions } = describe(packet(0x82, '0001', field('a'), 0xfd), 3);
  t.strictSame(subscriptions, [
    { topicFilter: 'a', qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0 },
  ]);
});

t.test('a refused CONNECT tells in which format it may be answered', async (t) => {
  for (const [whole, reasonCode, version] of [
    [packet(0x10, field('MQTX'), 5, 2, '003c 00', field('c')), 0x84, 0],
    [packet(0x10, field('HTTP')), 0x84, 0],
    [packet(0x10, '00'), 0x81, 0],
    [packet(0x10, field('MQTT')), 0x81, 0],
    [packet(0x10, '0009 4d51'), 0x81, 0],
    [packet(0x10, field('MQTT'), 6, 2), 0x84, 5],
    [packet(0x10, field('MQTT'), 0x85, 2), 0x84, 5],
    [packet(0x10, field('MQTT'), 3, 2), 0x84, 4],
    [packet(0x10, field('MQTT'), 0, 2), 0x84, 4],
    [packet(0x10, field('MQIsdp'), 4, 2), 0x84, 3],
    [packet(0x10, field('MQTT'), 5), 0x81, 5],
    [packet(0x11, field('MQTT'), 5, 2, '003c 00', field('c')), 0x81, 5],
    [packet(0x10, field('MQTT'), 5, 2, '003c 06 21 0001 21 0001', field('c')), 0x82, 5],
    [packet(0x10, field('MQTT'), 4, 1), 0x81, 4],
    [packet(0x10, field('MQIsdp'), 3, 0x42, '003c', field('c'), field('p')), 0x81, 3],
  ] as [Buffer, number, number][]) {
    try {
      decodeConnect(whole, 0, 2, whole.length);
      t.fail(whole.toString('hex'));
    } catch (error) {
      t.ok(error instanceof ConnectError && error instanceof ProtocolError);
      t.match(error, { reasonCode, version }, whole.toString('hex'));
    }
  }
});

t.test('what a CONNECT gives does not change with the bytes it came in', async (t) => {
  const will = [field('c'), '05 09 0002 6363', field('w'), field('payload')];
  const whole = packet(0x10, field('MQTT'), 5, 0xc6, '003c 00', ...will, field('u'), field('password'));
  const connect = decodeConnect(whole, 0, 2, whole.length);
  whole.fill(0xee);
  t.equal(connect.password?.toString(), 'password');
  t.equal(connect.will?.payload.toString(), 'payload');
  t.equal(connect.will?.properties.toString('hex'), '0900026363');
});

t.test('only names that begin with the whole word ask for receipts', async (t) => {
  // the value's length begins with the byte of a "t"
  for (const [name, value] of [
    ['receip', 'x'.repeat(0x7400)],
    ['receipx', ''],
    ['eceipt', ''],
    ['xreceipt', ''],
  ]) {
    const found = describe(packet(0x30, field('a'), properties(userProperty(name, value))), 5);
    t.strictSame([found.hasUserProperties, found.hasReceiptProperty], [true, false], name);
  }
});

t.test('a reused view keeps nothing of the packet before', async (t) => {
  const full = packet(
    0x35,
    field('t'),
    '0001',
    properties('0101 0200000001 030000 08000172 090000 230001 2600000000'),
    'ff',
  );
  const plain = packet(0x30, field('u'), 0);
  const alone = describeStream([plain], 5);
  t.strictSame(describeStream([full, plain], 5).slice(1), alone);
  const explained = packet(0x40, '0001 10 04 1f 0001 61');
  const short = packet(0x40, '0002');
  t.strictSame(describeStream([explained, short], 5).slice(1), describeStream([short], 5));
});
