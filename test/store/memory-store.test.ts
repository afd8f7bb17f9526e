import t from 'tap';
import { MemoryStore } from '../../lib/store/memory-store.js';
import { Table } from '../../lib/store/store.js';
import { testStoreContract } from './contract.js';
import { testDeferredRows } from './deferred-contract.js';

const make = () => ({ open: async () => new MemoryStore(), reopen: null });
testStoreContract(t, make);
testDeferredRows(t, make);

t.test('the memory store calls done before commit returns', async (t) => {
  const store = new MemoryStore();
  let isDone = false;
  store.put(Table.meta, Buffer.from('k'), Buffer.from('v'));
  store.commit(() => {
    isDone = true;
  });
  t.ok(isDone);
});
