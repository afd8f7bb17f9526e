import t from 'tap';
import type { Message } from '../../../lib/base/message.js';
import { DeferredDelivery, DeferredMessage } from '../../../lib/broker/deferred-deliveries.js';
import { DeliveryState } from '../../../lib/delivery/table.js';
import { MessageReferences } from '../../../lib/store/message-references.js';
import { decodeDelivery, decodeNumber } from '../../../lib/store/records.js';
import { deliveryKey, messageKey } from '../../../lib/store/records-keys.js';
import { encodeMessage } from '../../../lib/store/records-message.js';
import { type Store, Table } from '../../../lib/store/store.js';
import { CrashStore } from '../../helpers/crash-store.js';

const sequence = 77;
const message: Message = {
  ...{ sequence, topicName: 'a', payload: Buffer.from('p'), properties: Buffer.alloc(0), qos: 2, retain: false },
  ...{ expiryAtMs: 0, publisherId: 'p', tracked: false },
};

const source = (message: Message) => ({
  sequence: message.sequence,
  message: () => message,
  row: () => encodeMessage(message),
});

/** A message at QoS 2 for sessions 1 to `count`, on the disk. */
function onDisk(store: CrashStore, count: number): DeferredDelivery[] {
  const deliveries: DeferredDelivery[] = [];
  for (let session = 1; session <= count; session++) {
    const next = deliveries.at(-1) ?? null;
    const state = DeliveryState.awaitPubrec;
    deliveries.push(new DeferredDelivery(session, sequence, state, false, null, null, null, next));
  }
  const first = deliveries.at(-1);
  if (first === undefined) throw new Error('there is at least one');
  store.putDeferred(new DeferredMessage(source(message), first, new MessageReferences(store), store));
  store.commit(() => undefined);
  store.flush();
  return deliveries;
}

/** States of the deliveries to sessions 1 to 3, and how many references the message has; null for what is absent. */
function found(store: Store): { states: (number | null)[]; references: number | null; message: boolean } {
  const states = [1, 2, 3].map((session) => {
    const row = store.get(Table.deliveries, deliveryKey(session, sequence));
    return row === null ? null : decodeDelivery(sequence, row).state;
  });
  const references = store.get(Table.references, messageKey(sequence));
  const isStored = store.get(Table.messages, messageKey(sequence)) !== null;
  return { states, references: references === null ? null : decodeNumber(references), message: isStored };
}

t.test('a batch holds what was settled in it, not what came after', async (t) => {
  const { awaitPubrec, awaitPubcomp } = DeliveryState;
  const settleAll = (): CrashStore => {
    const store = new CrashStore();
    const [one, two] = onDisk(store, 3);
    t.ok(one?.advance(awaitPubcomp));
    store.commit(() => undefined);
    t.ok(two?.settle());
    t.ok(one?.settle());
    store.commit(() => undefined);
    return store;
  };
  const early = found(settleAll().crash(1));
  t.same(early, { states: [awaitPubcomp, awaitPubrec, awaitPubrec], references: 3, message: true });
  const late = found(settleAll().crash(2));
  t.same(late, { states: [null, null, awaitPubrec], references: null, message: true });
});

t.test('the last settlement takes the message along', async (t) => {
  const store = new CrashStore();
  for (const delivery of onDisk(store, 2)) t.ok(delivery.settle());
  store.commit(() => undefined);
  t.same(found(store.crash(1)), { states: [null, null, null], references: null, message: false });
});

t.test('what ends between its batch and the commit of that is in it: its outcome is not', async (t) => {
  const store = new CrashStore();
  const references = new MessageReferences(store);
  const tracked = [Buffer.from('record'), Buffer.from('recipient')] as const;
  const delivery = new DeferredDelivery(1, sequence, DeliveryState.awaitPuback, false, null, ...tracked, null);
  const stored = new DeferredDelivery(2, sequence + 1, DeliveryState.awaitPubrec, false, null, null, null, null);
  store.putDeferred(new DeferredMessage(source(message), delivery, references, store));
  store.putDeferred(new DeferredMessage(source({ ...message, sequence: sequence + 1 }), stored, references, store));
  store.commit(() => undefined);
  t.notOk(delivery.settle(), 'there is a row to delete');
  t.notOk(stored.advance(DeliveryState.awaitPubcomp), 'or to change');
  store.delete(Table.deliveries, deliveryKey(1, sequence));
  store.commit(() => undefined);
  const early = store.crash(1);
  t.ok(early.get(Table.deliveries, deliveryKey(1, sequence)), 'a start finds what was sent, and tells of its end');
  const row = early.get(Table.deliveries, deliveryKey(2, sequence + 1));
  t.equal(row === null ? null : decodeDelivery(sequence + 1, row).state, DeliveryState.awaitPubrec);
  t.equal(store.crash(2).get(Table.deliveries, deliveryKey(1, sequence)), null);
});

t.test('what ends with its own batch, or may vanish, is in none', async (t) => {
  const store = new CrashStore();
  const references = new MessageReferences(store);
  const own = new DeferredDelivery(1, sequence, DeliveryState.awaitPubrec, false, null, null, null, null);
  const passing = new DeferredDelivery(2, sequence + 1, DeliveryState.awaitPuback, false, null, null, null, null);
  store.putDeferred(new DeferredMessage(source(message), own, references, store));
  store.putDeferred(new DeferredMessage(source({ ...message, sequence: sequence + 1 }), passing, references, store));
  t.ok(own.settle());
  store.commit(() => undefined);
  t.ok(passing.settle());
  const found = store.crash(1);
  t.equal(found.countRange(Table.deliveries, Buffer.alloc(0), null, 10), 0);
  t.equal(found.countRange(Table.messages, Buffer.alloc(0), null, 10), 0);
});

t.test('once somebody has read the rows they are changed like any others', async (t) => {
  const store = new CrashStore();
  const [one, two] = onDisk(store, 2);
  t.ok(one?.settle());
  t.same(found(store).states, [null, DeliveryState.awaitPubrec, null]);
  t.notOk(two?.settle(), 'there is a row to delete');
  t.notOk(two?.advance(DeliveryState.awaitPubcomp), 'or to change');
});
