import t from 'tap';
import { HeldIdentifier } from '../../../lib/broker/held-identifier.js';
import { decodeInbound } from '../../../lib/store/records.js';
import { inboundKey, readInboundKey } from '../../../lib/store/records-keys.js';
import { type Store, Table } from '../../../lib/store/store.js';
import { CrashStore } from '../../helpers/crash-store.js';

const session = 7;
const packetId = 300;

function hold(store: Store, sequence: number): HeldIdentifier {
  const held = new HeldIdentifier(store, session, packetId, { reasonCode: 0x10, sequence, matched: -1 });
  store.putDeferred(held);
  return held;
}

/** What a start finds: sequences of the messages whose identifiers are held. */
function heldIn(store: Store): number[] {
  const rows = store.range(Table.inbound, Buffer.alloc(0), null, 10);
  return rows.map(({ key, value }) => decodeInbound(readInboundKey(key).packetId, value).sequence);
}

function commit(store: CrashStore): void {
  store.commit(() => undefined);
  store.flush();
}

/** Operations that reach the disk, of table `inbound`. */
function watch(store: CrashStore): (number | null)[] {
  const seen: (number | null)[] = [];
  store.onDurable = ({ table, value }) => {
    if (table === Table.inbound) seen.push(value === null ? null : decodeInbound(packetId, value).sequence);
  };
  return seen;
}

t.test('an identifier is held from its commit to the commit of its release', async (t) => {
  const store = new CrashStore();
  const seen = watch(store);
  const held = hold(store, 1);
  commit(store);
  held.release();
  t.same(heldIn(store.crash(0)), [1], 'as long as the release is not committed');
  commit(store);
  t.same(heldIn(store.crash(0)), []);
  t.same(seen, [1, null]);
});

t.test('one that is released with the batch that holds it is not written', async (t) => {
  const store = new CrashStore();
  const seen = watch(store);
  hold(store, 1).release();
  commit(store);
  t.same(seen, []);
});

t.test('one that is released before its batch is committed was held until then', async (t) => {
  const store = new CrashStore();
  const seen = watch(store);
  const held = hold(store, 1);
  store.commit(() => undefined);
  held.release();
  store.flush();
  t.same(heldIn(store.crash(0)), [1]);
  commit(store);
  t.same(seen, [1, null]);
});

t.test('one that somebody has looked for is released all the same', async (t) => {
  const store = new CrashStore();
  const held = hold(store, 1);
  commit(store);
  t.same(heldIn(store), [1]);
  held.release();
  t.equal(store.get(Table.inbound, inboundKey(session, packetId)), null);
  commit(store);
  t.same(heldIn(store.crash(0)), []);
});

t.test('an identifier that is released and used again in one batch is held', async (t) => {
  const store = new CrashStore();
  const first = hold(store, 1);
  commit(store);
  first.release();
  const second = hold(store, 2);
  commit(store);
  t.same(heldIn(store.crash(0)), [2]);
  second.release();
  commit(store);
  t.same(heldIn(store.crash(0)), []);
});
