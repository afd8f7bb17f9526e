import t, { type Test } from 'tap';
import { SequenceSource } from '../../../lib/base/sequence.js';
import { Housekeeping } from '../../../lib/receipts/housekeeping.js';
import { clientIdentityKey } from '../../../lib/receipts/names.js';
import { RecordStore } from '../../../lib/receipts/record-store.js';
import { Tracker } from '../../../lib/receipts/tracker.js';
import { Session } from '../../../lib/session/session.js';
import { MemoryStore } from '../../../lib/store/memory-store.js';
import { ManualClock } from '../../helpers/core-world.js';

const maxPending = 100;

/** A publisher's messages, each to one recipient that is away. */
function publish(count: number) {
  const clock = new ManualClock();
  const records = new RecordStore(new MemoryStore());
  let told = 0;
  const tracker = new Tracker(records, clock, 0, { emit: () => told++, finished: () => undefined });
  const sequences = new SequenceSource(clock, 0);
  const owner = { clientId: 'p', userName: null, byServer: false };
  const recipient = new Session(1, 'r', null, true, 5, 0);
  const key = clientIdentityKey('p', null);
  for (let at = 0; at < count; at++) {
    const sequence = sequences.next();
    const message = { topicName: 'a', qos: 1, correlationData: null } as const;
    tracker.begin(sequence, owner, key, message, 'delivered', 0);
    tracker.join(key, sequence, recipient, null);
    tracker.accept(key, sequence);
  }
  const limits = { retention: 1000, maxPending, maxRecords: 10_000, maxRecordsPerPublisher: 10_000 };
  const housekeeping = new Housekeeping(records, tracker, clock, limits, () => false);
  const pending = () =>
    records.oldestSequences(key, 0, count).filter((sequence) => records.find(key, sequence)?.counts.pending === 1)
      .length;
  return { clock, housekeeping, pending, told: () => told };
}

/** Slices until nothing is left to do at once. */
function slices(t: Test, housekeeping: Housekeeping): number {
  for (let count = 1; count < 3000; count++) if (!housekeeping.run()) return count;
  t.fail('there is always more to do');
  return 0;
}

t.test('a round of upkeep comes to its end, however many records are pending', async (t) => {
  for (const count of [1, 199, 200, 201, 1000]) {
    const { housekeeping, pending } = publish(count);
    t.equal(slices(t, housekeeping), 1, `${count} records`);
    t.equal(pending(), count, 'none is old enough to be given up');
  }
});

t.test('what is pending for too long is given up, slice by slice', async (t) => {
  for (const count of [1, 199, 200, 201, 1000]) {
    const { clock, housekeeping, pending, told } = publish(count);
    const before = told();
    clock.advance(maxPending * 1000 + 10);
    slices(t, housekeeping);
    t.equal(pending(), 0, `${count} records`);
    t.equal(told() - before, 2 * count, 'a receipt and a final tally each');
  }
});
