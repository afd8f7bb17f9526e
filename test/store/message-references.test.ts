import t from 'tap';
import type { Message } from '../../lib/base/message.js';
import { MemoryStore } from '../../lib/store/memory-store.js';
import { MessageReferences } from '../../lib/store/message-references.js';
import { messageKey } from '../../lib/store/records-keys.js';
import { decodeMessage } from '../../lib/store/records-message.js';
import { type Store, Table } from '../../lib/store/store.js';

function message(sequence: number): Message {
  return {
    sequence,
    topicName: 'a/b',
    payload: Buffer.from('payload'),
    properties: Buffer.alloc(0),
    qos: 1,
    retain: false,
    expiryAtMs: 0,
    publisherId: 'p',
    tracked: false,
  };
}

const rows = (store: Store, table: Table) => store.countRange(table, Buffer.alloc(0), null, 1_000_000);

t.test('a message with one reference has no count, and goes with it', async (t) => {
  const store = new MemoryStore();
  const references = new MessageReferences(store);
  references.putMessage(message(1), 1);
  t.equal(rows(store, Table.references), 0);
  const stored = store.get(Table.messages, messageKey(1));
  t.same(stored && decodeMessage(1, stored), message(1));
  references.release(1);
  t.equal(rows(store, Table.messages), 0);
});

t.test('a message goes with the last of its references, wherever they were counted', async (t) => {
  const store = new MemoryStore();
  let references = new MessageReferences(store);
  references.putMessage(message(1), 3);
  references.putMessage(message(2), 1);
  references.add(2, 0);
  references.add(2, 2);
  references.release(1);
  references = new MessageReferences(store); // as after a restart
  references.release(1);
  t.equal(rows(store, Table.references), 1, 'a count of 1 has no row');
  references.release(2);
  references.release(2);
  t.equal(rows(store, Table.references), 0);
  t.equal(rows(store, Table.messages), 2);
  references = new MessageReferences(store);
  references.release(1);
  t.equal(store.get(Table.messages, messageKey(1)), null);
  references.release(2);
  t.equal(rows(store, Table.messages), 0);
});

t.test('more messages than counts are remembered are counted all the same', async (t) => {
  const store = new MemoryStore();
  const references = new MessageReferences(store);
  for (let sequence = 0; sequence < 120_000; sequence++) references.putMessage(message(sequence), 2);
  for (let sequence = 0; sequence < 120_000; sequence++) references.release(sequence);
  t.equal(rows(store, Table.messages), 120_000);
  t.equal(rows(store, Table.references), 0);
  for (let sequence = 0; sequence < 120_000; sequence++) references.release(sequence);
  t.equal(rows(store, Table.messages), 0);
});
