import t, { type Test } from 'tap';
import type { ReceiptAccess } from '../../lib/broker/receipt-access.js';
import { Peer } from '../helpers/peer.js';
import { counts, nothingMore, publisher, takeReceipt, track, untilFinal } from '../helpers/receipts.js';
import { startTimedBroker } from '../helpers/timed-broker.js';

/** A broker where each client has the access that its identifier begins with. */
function brokerWithAccess(t: Test) {
  const receiptAccess = ({ clientId }: { clientId: string }) => {
    const [access] = clientId.split('-');
    return ['none', 'tally', 'all'].includes(access ?? '') ? (access as ReceiptAccess) : 'own';
  };
  return startTimedBroker(t, {}, { receiptAccess });
}

const refused = 0x87;

t.test('"topics that it gets begin with $receipts/~/, as its filter did"', async (t) => {
  const broker = await startTimedBroker(t);
  await (await Peer.join(t, broker, 'a/b+c')).subscribe('x');
  const pub = await publisher(t, broker, 'we%ird#/$~');
  const { id } = await track(pub, 'x');
  const receipts = await untilFinal(pub);
  t.same(
    receipts.map(({ segments }) => segments),
    [
      ['~', id],
      ['~', id, 'a%2Fb%2Bc'],
      ['~', id],
    ],
  );
  t.match(receipts[1], { to: 'a/b+c' }, '"the payload has the full name"');
});

t.test('"{publisher} … percent-encoded (upper-case hex, compared byte by byte, never decoded)"', async (t) => {
  const broker = await brokerWithAccess(t);
  const audit = await Peer.join(t, broker, 'all-audit');
  for (const [clientId, segment] of [
    ['a/b', 'a%2Fb'],
    ['$server', '%24server'],
    ['~', '%7E'],
    ['50%', '50%25'],
  ] as const) {
    await audit.subscribe(`$receipts/${segment}/+`);
    const pub = await Peer.join(t, broker, clientId);
    const { id } = await track(pub, 'nobody');
    t.same((await takeReceipt(audit)).segments, [segment, id]);
    await pub.leave();
    for (const other of [segment.toLowerCase(), clientId.replace('/', '%2f')]) {
      if (other === segment || other.includes('/') || other === '~') continue;
      t.equal(await audit.subscribe(`$receipts/${other}/+`), 1);
    }
    await nothingMore(audit);
  }
});

t.test(
  '"A segment above 512 bytes becomes its first 400 bytes, %~ and a hash; the payload has the full name"',
  async (t) => {
    const broker = await startTimedBroker(t);
    const long = 'd'.repeat(600);
    await (await Peer.join(t, broker, long)).subscribe('x');
    const pub = await publisher(t, broker);
    await track(pub, 'x');
    const [, receipt] = await untilFinal(pub);
    t.match(receipt?.segments[2], /^d{400}%~[0-9a-f]{32}$/);
    t.equal(receipt?.to, long);
  },
);

t.test('"Access rules give each client one of none, tally, own (the default) or all"', async (t) => {
  const broker = await brokerWithAccess(t);
  const filters = {
    own: ['$receipts/~/+', '$receipts/~/0123456789ABC'],
    ownDetail: [
      '$receipts/~/+/+',
      '$receipts/~/#',
      '$receipts/~/+/#',
      '$receipts/~/0123456789ABC/x',
      '$receipts/~/+/dev',
    ],
    others: [
      '$receipts/+/+',
      '$receipts/x/+',
      '$receipts/#',
      '$receipts/+/+/dev',
      '$share/g/$receipts/+/+',
      '$receipts/+/#',
    ],
    never: ['$receipts/ack', '$receipts/ack/x', '$receipts/ack/#', '$receipts/~', '$share/g/$receipts/~/+'],
  };
  const granted: Record<string, string[][]> = {
    none: [],
    tally: [filters.own],
    own: [filters.own, filters.ownDetail],
    all: [filters.own, filters.ownDetail, filters.others],
  };
  for (const [access, lists] of Object.entries(granted)) {
    const peer = await Peer.join(t, broker, `${access}-x`);
    for (const list of Object.values(filters)) {
      const expected = lists.includes(list) ? 1 : refused;
      for (const filter of list) t.equal(await peer.subscribe(filter), expected, `${access}: ${filter}`);
    }
  }
});

t.test('an MQTT 3.1.1 client is refused with 0x80', async (t) => {
  const broker = await brokerWithAccess(t);
  const old = await Peer.join(t, broker, 'none-x', { version: 4 });
  t.equal(await old.subscribe('$receipts/~/+'), 0x80);
  t.equal(await old.subscribe('$receipts/ack'), 0x80);
});

t.test('"none (asking is refused with 0x87)": by PUBLISH and by will as well', async (t) => {
  const broker = await brokerWithAccess(t);
  const sub = await Peer.join(t, broker, 'sub');
  await sub.subscribe('#');
  const none = await Peer.join(t, broker, 'none-x');
  for (const qos of [1, 2] as const) {
    t.equal((await none.publish('a', { qos, ask: { receipt: 'delivered' } })).code, refused);
    t.equal((await none.publish('a', { qos, ask: { receipt: 'none' } })).code, 0);
    t.equal((await sub.take()).qos, 1);
  }
  await none.publish('a', { qos: 0, ask: { receipt: 'delivered' } });
  t.same((await sub.take()).pairs, { receipt: 'delivered' }, 'QoS 0 goes on untracked');
  const will = { topic: 'w', payload: Buffer.alloc(0), properties: { userProperties: { receipt: 'delivered' } } };
  t.equal((await Peer.greet(t, broker, 'none-y', { will })).connackCode, refused);
  t.equal(broker.context.records.size, 0);
});

t.test('a rule tracks what a `none` client publishes, and tells it nothing', async (t) => {
  const hooks = {
    receiptAccess: ({ clientId }: { clientId: string }) => (clientId === 'pub' ? 'none' : 'all'),
  } as const;
  const broker = await startTimedBroker(t, { tracking: [{ filter: '#', receipt: 'delivered' }] }, hooks);
  const audit = await Peer.join(t, broker, 'audit');
  await audit.subscribe('$receipts/+/+');
  const pub = await Peer.join(t, broker, 'pub');
  for (const qos of [1, 2] as const) t.same((await pub.publish('a', { qos })).pairs, {});
  t.equal(counts(await takeReceipt(audit)), '0 0 0 0 0 0 final');
});

t.test('"tally (no filter that could match a receipt; no failures; counts only)"', async (t) => {
  const broker = await brokerWithAccess(t);
  const sub = await Peer.join(t, broker, 'sub', { acknowledges: false });
  await sub.subscribe('a');
  const pub = await publisher(t, broker, 'tally-x', '$receipts/~/+');
  await track(pub, 'a');
  sub.acknowledge(await sub.take(), 0x80);
  const [first, final] = await untilFinal(pub);
  t.same([counts(first), counts(final), final?.failures], ['1 0 0 0 0 1', '1 0 0 0 1 0 final', undefined]);
  await pub.unsubscribe('$receipts/~/+');
  await pub.subscribe('$receipts/~/+');
  t.equal((await takeReceipt(pub)).failures, undefined, 'nor in a replay');
});

t.test('"a shared subscription of an audit group over $receipts/+/+": each receipt to one member', async (t) => {
  const broker = await brokerWithAccess(t);
  const members = [await Peer.join(t, broker, 'all-1'), await Peer.join(t, broker, 'all-2')];
  for (const member of members) await member.subscribe('$share/audit/$receipts/+/+/+');
  const sub = await Peer.join(t, broker, 'sub');
  await sub.subscribe('a');
  const pub = await Peer.join(t, broker, 'pub');
  for (let at = 0; at < 6; at++) await track(pub, 'a');
  for (const peer of [sub, pub, ...members]) await peer.settle();
  const taken = members.map(({ inbox }) => inbox.length);
  t.same(taken, [3, 3]);
  t.ok(members.every(({ inbox }) => inbox.every(({ topic }) => /^\$receipts\/pub\/.{13}\/sub$/.test(topic))));
});

t.test('"everything about one device": $receipts/+/+/device-7, whoever published', async (t) => {
  const broker = await brokerWithAccess(t);
  const audit = await Peer.join(t, broker, 'all-audit');
  await audit.subscribe('$receipts/+/+/device-7');
  for (const name of ['device-6', 'device-7']) await (await Peer.join(t, broker, name)).subscribe('a');
  const publishers = [await Peer.join(t, broker, 'p1'), await Peer.join(t, broker, 'p2')];
  for (const pub of publishers) await track(pub, 'a');
  t.same(
    [await takeReceipt(audit), await takeReceipt(audit)].map(({ segments }) => segments[0]),
    ['p1', 'p2'],
  );
  await nothingMore(audit);
});

t.test('"# and +/… never match $receipts"', async (t) => {
  const broker = await startTimedBroker(t);
  const nosy = await Peer.join(t, broker, 'nosy');
  for (const filter of ['#', '+/+/+', '+/#', '+/~/+', '$share/g/#']) await nosy.subscribe(filter);
  const pub = await publisher(t, broker);
  await track(pub, '$x');
  t.equal(counts(await takeReceipt(pub)), '0 0 0 0 0 0 final');
  await nothingMore(nosy);
});

t.test('"Messages under $receipts/ are never tracked", whatever the rules', async (t) => {
  const rule = { receipt: 'delivered', force: true } as const;
  await t.rejects(startTimedBroker(t, { tracking: [{ ...rule, filter: '$receipts/#' }] }), /is not allowed/);
  const broker = await startTimedBroker(t, { tracking: [{ ...rule, filter: '#' }] });
  const pub = await publisher(t, broker);
  await track(pub, 'a');
  t.equal(counts(await takeReceipt(pub)), '0 0 0 0 0 0 final');
  await pub.publish('$receipts/ack', { ask: { receipt: 'delivered' } });
  await nothingMore(pub);
  t.equal(broker.context.records.size, 1);
});

t.test('"A CONNECT with the identifier of another user\'s session is refused (0x87)"', async (t) => {
  const broker = await startTimedBroker(t);
  const ann = await Peer.join(t, broker, 'c', { userName: 'ann', expiry: 100 });
  for (const userName of ['bob', undefined]) {
    const options = userName === undefined ? {} : { userName };
    t.equal((await Peer.greet(t, broker, 'c', options)).connackCode, refused);
    t.equal((await Peer.greet(t, broker, 'c', { ...options, cleanStart: false })).connackCode, refused);
  }
  await ann.settle();
  await ann.leave();
  t.equal((await Peer.greet(t, broker, 'c', { userName: 'bob' })).connackCode, refused, 'while it lasts');
  await broker.crash();
  t.equal((await Peer.greet(t, broker, 'c', { userName: 'bob' })).connackCode, refused, 'after a restart');
  broker.clock.advance(101_000);
  t.equal((await Peer.greet(t, broker, 'c', { userName: 'bob' })).connackCode, 0);
});

t.test('"live receipts … need both to be equal": another user under the identifier gets none', async (t) => {
  const broker = await startTimedBroker(t);
  const sub = await Peer.join(t, broker, 'sub', { acknowledges: false });
  await sub.subscribe('a');
  const ann = await Peer.join(t, broker, 'c', { userName: 'ann' });
  await track(ann, 'a');
  await ann.leave();
  const bob = await Peer.join(t, broker, 'c', { userName: 'bob' });
  await bob.subscribe('$receipts/~/#');
  sub.acknowledge(await sub.take());
  await nothingMore(bob, sub);
  await bob.leave();
  const again = await Peer.join(t, broker, 'c', { userName: 'ann' });
  await again.subscribe('$receipts/~/+');
  t.equal(counts(await takeReceipt(again)), '1 0 1 0 0 0 final');
});
