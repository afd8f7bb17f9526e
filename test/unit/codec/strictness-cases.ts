import type { ProtocolVersion } from '../../../lib/spec/packet-types.js';
import { badStrings, bytes, field, type Part, packet, properties, userProperty } from './bytes.js';

/** A packet that must be refused. */
export interface StrictnessCase {
  readonly title: string;
  readonly version: ProtocolVersion;
  readonly bytes: Buffer;
  readonly reasonCode: number;
}

const refused = (title: string, reasonCode: number, bytes: Buffer, version: ProtocolVersion = 5): StrictnessCase => ({
  title,
  version,
  bytes,
  reasonCode,
});

/** A PUBLISH at QoS 0 with these properties. */
const publish = (...block: Part[]) => packet(0x30, field('a'), properties(...block), 'ff');
const puback = (...block: Part[]) => packet(0x40, '0001 00', properties(...block));
const connect = (flags: number, propertyBlock: Buffer, ...payload: Part[]) =>
  packet(0x10, field('MQTT'), 5, flags, '003c', propertyBlock, ...payload);
/** A CONNECT with these properties. */
const connectWith = (...block: Part[]) => connect(2, properties(...block), field('c'));
/** A CONNECT whose will has these properties. */
const willWith = (...block: Part[]) => connect(6, bytes(0), field('c'), properties(...block), field('w'), field('p'));
const willTopic = (topic: string | Buffer) => connect(6, bytes(0), field('c'), 0, field(topic), field('p'));
const subscribe = (block: Buffer, ...payload: Part[]) => packet(0x82, '0001', block, ...payload);
const none = bytes(0);

const framing: StrictnessCase[] = [
  refused('packet type 0', 0x81, bytes('00 00')),
  refused('[MQTT-1.5.5-1] a padded remaining length', 0x81, bytes('c0 80 00')),
  refused('[MQTT-1.5.5-1] a padded property length', 0x81, packet(0x30, field('a'), '80 00', 'ff')),
  refused('[MQTT-1.5.5-1] a property length of five bytes', 0x81, packet(0x30, field('a'), '80 80 80 80 01', 'ff')),
  refused('[MQTT-2.2.2-1] PUBLISH without property length', 0x81, packet(0x30, field('a'))),
  refused('[MQTT-2.2.2-1] SUBSCRIBE without property length', 0x81, packet(0x82, '0001')),
  refused('PUBLISH with properties longer than the packet', 0x81, packet(0x30, field('a'), '02 01')),
  refused('PUBLISH with a topic longer than the packet', 0x81, packet(0x30, '0005 61')),
  refused('PUBLISH cut off in the topic length', 0x81, packet(0x30, '00')),
  refused('PUBLISH cut off in the packet identifier', 0x81, packet(0x32, field('a'), '00')),
  refused('PUBLISH without a body', 0x81, packet(0x30)),
  refused('PUBACK without a body', 0x81, packet(0x40)),
  refused('PUBACK with half an identifier', 0x81, packet(0x40, '01')),
  refused('PUBACK whose properties end early', 0x81, packet(0x40, '0001 00 00 00')),
  refused('PUBACK with a property behind its properties', 0x81, packet(0x40, '0001 00 00', 0x1f, field('a'))),
  refused('PUBACK whose properties are too long', 0x81, packet(0x40, '0001 00 02 26')),
  refused(
    'DISCONNECT whose properties lie behind the packet',
    0x81,
    bytes(packet(0xe0, 0, 0x0a), '11 00000000 11 00000000'),
  ),
  refused('PINGREQ with a body', 0x81, packet(0xc0, '00')),
  refused('DISCONNECT with bytes behind its properties', 0x81, packet(0xe0, '00 00 00')),
  refused('AUTH with bytes behind its properties', 0x81, packet(0xf0, 0x18, properties(0x15, field('m')), 0)),
  refused('SUBSCRIBE cut off before the options', 0x81, subscribe(none, field('a'))),
  refused('UNSUBSCRIBE cut off in a filter', 0x81, packet(0xa2, '0001 00 0002 61')),
];

const reservedFlags: StrictnessCase[] = [];
for (const [name, first, body] of [
  ['CONNECT', 0x10, bytes(field('MQTT'), 5, 2, '003c', 0, field('c'))],
  ['PUBACK', 0x40, bytes('0001')],
  ['PUBREC', 0x50, bytes('0001')],
  ['[MQTT-3.6.1-1] PUBREL', 0x62, bytes('0001')],
  ['PUBCOMP', 0x70, bytes('0001')],
  ['[MQTT-3.8.1-1] SUBSCRIBE', 0x82, bytes('0001 00', field('a'), 0)],
  ['[MQTT-3.10.1-1] UNSUBSCRIBE', 0xa2, bytes('0001 00', field('a'))],
  ['PINGREQ', 0xc0, bytes()],
  ['[MQTT-3.14.1-1] DISCONNECT', 0xe0, bytes()],
  ['[MQTT-3.15.1-1] AUTH', 0xf0, bytes(0x18, properties(0x15, field('m')))],
] as [string, number, Buffer][]) {
  for (let flags = 0; flags < 16; flags++) {
    const other = (first & 0xf0) | flags;
    if (other === first) continue;
    reservedFlags.push(refused(`[MQTT-2.1.3-1] ${name} with flags ${flags}`, 0x81, packet(other, body)));
  }
}

const publishes: StrictnessCase[] = [
  refused('[MQTT-3.3.1-4] PUBLISH with QoS 3', 0x81, packet(0x36, field('a'), '0001 00')),
  refused('[MQTT-3.3.1-2] PUBLISH with DUP at QoS 0', 0x81, packet(0x38, field('a'), 0)),
  refused('[MQTT-2.2.1-3] PUBLISH with packet identifier 0', 0x82, packet(0x32, field('a'), '0000 00')),
  refused('[MQTT-4.7.3-1] PUBLISH with neither topic nor alias', 0x82, packet(0x30, field(''), 0)),
  refused('[MQTT-3.3.2-2] PUBLISH to a/+', 0x81, packet(0x30, field('a/+'), 0)),
  refused('[MQTT-3.3.2-2] PUBLISH to #', 0x81, packet(0x30, field('#'), 0)),
  refused('[MQTT-3.3.2-8] PUBLISH with Topic Alias 0', 0x94, publish('23 0000')),
  refused('[MQTT-3.3.4-6] PUBLISH with Subscription Identifier', 0x82, publish('0b 01')),
  refused('PUBLISH with Payload Format Indicator 2', 0x82, publish('01 02')),
  refused('[MQTT-3.3.2-14] PUBLISH with # in the Response Topic', 0x82, publish(8, field('a/#'))),
  refused('[MQTT-3.3.2-14] PUBLISH with + in the Response Topic', 0x82, publish(8, field('+'))),
  refused('PUBLISH with an empty Response Topic', 0x82, publish(8, field(''))),
  refused('PUBLISH with an unknown property', 0x81, publish('04 00')),
  refused('PUBLISH with property 0', 0x81, publish('00')),
  refused('PUBLISH with a property identifier of two bytes', 0x81, publish('81 01 00')),
  refused('PUBLISH with a foreign property', 0x81, publish('21 0001')),
  refused('PUBLISH with a Reason String', 0x81, publish(0x1f, field('x'))),
  refused('PUBLISH with half a User Property', 0x81, publish(0x26, field('x'))),
  refused('PUBLISH with a User Property that runs into the payload', 0x81, publish(0x26, field('x'), '0001')),
  refused('PUBLISH with a cut off Payload Format Indicator', 0x81, publish('01')),
  refused('PUBLISH with a cut off Message Expiry Interval', 0x81, publish('02 000000')),
  refused('PUBLISH with a cut off Topic Alias', 0x81, publish('23 00')),
  refused('PUBLISH with cut off Correlation Data', 0x81, publish('09 0002 00')),
];
for (const [name, once] of [
  ['Payload Format Indicator', bytes('01 00')],
  ['Message Expiry Interval', bytes('02 00000000')],
  ['Topic Alias', bytes('23 0001')],
  ['Content Type', bytes('03 0000')],
  ['Response Topic', bytes(8, field('r'))],
  ['Correlation Data', bytes('09 0000')],
] as [string, Buffer][]) {
  publishes.push(refused(`PUBLISH with ${name} twice`, 0x82, publish(once, userProperty('a', 'b'), once)));
  publishes.push(refused(`CONNECT with ${name}`, 0x81, connectWith(once)));
  if (name !== 'Topic Alias') publishes.push(refused(`a will with ${name} twice`, 0x82, willWith(once, once)));
  publishes.push(refused(`SUBSCRIBE with ${name}`, 0x81, subscribe(properties(once), field('a'), 0)));
}

const acks: StrictnessCase[] = [];
for (const [name, first, codes] of [
  ['[MQTT-3.4.2-1] PUBACK', 0x40, [0x01, 0x04, 0x81, 0x92, 0xff]],
  ['[MQTT-3.5.2-1] PUBREC', 0x50, [0x01, 0x04, 0x81, 0x92, 0xff]],
  ['[MQTT-3.6.2-1] PUBREL', 0x62, [0x01, 0x10, 0x80, 0x87, 0xff]],
  ['[MQTT-3.7.2-1] PUBCOMP', 0x70, [0x01, 0x10, 0x80, 0x87, 0xff]],
] as [string, number, number[]][]) {
  for (const code of codes) acks.push(refused(`${name} with reason code ${code}`, 0x82, packet(first, '0001', code)));
  acks.push(refused(`[MQTT-2.2.1-3] ${name} with packet identifier 0`, 0x82, packet(first, '0000')));
}
acks.push(
  refused('PUBACK with Reason String twice', 0x82, puback(0x1f, field(''), 0x1f, field('b'))),
  refused('PUBACK with a foreign property', 0x81, puback('23 0001')),
  refused('PUBACK with an unknown property', 0x81, puback('7f')),
);

const connects: StrictnessCase[] = [
  refused('[MQTT-3.1.2-1] protocol name mqtt', 0x84, packet(0x10, field('mqtt'), 5, 2, '003c 00', field('c'))),
  refused('[MQTT-3.1.2-1] an empty protocol name', 0x84, packet(0x10, field(''), 5, 2, '003c 00', field('c'))),
  refused('[MQTT-3.1.2-2] MQIsdp level 5', 0x84, packet(0x10, field('MQIsdp'), 5, 2, '003c 00', field('c'))),
  refused('[MQTT-3.1.2-2] MQIsdp level 4', 0x84, packet(0x10, field('MQIsdp'), 4, 2, '003c', field('c'))),
  refused('[MQTT-3.1.2-2] MQTT level 3', 0x84, packet(0x10, field('MQTT'), 3, 2, '003c', field('c'))),
  refused('[MQTT-3.1.2-2] MQTT level 0', 0x84, packet(0x10, field('MQTT'), 0, 2, '003c', field('c'))),
  refused('[MQTT-3.1.2-2] MQTT level 6', 0x84, packet(0x10, field('MQTT'), 6, 2, '003c 00', field('c'))),
  refused(
    '[MQTT-3.1.2-2] MQTT level 5 with bridge bit',
    0x84,
    packet(0x10, field('MQTT'), 0x85, 2, '003c 00', field('c')),
  ),
  refused('[MQTT-3.1.2-3] the reserved connect flag', 0x81, connect(3, none, field('c'))),
  refused('[MQTT-3.1.2-12] Will QoS 3', 0x81, connect(0x1e, none, field('c'), 0, field('w'), field('p'))),
  refused('[MQTT-3.1.2-11] Will QoS without will', 0x81, connect(0x0a, none, field('c'))),
  refused('[MQTT-3.1.2-11] Will QoS 3 without will', 0x81, connect(0x1a, none, field('c'))),
  refused('[MQTT-3.1.2-13] Will Retain without will', 0x81, connect(0x22, none, field('c'))),
  refused('[MQTT-3.1.2-9] a will flag without will', 0x81, connect(6, none, field('c'))),
  refused('[MQTT-3.1.2-9] a will without payload', 0x81, connect(6, none, field('c'), 0, field('w'))),
  refused('[MQTT-3.1.2-16] a user name without its flag', 0x81, connect(2, none, field('c'), field('u'))),
  refused('[MQTT-3.1.2-17] a user name flag without the field', 0x81, connect(0x82, none, field('c'))),
  refused('[MQTT-3.1.2-18] a password without its flag', 0x81, connect(0x82, none, field('c'), field('u'), field('p'))),
  refused('[MQTT-3.1.2-19] a password flag without the field', 0x81, connect(0xc2, none, field('c'), field('u'))),
  refused('[MQTT-3.1.3-3] CONNECT without client id', 0x81, connect(2, none)),
  refused('CONNECT without properties', 0x81, packet(0x10, field('MQTT'), 5, 2, '003c')),
  refused('CONNECT cut off in the keep alive', 0x81, packet(0x10, field('MQTT'), 5, 2, '00')),
  refused('Receive Maximum 0', 0x82, connectWith('21 0000')),
  refused('Maximum Packet Size 0', 0x82, connectWith('27 00000000')),
  refused('Request Response Information 2', 0x82, connectWith('19 02')),
  refused('Request Problem Information 2', 0x82, connectWith('17 02')),
  refused('Authentication Data without Authentication Method', 0x82, connectWith('16 0001 00')),
  refused('CONNECT with an unknown property', 0x81, connectWith('7e')),
  refused('CONNECT with a will property', 0x81, connectWith('18 00000000')),
  refused('CONNECT with a property of CONNACK', 0x81, connectWith('24 00')),
  refused('CONNECT with a property that is cut off', 0x81, connectWith('11 000000')),
  refused('a will with a property of CONNECT', 0x81, willWith('11 00000000')),
  refused('a will with Topic Alias', 0x81, willWith('23 0001')),
  refused('a will with Payload Format Indicator 2', 0x82, willWith('01 02')),
  refused('a will with Will Delay Interval twice', 0x82, willWith('18 00000000 18 00000000')),
  refused('[MQTT-3.3.2-14] a will with a wildcard Response Topic', 0x82, willWith(8, field('+'))),
  refused('a will with an empty Response Topic', 0x82, willWith(8, field(''))),
  refused('[MQTT-4.7.0-1] a will topic with +', 0x90, willTopic('a/+')),
  refused('[MQTT-4.7.0-1] a will topic with #', 0x90, willTopic('#')),
  refused('[MQTT-4.7.3-1] an empty will topic', 0x90, willTopic('')),
];
for (const [name, once] of [
  ['Session Expiry Interval', '11 00000000'],
  ['Receive Maximum', '21 0001'],
  ['Maximum Packet Size', '27 00000001'],
  ['Topic Alias Maximum', '22 0000'],
  ['Request Response Information', '19 00'],
  ['Request Problem Information', '17 00'],
  ['Authentication Method', '15 0000'],
] as [string, string][]) {
  connects.push(refused(`CONNECT with ${name} twice`, 0x82, connectWith(once, once)));
}

const auth = (code: number, ...block: Part[]) => packet(0xf0, code, properties(...block));
const others: StrictnessCase[] = [
  refused('[MQTT-2.2.1-3] SUBSCRIBE with packet identifier 0', 0x82, packet(0x82, '0000 00', field('a'), 0)),
  refused('[MQTT-3.8.3-2] SUBSCRIBE without filter', 0x82, subscribe(none)),
  refused('[MQTT-4.7.3-1] SUBSCRIBE with an empty filter', 0x81, subscribe(none, field(''), 0)),
  refused('[MQTT-3.8.3-5] SUBSCRIBE with option bit 6', 0x81, subscribe(none, field('a'), 0x40)),
  refused('[MQTT-3.8.3-5] SUBSCRIBE with option bit 7', 0x81, subscribe(none, field('a'), 0x80)),
  refused('SUBSCRIBE at QoS 3', 0x82, subscribe(none, field('a'), 3)),
  refused('SUBSCRIBE with Retain Handling 3', 0x82, subscribe(none, field('a'), 0x30)),
  refused('SUBSCRIBE with Subscription Identifier 0', 0x82, subscribe(properties('0b 00'), field('a'), 0)),
  refused('SUBSCRIBE with a padded Subscription Identifier', 0x81, subscribe(properties('0b 81 00'), field('a'), 0)),
  refused('SUBSCRIBE with Subscription Identifier twice', 0x82, subscribe(properties('0b 01 0b 01'), field('a'), 0)),
  refused('SUBSCRIBE with a Reason String', 0x81, subscribe(properties(0x1f, field('')), field('a'), 0)),
  refused('[MQTT-2.2.1-3] UNSUBSCRIBE with packet identifier 0', 0x82, packet(0xa2, '0000 00', field('a'))),
  refused('[MQTT-3.10.3-2] UNSUBSCRIBE without filter', 0x82, packet(0xa2, '0001 00')),
  refused('[MQTT-4.7.3-1] UNSUBSCRIBE with an empty filter', 0x81, packet(0xa2, '0001 00', field(''))),
  refused('UNSUBSCRIBE with Subscription Identifier', 0x81, packet(0xa2, '0001', properties('0b 01'), field('a'))),
  refused('[MQTT-3.14.2-1] DISCONNECT with an undefined reason code', 0x82, packet(0xe0, 3)),
  refused("[MQTT-3.14.2-1] DISCONNECT with a server's reason code", 0x82, packet(0xe0, 0x8e)),
  refused('DISCONNECT with Server Reference', 0x82, packet(0xe0, 0, properties(0x1c, field('s')))),
  refused('DISCONNECT with a foreign property', 0x81, packet(0xe0, 0, properties('21 0001'))),
  refused(
    'DISCONNECT with Session Expiry Interval twice',
    0x82,
    packet(0xe0, 0, properties('11 00000000 11 00000000')),
  ),
  refused('[MQTT-3.15.2-1] AUTH with reason code 0', 0x82, auth(0, 0x15, field('m'))),
  refused('[MQTT-3.15.2-1] AUTH without a body', 0x82, packet(0xf0)),
  refused('[MQTT-3.15.2-1] AUTH with reason code 1', 0x82, auth(1, 0x15, field('m'))),
  refused('[MQTT-4.12.0-5] AUTH without Authentication Method', 0x82, auth(0x18)),
  refused('AUTH without property length', 0x81, packet(0xf0, 0x18)),
];

const strings: StrictnessCase[] = [];
for (const [what, bad] of Object.entries(badStrings)) {
  for (const [where, whole] of [
    ['[MQTT-3.1.3-4] client id', connect(2, none, field(bad))],
    ['[MQTT-3.1.3-11] will topic', willTopic(bad)],
    ['[MQTT-3.1.3-12] user name', connect(0x82, none, field('c'), field(bad))],
    ['Authentication Method', connectWith(0x15, field(bad))],
    ['[MQTT-3.3.2-13] will Response Topic', willWith(8, field(bad))],
    ['[MQTT-3.3.2-19] will Content Type', willWith(3, field(bad))],
    ['[MQTT-1.5.7-1] will User Property name', willWith(userProperty(bad, ''))],
    ['[MQTT-3.3.2-1] topic name', packet(0x30, field(bad), 0)],
    ['[MQTT-3.3.2-13] Response Topic', publish(8, field(bad))],
    ['[MQTT-3.3.2-19] Content Type', publish(3, field(bad))],
    ['[MQTT-1.5.7-1] User Property name', publish(userProperty(bad, 'x'))],
    ['[MQTT-1.5.7-1] User Property value', publish(userProperty('x', bad))],
    ['[MQTT-1.5.7-1] User Property name in SUBSCRIBE', subscribe(properties(userProperty(bad, '')), field('a'), 0)],
    ['[MQTT-1.5.7-1] User Property value in PUBACK', puback(userProperty('', bad))],
    ['Reason String in PUBREL', packet(0x62, '0001 92', properties(0x1f, field(bad)))],
    ['Reason String in DISCONNECT', packet(0xe0, 0, properties(0x1f, field(bad)))],
    ['[MQTT-3.8.3-1] topic filter', subscribe(none, field('a'), 0, field(bad), 0)],
    ['[MQTT-3.10.3-1] topic filter in UNSUBSCRIBE', packet(0xa2, '0001 00', field(bad))],
  ] as [string, Buffer][]) {
    strings.push(refused(`[MQTT-1.5.4-1] [MQTT-1.5.4-2] ${what} in ${where}`, 0x81, whole));
  }
}

/** Rules that 3.x has too, and those that only it has. */
const versions: StrictnessCase[] = [];
for (const version of [3, 4] as const) {
  const begin = version === 4 ? bytes(field('MQTT'), 4) : bytes(field('MQIsdp'), 3);
  const of3 = (title: string, code: number, whole: Buffer) =>
    refused(`${title}, ${version === 4 ? '3.1.1' : '3.1'}`, code, whole, version);
  versions.push(
    of3('a password without user name', 0x81, packet(0x10, begin, 0x42, '003c', field('c'), field('p'))),
    of3('bytes behind CONNECT', 0x81, packet(0x10, begin, 0x02, '003c', field('c'), 0)),
    of3('Will QoS 3', 0x81, packet(0x10, begin, 0x1e, '003c', field('c'), field('w'), field('p'))),
    of3('PUBACK with reason code', 0x81, packet(0x40, '0001 00')),
    of3('PUBACK with packet identifier 0', 0x82, packet(0x40, '0000')),
    of3('PUBREL at QoS 0', 0x81, packet(0x60, '0001')),
    of3('DISCONNECT with reason code', 0x81, packet(0xe0, 0)),
    of3('AUTH', 0x81, packet(0xf0, 0x18, properties(0x15, field('m')))),
    of3('PUBLISH without topic', 0x82, packet(0x30, field(''))),
    of3('PUBLISH with QoS 3', 0x81, packet(0x36, field('a'), '0001')),
    of3('SUBSCRIBE at QoS 3', 0x81, packet(0x82, '0001', field('a'), 3)),
    of3('SUBSCRIBE at QoS 0 in its header', 0x81, packet(0x80, '0001', field('a'), 0)),
    of3('SUBSCRIBE with an empty filter', 0x81, packet(0x82, '0001', field(''), 0)),
  );
}
versions.push(
  refused('SUBSCRIBE without filter, 3.1.1', 0x82, packet(0x82, '0001'), 4),
  refused('UNSUBSCRIBE without filter, 3.1.1', 0x82, packet(0xa2, '0001'), 4),
  refused('SUBSCRIBE with No Local, 3.1.1', 0x81, packet(0x82, '0001', field('a'), 4), 4),
  refused('PUBLISH with DUP at QoS 0, 3.1.1', 0x81, packet(0x38, field('a')), 4),
  refused('PUBREL with DUP, 3.1.1', 0x81, packet(0x6a, '0001'), 4),
  refused(
    'a user name flag without the field, 3.1.1',
    0x81,
    packet(0x10, field('MQTT'), 4, 0x82, '003c', field('c')),
    4,
  ),
  refused('the reserved connect flag, 3.1.1', 0x81, packet(0x10, field('MQTT'), 4, 0x03, '003c', field('c')), 4),
);

export const strictnessCases: StrictnessCase[] = [
  ...framing,
  ...reservedFlags,
  ...publishes,
  ...acks,
  ...connects,
  ...others,
  ...strings,
  ...versions,
];
