import fc from 'fast-check';
import t from 'tap';
import * as records from '../../lib/store/records.js';
import * as keys from '../../lib/store/records-keys.js';
import * as messages from '../../lib/store/records-message.js';
import * as sessions from '../../lib/store/records-session.js';
import { keyBytesMax } from '../../lib/store/store.js';

const uint8 = fc.integer({ min: 0, max: 0xff });
const uint16 = fc.integer({ min: 0, max: 0xffff });
const uint32 = fc.integer({ min: 0, max: 0xffffffff });
const sequence = fc.maxSafeNat();
const timeMs = fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 2 ** 47 }));
const qos = fc.constantFrom(0 as const, 1 as const, 2 as const);
const text = fc.string({ unit: 'grapheme', maxLength: 40 });
const name = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 });
const bytes = fc.uint8Array({ maxLength: 300 }).map((array) => Buffer.from(array));
const corrupt = { code: 'ERR_COUNTERSIGN_DATA_CORRUPT' };

const message = fc.record({
  sequence,
  topicName: name,
  payload: bytes,
  properties: fc.oneof(fc.constant(Buffer.alloc(0)), bytes),
  qos,
  retain: fc.boolean(),
  expiryAtMs: timeMs,
  publisherId: text,
  tracked: fc.boolean(),
});

const delivery = fc.record({
  sequence,
  messageSequence: sequence,
  state: uint8,
  packetId: uint16,
  qos,
  retain: fc.boolean(),
  subscriptionIds: fc.option(fc.array(uint32, { maxLength: 5 }), { nil: null }),
  kind: fc.integer({ min: 0, max: 127 }),
  payloadBytes: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  message: fc.constant(null),
  reference: fc.option(bytes, { nil: null }),
  group: fc.option(text, { nil: null }),
});

const will = fc.record({
  topicName: name,
  payload: bytes,
  qos,
  retain: fc.boolean(),
  delaySeconds: uint32,
  messageExpirySeconds: fc.oneof(fc.constant(-1), uint32),
  properties: bytes,
});

const session = fc.record({
  number: uint32,
  clientId: text,
  userName: fc.option(text, { nil: null }),
  expirySeconds: uint32,
  disconnectedAtMs: timeMs,
  protocolVersion: fc.constantFrom(3, 4, 5),
  will: fc.option(will, { nil: null }),
  willDueAtMs: timeMs,
});

const subscription = fc.record({
  topicFilter: name,
  qos,
  noLocal: fc.boolean(),
  retainAsPublished: fc.boolean(),
  retainHandling: fc.constantFrom(0 as const, 1 as const, 2 as const),
  subscriptionId: fc.integer({ min: 0, max: 268_435_455 }),
});

const inbound = fc.record({
  packetId: uint16,
  reasonCode: uint8,
  sequence,
  matched: fc.oneof(fc.constant(-1), uint32),
  kind: uint8,
});

const retained = fc.record({ topicName: name, sequence, expiryAtMs: timeMs });

t.test('a message takes no more bytes than its lengths say', async (t) => {
  fc.assert(fc.property(message, (value) => messages.encodeMessage(value).length <= messages.messageBytesMax(value)));
  const wide = '\uffff'.repeat(10);
  const value = { topicName: wide, publisherId: wide, payload: Buffer.alloc(1), properties: Buffer.alloc(1) };
  const facts = { sequence: 1, qos: 1 as const, retain: false, expiryAtMs: 1, tracked: false };
  t.equal(messages.encodeMessage({ ...value, ...facts }).length, messages.messageBytesMax({ ...value, ...facts }));
});

t.test('a message as it was received has the same row', async () => {
  fc.assert(
    fc.property(message, bytes, (value, between) => {
      const topic = Buffer.from(value.topicName);
      const source = Buffer.concat([between, topic, between, value.payload, between]);
      const at = between.length;
      const payloadAt = at + topic.length + at;
      const payloadEnd = payloadAt + value.payload.length;
      const row = messages.encodeReceivedMessage(
        value,
        value.properties,
        source,
        at,
        at + topic.length,
        payloadAt,
        payloadEnd,
      );
      if (!row.equals(messages.encodeMessage(value))) throw new Error(row.toString('hex'));
    }),
  );
});

t.test('every record comes back as it was', async (t) => {
  const round = <T>(what: string, values: fc.Arbitrary<T>, roundTrip: (value: T) => unknown) => {
    let seen = 0;
    fc.assert(
      fc.property(values, (value) => {
        seen++;
        const back = roundTrip(value);
        if (JSON.stringify(back, ordered) !== JSON.stringify(value, ordered)) throw new Error(JSON.stringify(back));
      }),
    );
    t.ok(seen > 0, what);
  };
  round('message', message, (value) => messages.decodeMessage(value.sequence, messages.encodeMessage(value)));
  round('delivery', delivery, (value) =>
    records.decodeDelivery(
      value.sequence,
      records.encodeDelivery(value, value.state, value.packetId, value.payloadBytes),
    ),
  );
  round('session', session, (value) => sessions.decodeSession(value.number, sessions.encodeSession(value)));
  round('subscription', subscription, (value) => sessions.decodeSubscription(sessions.encodeSubscription(value)));
  round('inbound', inbound, (value) => records.decodeInbound(value.packetId, records.encodeInbound(value)));
  round('retained', retained, (value) =>
    records.decodeRetained(value.sequence, records.encodeRetained(value.topicName, value.expiryAtMs)),
  );
  round('number', sequence, (value) => records.decodeNumber(records.encodeNumber(value)));
  round('text', text, (value) => records.decodeText(records.encodeText(value)));
});

/** Members of an object in one order, for comparison. */
function ordered(_key: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}

t.test('a record cut short, too long, or of random bytes is corrupt or a record, never another error', async (t) => {
  const decoders: [string, (value: Buffer) => unknown][] = [
    ['message', (value) => messages.decodeMessage(1, value)],
    ['delivery', (value) => records.decodeDelivery(1, value)],
    ['inbound', (value) => records.decodeInbound(1, value)],
    ['retained', (value) => records.decodeRetained(1, value)],
    ['number', (value) => records.decodeNumber(value)],
    ['session', (value) => sessions.decodeSession(1, value)],
    ['subscription', (value) => sessions.decodeSubscription(value)],
  ];
  for (const [what, decode] of decoders) {
    t.throws(() => decode(Buffer.alloc(0)), corrupt, `${what}: nothing`);
    fc.assert(
      fc.property(bytes, (value) => {
        try {
          decode(value);
        } catch (error) {
          if ((error as { code?: string }).code !== corrupt.code) throw error;
        }
      }),
    );
  }
  const whole = records.encodeInbound({ packetId: 1, reasonCode: 0, sequence: 5, matched: 3, kind: 0 });
  t.throws(() => records.decodeInbound(1, whole.subarray(0, 13)), corrupt);
  t.throws(() => records.decodeInbound(1, Buffer.concat([whole, whole])), corrupt);
  t.throws(() => records.decodeNumber(Buffer.alloc(8, 0xff)), corrupt, 'not below 2^53');
  t.throws(() => messages.decodeMessage(1, Buffer.from([3, 0, 0, 0, 0])), corrupt, 'QoS 3');
});

t.test('an ordinary delivery takes 3 to 5 bytes, one of a message with another number 13', async (t) => {
  const plain = {
    sequence: 7,
    messageSequence: 7,
    state: 1,
    packetId: 0,
    qos: 1 as const,
    retain: false,
    subscriptionIds: null,
    kind: 0,
    reference: null,
    group: null,
  };
  t.equal(records.encodeDelivery(plain, 1, 0).length, 3);
  t.equal(records.encodeDelivery(plain, 1, 65_535).length, 5);
  t.equal(records.encodeDelivery({ ...plain, messageSequence: 6 }, 1, 1).length, 13);
});

t.test('keys sort as their numbers do and read back', async (t) => {
  fc.assert(
    fc.property(uint32, sequence, uint32, sequence, (sessionA, sequenceA, sessionB, sequenceB) => {
      const a = keys.deliveryKey(sessionA, sequenceA);
      const expected = Math.sign(sessionA - sessionB || sequenceA - sequenceB);
      if (Buffer.compare(a, keys.deliveryKey(sessionB, sequenceB)) !== expected) throw new Error('order of deliveries');
      const { session, sequence } = keys.readDeliveryKey(a);
      if (session !== sessionA || sequence !== sequenceA) throw new Error('delivery');
      if (keys.readMessageKey(keys.messageKey(sequenceA)) !== sequenceA) throw new Error('message');
      if (keys.readSessionKey(keys.sessionKey(sessionA)) !== sessionA) throw new Error('session');
    }),
  );
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 ** 48 - 2 }), uint8, bytes, (dueMs, kind, reference) => {
      const key = keys.timerKey(dueMs, kind, reference);
      const read = keys.readTimerKey(key);
      if (read.dueMs !== dueMs || read.kind !== kind || !read.reference.equals(reference)) throw new Error('timer');
      const { end } = keys.timersDueRange(dueMs);
      if (end === null || Buffer.compare(key, end) >= 0) throw new Error('due, and not in range');
      const later = keys.timerKey(dueMs + 1, 0, Buffer.alloc(0));
      if (Buffer.compare(later, end) < 0) throw new Error('in range, and not due');
    }),
  );
  t.same(keys.readInboundKey(keys.inboundKey(9, 65_535)), { session: 9, packetId: 65_535 });
  t.throws(() => keys.readDeliveryKey(Buffer.alloc(11)), corrupt);
  t.throws(() => keys.readMessageKey(Buffer.alloc(4)), corrupt);
  t.throws(() => keys.readTimerKey(Buffer.alloc(6)), corrupt);
});

t.test('a range holds the keys with its prefix and no others', async (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 4 }), fc.uint8Array({ maxLength: 6 }), (prefix, key) => {
      const { start, end } = keys.prefixRange(Buffer.from(prefix));
      const inRange = Buffer.compare(key, start) >= 0 && (end === null || Buffer.compare(key, end) < 0);
      if (inRange !== Buffer.from(key).subarray(0, prefix.length).equals(prefix)) throw new Error('prefix');
    }),
  );
  t.equal(keys.prefixRange(Buffer.from([0xff, 0xff])).end, null);
  t.same(keys.deliveryRange(1, 5).start, keys.deliveryKey(1, 6));
  t.same(keys.deliveryRange(1).start, keys.deliveryKey(1, 0));
});

t.test('keys of long filters fit, and differ where the names do', async (t) => {
  const long = 'ä'.repeat(30_000);
  const one = keys.subscriptionKey(1, `${long}a`);
  const other = keys.subscriptionKey(1, `${long}b`);
  t.ok(one.length <= keyBytesMax);
  t.notOk(one.equals(other));
  t.ok(one.equals(keys.subscriptionKey(1, `${long}a`)));
  t.notOk(keys.subscriptionKey(1, long).equals(keys.subscriptionKey(2, long)));
  t.ok(keys.subscriptionKey(1, long).length <= keyBytesMax);
  t.ok(keys.subscriptionKey(1, 'x'.repeat(1_500)).equals(Buffer.from(`\0\0\0\x01${'x'.repeat(1_500)}`)));
  t.equal(keys.subscriptionKey(1, 'x'.repeat(1_501)).length, 4 + 400 + 1 + 32);
});
