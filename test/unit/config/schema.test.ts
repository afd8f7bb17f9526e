import t from 'tap';
import { CountersignError } from '../../../lib/base/errors.js';
import { optionFacts, optionsJsonSchema, parseOptions } from '../../../lib/config/schema.js';

function problemsOf(input: unknown, source = 'test'): string[] {
  try {
    parseOptions(input, source);
  } catch (error) {
    if (error instanceof CountersignError && error.code === 'ERR_COUNTERSIGN_CONFIG') return error.message.split('\n');
    throw error;
  }
  return [];
}

t.test('no options give the documented defaults', async (t) => {
  const settings = parseOptions({}, 'test');
  t.match(settings, { host: '127.0.0.1', port: 1883, data: './countersign-data', memory: false });
  t.match(settings, { durability: 'flushed', logLevel: 'info', maximumPacketSize: 2_097_152, tracking: [] });
  t.match(settings.receipts, { enabled: true, retention: 86_400, maxPending: 2_592_000, maxHold: 300 });
});

t.test('receipts.maxRecordsPerPublisher is a tenth of receipts.maxRecords where it is not given', async (t) => {
  t.equal(parseOptions({}, 'test').receipts.maxRecordsPerPublisher, 1_000_000);
  t.equal(parseOptions({ receipts: { maxRecords: 5 } }, 'test').receipts.maxRecordsPerPublisher, 1);
  t.equal(parseOptions({ receipts: { maxRecordsPerPublisher: 7 } }, 'test').receipts.maxRecordsPerPublisher, 7);
});

t.test('parsed settings are options that give the same settings', async (t) => {
  const settings = parseOptions({ port: 0, receipts: { maxRecords: 50 } }, 'test');
  t.same(parseOptions(settings, 'test'), settings);
});

t.test('an option that is undefined takes its default', async (t) => {
  t.equal(parseOptions({ port: undefined }, 'test').port, 1883);
});

t.test('a wrong value is told with its path, what was given and what is allowed', async (t) => {
  t.same(problemsOf({ port: 70_000 }), ['test: port: 70000 is not allowed; allowed: a whole number from 0 to 65535']);
  t.same(problemsOf({ port: 1.5 }), ['test: port: 1.5 is not allowed; allowed: a whole number from 0 to 65535']);
  t.same(problemsOf({ host: '' }), ['test: host: "" is not allowed; allowed: text that is not empty']);
  t.same(problemsOf({ memory: 'yes' }), ['test: memory: "yes" is not allowed; allowed: true or false']);
  t.same(problemsOf({ durability: 'fast' }), [
    'test: durability: "fast" is not allowed; allowed: flushed or committed',
  ]);
  t.same(problemsOf({ maximumQos: 3 }), ['test: maximumQos: 3 is not allowed; allowed: 0 or 1 or 2']);
  t.same(problemsOf({ receipts: { replay: -1 } }), [
    'test: receipts.replay: -1 is not allowed; allowed: a whole number, 0 or more',
  ]);
  t.same(problemsOf({ jwt: { secretFile: 'a', algorithms: ['HS256', 'none'] } }), [
    'test: jwt.algorithms[1]: "none" is not allowed; allowed: a list of HS256, HS384, HS512, RS256, RS384, RS512, ' +
      'PS256, PS384, PS512, ES256, ES384, ES512, EdDSA, Ed25519',
  ]);
  t.match(problemsOf({ listeners: [5] }), [
    /^test: listeners\[0\]: 5 is not allowed; allowed: a list, each with type,/,
  ]);
  t.match(problemsOf({ receipts: 5 }), [/^test: receipts: 5 is not allowed; allowed: a group of enabled, retention,/]);
  t.match(problemsOf({ tracking: {} }), [
    /^test: tracking: a group is not allowed; allowed: a list, each with filter,/,
  ]);
});

t.test('a wrong member of a list is told with its index', async (t) => {
  t.same(problemsOf({ tracking: [{ filter: 'a' }] }), [
    'test: tracking[0].receipt: is missing; allowed: delivered or processed',
  ]);
  t.same(problemsOf({ tracking: [{ filter: 'a', receipt: 'delivered', forced: true }] }), [
    'test: tracking[0].forced: unknown key; the nearest valid key is tracking[].force',
  ]);
});

t.test('an unknown key is told with the nearest valid one', async (t) => {
  t.same(problemsOf({ prot: 1 }), ['test: prot: unknown key; the nearest valid key is port']);
  t.same(problemsOf({ loglevel: 'info' }), ['test: loglevel: unknown key; the nearest valid key is logLevel']);
  t.same(problemsOf({ receipts: { retain: 1 } }), [
    'test: receipts.retain: unknown key; the nearest valid key is receipts.retention',
  ]);
  t.same(problemsOf({ maxHold: 1 }), ['test: maxHold: unknown key; the nearest valid key is receipts.maxHold']);
  t.match(problemsOf(JSON.parse('{"__proto__":{"port":1}}')), [/^test: __proto__: unknown key/]);
});

t.test('each of several problems has a line of its own', async (t) => {
  t.equal(problemsOf({ port: -1, prot: 1, receipts: { replay: 'x' } }).length, 3);
});

t.test('anything that is not a group of options is refused', async (t) => {
  for (const input of [5, null, 'x', [], true]) t.equal(problemsOf(input).length, 1, JSON.stringify(input));
});

t.test('a long wrong value is cut in the message', async (t) => {
  t.ok(problemsOf({ durability: 'x'.repeat(1000) })[0].length < 200);
});

t.test('every option has a description, and words for what is allowed', async (t) => {
  const facts = optionFacts();
  t.ok(facts.length > 40);
  for (const { path, description, allowed } of facts) {
    t.match(description, /\.$/, `${path} is described in a sentence`);
    t.not(allowed, 'a group of ', `${path} says what is allowed`);
  }
});

t.test('the JSON Schema refuses unknown keys at every level', async (t) => {
  const schema = optionsJsonSchema();
  t.match(schema, { type: 'object', additionalProperties: false });
  t.match(schema, { properties: { receipts: { additionalProperties: false }, port: { maximum: 65_535 } } });
});

t.test('a tracking rule whose filter can match nothing that clients publish is refused', (t) => {
  for (const filter of ['', 'a#', 'a/#/b', 'a+/b', '$share/g/a', '$SYS/#', '$receipts/#', '$receipts', 'a\0']) {
    const message = /^tracking\[0\]\.filter: .* is not allowed[:;] .+/;
    t.throws(() => parseOptions({ tracking: [{ filter, receipt: 'delivered' }] }, ''), { message }, filter);
  }
  for (const filter of ['#', 'a/+/b/#', '+', '/', '$other/#', '$receiptsx/a']) {
    t.doesNotThrow(() => parseOptions({ tracking: [{ filter, receipt: 'delivered' }] }, ''), filter);
  }
  t.end();
});
