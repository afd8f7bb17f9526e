import t from 'tap';
import { viewOf } from '../../../lib/base/words.js';
import { encodeAuth } from '../../../lib/codec/auth.js';
import { encodeConnack } from '../../../lib/codec/connack.js';
import { encodeDisconnect } from '../../../lib/codec/disconnect.js';
import { pingresp } from '../../../lib/codec/ping.js';
import * as publish from '../../../lib/codec/publish.js';
import * as publishFrame from '../../../lib/codec/publish-frame.js';
import { encodeSuback, encodeUnsuback } from '../../../lib/codec/subscribe.js';
import { wholeOf } from '../../helpers/publish-fields.js';
import { bytes, field, packet, properties, userProperty } from './bytes.js';
import { oraclePacket } from './oracle.js';
import { withReason } from './with-reason.js';

const hex = (buffer: Buffer | null) => buffer?.toString('hex') ?? null;

t.test('CONNACK 5 carries what is given and nothing else', async (t) => {
  t.equal(hex(encodeConnack({ sessionPresent: false, reasonCode: 0 }, 5, 0)), '2003000000');
  const full = encodeConnack(
    {
      sessionPresent: true,
      reasonCode: 0,
      properties: {
        sessionExpirySeconds: 0,
        receiveMaximum: 10,
        maximumQos: 1,
        retainAvailable: false,
        maximumPacketSize: 1000,
        assignedClientId: 'id',
        topicAliasMaximum: 0,
        reasonString: null,
        userProperties: [
          ['__proto__', '1'],
          ['a', '2'],
          ['a', '3'],
        ],
        wildcardSubscriptionAvailable: true,
        subscriptionIdentifiersAvailable: true,
        sharedSubscriptionAvailable: false,
        serverKeepAlive: 0,
        responseInformation: undefined,
        serverReference: 'other',
        authenticationMethod: 'm',
        authenticationData: bytes('0001'),
      },
    },
    5,
    0,
  );
  const expected = packet(
    0x20,
    '01 00',
    properties(
      '11 00000000 21 000a 24 01 25 00 27 000003e8',
      0x12,
      field('id'),
      '22 0000',
      userProperty('__proto__', '1'),
      userProperty('a', '2'),
      userProperty('a', '3'),
      '28 01 29 01 2a 00 13 0000',
      0x1c,
      field('other'),
      0x15,
      field('m'),
      0x16,
      field(bytes('0001')),
    ),
  );
  t.equal(hex(full), hex(expected));
});

t.test('[MQTT-3.2.2-6] a refusal has Session Present 0, in each version', async (t) => {
  t.equal(hex(encodeConnack({ sessionPresent: true, reasonCode: 0x87 }, 5, 0)), '2003008700');
  t.equal(hex(encodeConnack({ sessionPresent: true, reasonCode: 0x87 }, 4, 0)), '20020005');
  t.equal(hex(encodeConnack({ sessionPresent: true, reasonCode: 0x87 }, 3, 0)), '20020005');
});

t.test('CONNACK to 3.x: the layout, and Session Present only in 3.1.1', async (t) => {
  t.equal(hex(encodeConnack({ sessionPresent: true, reasonCode: 0 }, 4, 0)), '20020100');
  t.equal(hex(encodeConnack({ sessionPresent: false, reasonCode: 0 }, 4, 0)), '20020000');
  t.equal(hex(encodeConnack({ sessionPresent: true, reasonCode: 0 }, 3, 0)), '20020000');
});

t.test('CONNACK to 3.x: each reason has its return code, or nothing is sent', async (t) => {
  const codes: Record<number, number[]> = {
    1: [0x84],
    2: [0x85],
    3: [0x88, 0x89, 0x8b, 0x97, 0x9c, 0x9d, 0x9f],
    4: [0x86],
    5: [0x87, 0x8a, 0x8c],
  };
  for (let reasonCode = 0x80; reasonCode <= 0xff; reasonCode++) {
    const code = Object.keys(codes).find((code) => codes[Number(code)].includes(reasonCode));
    for (const version of [3, 4] as const) {
      const expected = code === undefined ? null : `2002000${code}`;
      if (hex(encodeConnack({ sessionPresent: false, reasonCode }, version, 0)) !== expected) t.fail(`${reasonCode}`);
    }
  }
});

t.test('[MQTT-3.2.2-8] [MQTT-3.9.3-2] [MQTT-3.11.3-2] only codes of the packet are sent', async (t) => {
  for (let code = 0x80; code <= 0xff; code++) {
    const connack = encodeConnack({ sessionPresent: false, reasonCode: code }, 5, 0);
    t.not([0x8b, 0x8d, 0x8e, 0x8f, 0x91, 0x93, 0x94, 0x96, 0x98, 0xa0].includes(connack?.[3] ?? 0), true);
    // mqtt-packet refuses undefined codes in these
    for (const bytes of [encodeSuback(1, [code], 5), encodeUnsuback(1, [code], 5), encodeDisconnect(code, null, 0)]) {
      oraclePacket(bytes, 5);
    }
  }
  t.equal(hex(encodeConnack({ sessionPresent: false, reasonCode: 0x8b }, 5, 0)), '2003008800');
  t.equal(hex(encodeDisconnect(0x8e, null, 0)), 'e0028e00');
  t.equal(hex(encodeDisconnect(0x8b, null, 0)), 'e0028b00');
});

t.test('[MQTT-3.2.2-19] [MQTT-3.2.2-20] CONNACK keeps to the size limit, or is not sent', async (t) => {
  const answer = (maximum: number) =>
    encodeConnack(
      {
        sessionPresent: false,
        reasonCode: 0x87,
        properties: { serverReference: 'x', reasonString: 'because', userProperties: [['a', 'b']] },
      },
      5,
      maximum,
    );
  const whole = hex(answer(0));
  const size = (whole?.length ?? 0) / 2;
  t.equal(hex(answer(size)), whole, 'exactly the limit passes');
  const text = answer(size - 1);
  t.match(oraclePacket(text ?? bytes(), 5).properties, { reasonString: 'because', serverReference: 'x' });
  t.equal(text?.length, size - 7, 'without user properties');
  t.equal(hex(answer(size - 8)), hex(packet(0x20, '00 87', properties(0x1c, field('x')))), 'without reason string');
  t.equal(answer(8), null, '[MQTT-3.1.2-24]');
});

t.test('[MQTT-3.8.4-6] [MQTT-3.9.3-1] SUBACK has the codes in order', async (t) => {
  t.equal(hex(encodeSuback(0x0102, [0, 1, 2, 0x87, 0x8f, 0xa2], 5)), '9009010200000102878fa2');
  t.equal(hex(encodeSuback(0x0102, [0, 1, 2, 0x87, 0x8f, 0xa2], 4)), '90080102000102808080');
  t.equal(hex(encodeSuback(0x0102, [2, 0x91], 3)), '900401020280');
  t.equal(hex(encodeSuback(1, [], 3)), '90020001');
  const many = encodeSuback(7, new Array(20_000).fill(1), 4);
  t.same(oraclePacket(many, 4).granted, new Array(20_000).fill(1));
});

t.test('[MQTT-3.9.2-1] [MQTT-3.11.2-1] reason strings of SUBACK and UNSUBACK keep to the size limit', async (t) => {
  t.equal(hex(encodeSuback(1, [0x87], 5, 'no', 0)), '90090001051f00026e6f87');
  t.equal(hex(encodeSuback(1, [0x87], 5, 'no', 11)), '90090001051f00026e6f87');
  t.equal(hex(encodeSuback(1, [0x87], 5, 'no', 10)), '900400010087');
  t.equal(hex(encodeUnsuback(1, [0x87], 5, 'no', 11)), 'b0090001051f00026e6f87');
  t.equal(hex(encodeUnsuback(1, [0x87], 5, 'no', 10)), 'b00400010087');
});

t.test('[MQTT-3.11.3-1] UNSUBACK has the codes in order, and none for 3.x', async (t) => {
  t.equal(hex(encodeUnsuback(0x0a0b, [0, 0x11, 0x87], 5)), 'b0060a0b00001187');
  t.equal(hex(encodeUnsuback(0x0a0b, [0, 0x11, 0x87], 4)), 'b0020a0b');
  t.equal(hex(encodeUnsuback(0x0a0b, [0], 3)), 'b0020a0b');
});

t.test('[MQTT-3.14.2-3] DISCONNECT leaves its reason string out above the limit', async (t) => {
  t.equal(hex(encodeDisconnect(0x82, 'no', 0)), 'e00782051f00026e6f');
  t.equal(hex(encodeDisconnect(0x82, 'no', 8)), 'e0028200');
  t.equal(hex(encodeDisconnect(0x9c, null, 0, 's')), 'e0069c041c000173');
});

t.test('[MQTT-1.5.4-2] a reason string that no packet can hold is left out', async (t) => {
  t.equal(hex(encodeDisconnect(0x82, 'a\0b', 0)), 'e0028200');
  t.equal(hex(encodeDisconnect(0x82, 'x'.repeat(65_536), 0)), 'e0028200');
});

t.test('AUTH and PINGRESP', async (t) => {
  t.equal(hex(encodeAuth(0x18, 'm', bytes('00'), null, 0)), 'f00a180815 00016d 16 0001 00'.replaceAll(' ', ''));
  t.equal(hex(encodeAuth(0x00, 'm', null, 'ok', 0)), 'f00b000915 00016d 1f 0002 6f6b'.replaceAll(' ', ''));
  t.equal(hex(pingresp), 'd000');
});

t.test('[MQTT-3.15.2-2] [MQTT-3.15.2-3] AUTH above the Maximum Packet Size has no reason string', async (t) => {
  const whole = encodeAuth(0x18, 'm', bytes('00'), 'why', 0);
  t.equal(hex(encodeAuth(0x18, 'm', bytes('00'), 'why', whole.length)), hex(whole));
  const bare = encodeAuth(0x18, 'm', bytes('00'), null, 0);
  t.equal(hex(encodeAuth(0x18, 'm', bytes('00'), 'why', whole.length - 1)), hex(bare));
  t.notOk(whole.includes(0x26), 'and it never has a User Property');
});

t.test('[MQTT-3.3.2-18] [MQTT-3.3.4-4] an outbound PUBLISH has its properties in a fixed order', async (t) => {
  const frame = publishFrame.encodePublishFrame(
    {
      ...wholeOf(Buffer.from('t'), bytes('01 01', userProperty('a', '1')), bytes('ff')),
      messageExpirySeconds: 0,
      subscriptionIds: [5, 300, 5],
      extraUserProperties: userProperty('a', '2'),
      topicAlias: 2,
    },
    true,
    true,
  );
  const block = properties('02 00000000 23 0002 0b05 0bac02 0b05 0101', userProperty('a', '1'), userProperty('a', '2'));
  const expected = packet(0x30, field('t'), '0000', block, 'ff');
  t.equal(hex(frame.bytes.subarray(frame.start, frame.end)), hex(expected));
  t.strictSame([frame.length, frame.packetIdAt - frame.start], [expected.length, 5]);
});

t.test('a frame may lie in a received chunk', async (t) => {
  const chunk = Buffer.alloc(100);
  const frame = new publishFrame.PublishFrame(chunk, viewOf(chunk), 10, 30, -1);
  t.strictSame([frame.length, frame.packetIdAt], [20, -1]);
});

t.test('helpers for blocks of properties', async (t) => {
  const block = bytes(
    '01 01',
    9,
    field(bytes('00 01')),
    8,
    field('r/ä'),
    userProperty('a', '1'),
    userProperty('a', '2'),
  );
  t.equal(publish.readResponseTopic(block), 'r/ä');
  t.equal(hex(publish.readCorrelationData(block)), '0001');
  t.strictSame(publish.readUserProperties(block, 0, block.length), [
    ['a', '1'],
    ['a', '2'],
  ]);
  t.equal(publish.readResponseTopic(Buffer.alloc(0)), null);
  t.equal(publish.readCorrelationData(bytes('01 01')), null);
  t.equal(hex(publish.readCorrelationData(bytes('09 0000'))), '');
  const pairs: [string, string][] = [
    ['b', 'ä'],
    ['', ''],
    ['b', '😀'],
  ];
  const encoded = publish.encodeUserProperties(pairs);
  t.strictSame(publish.readUserProperties(encoded, 0, encoded.length), pairs);
  t.throws(() => publish.encodeUserProperties([['x'.repeat(65_536), '']]), /fits its length/);
  for (const cut of ['02 0000', '01', '23 00', '26 0001 61', '08 0002 61', '7f']) {
    t.throws(() => publish.readUserProperties(bytes(cut), 0, bytes(cut).length), withReason(0x81), cut);
  }
});
