/**
 * Writes batches of related keys as fast as it can and prints the number of each once it is durable, until killed.
 * Parameters: directory, durability (`eager` tells before the store does), number of the first batch (0 to go on after
 * the last), keys per batch.
 */
import { LmdbStore } from '../../lib/store/lmdb-store.js';
import { deliveryKey, messageKey } from '../../lib/store/records-keys.js';
import { Table } from '../../lib/store/store.js';
import { wallClock } from './wall-clock.js';

const [directory, durability, firstText, keysText] = process.argv.slice(2);
const keys = Number(keysText);
const store = await LmdbStore.open({
  directory,
  durability: durability === 'committed' ? 'committed' : 'flushed',
  clock: wallClock,
});
const lastKey = Buffer.from('last');
let batch = Number(firstText) || Number(String(store.get(Table.meta, lastKey) ?? 0)) + 1;

function writeBatch(): void {
  const number = batch++;
  // One message and its deliveries, as one turn would write them; every other batch deletes an older one.
  store.putNew(Table.messages, messageKey(number), Buffer.from(String(number)));
  store.put(Table.meta, lastKey, Buffer.from(String(number)));
  for (let session = 1; session < keys; session++) {
    store.putNew(Table.deliveries, deliveryKey(session, number), Buffer.from(String(number)));
  }
  if (number > 3 && number % 2 === 0) {
    store.delete(Table.messages, messageKey(number - 3));
    for (let session = 1; session < keys; session++) store.delete(Table.deliveries, deliveryKey(session, number - 3));
  }
  const tell = (): unknown => process.stdout.write(`${number}\n`);
  if (durability === 'eager') tell();
  store.commit(durability === 'eager' ? () => undefined : tell);
}

function turn(): void {
  // Up to several batches a turn, so that some are merged and some wait.
  for (let count = 0; count < 3 && store.commitsInFlight < 12; count++) writeBatch();
  setImmediate(turn);
}

process.stdout.write('ready\n');
turn();
