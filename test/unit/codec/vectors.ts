import { PacketType } from '../../../lib/spec/packet-types.js';
import { bytes, field, packet, properties, userProperty } from './bytes.js';
import { connectVectors, publishVectors } from './connect-and-publish-vectors.js';
import type { Vector } from './vector.js';

const ackTypes = [PacketType.puback, PacketType.pubrec, PacketType.pubrel, PacketType.pubcomp] as const;

const acks: Vector[] = ackTypes.flatMap((type) => {
  const first = (type << 4) | (type === PacketType.pubrel ? 2 : 0);
  const failure = type >= PacketType.pubrel ? 0x92 : 0x87;
  const plain = { type, packetId: 0x0a0b, reasonCode: 0, reasonString: null };
  const explained = properties(userProperty('n', 'v'), 0x1f, field('why'), userProperty('n', 'w'));
  return [
    { title: `packet type ${type}, short`, version: 5, bytes: packet(first, '0a0b'), packet: plain },
    { title: `packet type ${type} of 3.1.1`, version: 4, bytes: packet(first, '0a0b'), packet: plain },
    { title: `packet type ${type} of 3.1`, version: 3, bytes: packet(first, '0a0b'), packet: plain },
    {
      title: `packet type ${type} with reason code`,
      version: 5,
      bytes: packet(first, '0a0b', failure),
      packet: { ...plain, reasonCode: failure },
    },
    {
      title: `packet type ${type} with reason code and no properties`,
      asWritten: false,
      version: 5,
      bytes: packet(first, '0a0b', failure, 0),
      packet: { ...plain, reasonCode: failure },
    },
    {
      title: `packet type ${type} with properties`,
      asWritten: false,
      version: 5,
      bytes: packet(first, '0a0b', failure, explained),
      packet: { ...plain, reasonCode: failure, reasonString: 'why' },
    },
  ] satisfies Vector[];
});

const subscribes: Vector[] = [
  {
    title: 'SUBSCRIBE 5 with identifier and options',
    version: 5,
    bytes: packet(
      0x82,
      '0001',
      properties('0b ffffff7f', userProperty('a', 'b')),
      field('a/#'),
      0x00,
      field('$share/g/+'),
      0x2e,
      field('\ufeffx'),
      0x11,
    ),
    packet: {
      type: PacketType.subscribe,
      packetId: 1,
      subscriptionId: 268_435_455,
      userProperties: [['a', 'b']],
      subscriptions: [
        { topicFilter: 'a/#', qos: 0, noLocal: false, retainAsPublished: false, retainHandling: 0 },
        { topicFilter: '$share/g/+', qos: 2, noLocal: true, retainAsPublished: true, retainHandling: 2 },
        { topicFilter: '\ufeffx', qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 1 },
      ],
    },
  },
  {
    title: 'SUBSCRIBE 3.1.1',
    version: 4,
    bytes: packet(0x82, '0001', field('a'), 2, field('b'), 0),
    packet: {
      type: PacketType.subscribe,
      packetId: 1,
      subscriptionId: 0,
      userProperties: [],
      subscriptions: [
        { topicFilter: 'a', qos: 2, noLocal: false, retainAsPublished: false, retainHandling: 0 },
        { topicFilter: 'b', qos: 0, noLocal: false, retainAsPublished: false, retainHandling: 0 },
      ],
    },
  },
  {
    title: 'UNSUBSCRIBE 5',
    version: 5,
    bytes: packet(0xa2, '0100', properties(userProperty('', '')), field('a'), field('b/+')),
    packet: { type: PacketType.unsubscribe, packetId: 256, userProperties: [['', '']], topicFilters: ['a', 'b/+'] },
  },
  {
    title: 'UNSUBSCRIBE 3.1.1',
    version: 4,
    bytes: packet(0xa2, '0100', field('a')),
    packet: { type: PacketType.unsubscribe, packetId: 256, userProperties: [], topicFilters: ['a'] },
  },
];

const noDisconnectProperties = { sessionExpirySeconds: null, reasonString: null };

const others: Vector[] = [
  { title: 'PINGREQ', version: 5, bytes: packet(0xc0), packet: { type: PacketType.pingreq } },
  {
    title: 'DISCONNECT 5, empty',
    version: 5,
    bytes: packet(0xe0),
    packet: { type: PacketType.disconnect, reasonCode: 0, ...noDisconnectProperties },
  },
  {
    title: 'DISCONNECT 5 with will',
    version: 5,
    bytes: packet(0xe0, 4),
    packet: { type: PacketType.disconnect, reasonCode: 4, ...noDisconnectProperties },
  },
  {
    title: 'DISCONNECT 5 with properties',
    version: 5,
    bytes: packet(0xe0, 0, properties('11 ffffffff', 0x1f, field('bye'), userProperty('a', 'b'))),
    packet: {
      type: PacketType.disconnect,
      reasonCode: 0,
      sessionExpirySeconds: 0xffffffff,
      reasonString: 'bye',
    },
  },
  {
    title: 'DISCONNECT 3.1.1',
    version: 4,
    bytes: packet(0xe0),
    packet: { type: PacketType.disconnect, reasonCode: 0, ...noDisconnectProperties },
  },
  {
    title: 'AUTH',
    version: 5,
    bytes: packet(0xf0, 0x18, properties(0x15, field('M'), 0x16, field(bytes('00')), userProperty('a', 'b'))),
    packet: {
      type: PacketType.auth,
      reasonCode: 0x18,
      authenticationMethod: 'M',
      authenticationData: '00',
      reasonString: null,
      userProperties: [['a', 'b']],
    },
  },
];

export const vectors: Vector[] = [...connectVectors, ...publishVectors, ...acks, ...subscribes, ...others];
