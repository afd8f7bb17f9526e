import t from 'tap';
import { SequenceSource } from '../../../lib/base/sequence.js';
import { Outcome } from '../../../lib/delivery/table.js';
import { identityKeyOf } from '../../../lib/receipts/identities.js';
import { clientIdentityKey } from '../../../lib/receipts/names.js';
import { recordKey } from '../../../lib/receipts/record-keys.js';
import { inlineRowsMax, RecordStore } from '../../../lib/receipts/record-store.js';
import type { Requested } from '../../../lib/receipts/request.js';
import { Tracker } from '../../../lib/receipts/tracker.js';
import { Session } from '../../../lib/session/session.js';
import { MemoryStore } from '../../../lib/store/memory-store.js';
import { Table } from '../../../lib/store/store.js';
import { ManualClock } from '../../helpers/core-world.js';

const owner = { clientId: 'p', userName: null, byServer: false };
const key = clientIdentityKey('p', null);
const taken = { outcome: Outcome.delivered, reasonCode: 0, cause: null, reasonString: null };
const answer = { ok: true, answer: null, answerCut: false };

/** Records of one publisher's messages in a store of its own. */
function setUp(outlivesProcess: boolean) {
  const store = new MemoryStore(outlivesProcess);
  const records = new RecordStore(store);
  const clock = new ManualClock();
  let told = 0;
  const tracker = new Tracker(records, clock, 0, { emit: () => told++, finished: () => undefined });
  const sequences = new SequenceSource(clock, 0);
  const publish = (recipients: readonly Session[], requested: Requested = 'delivered'): number => {
    const sequence = sequences.next();
    tracker.begin(sequence, owner, key, { topicName: 'a', qos: 1, correlationData: null }, requested, 0);
    for (const recipient of recipients) tracker.join(key, sequence, recipient, null);
    tracker.accept(key, sequence);
    for (const recipient of recipients) tracker.sent(key, sequence, recipient, null, 1);
    return sequence;
  };
  const acknowledge = (sequence: number, recipient: Session): void =>
    tracker.outcome(key, sequence, recipient, null, taken);
  const process = (sequence: number, recipient: Session): boolean => {
    const record = records.find(key, sequence);
    return record !== null && tracker.processed(record, identityKeyOf(recipient), answer);
  };
  const endTurn = (): void => {
    records.putTurn();
    store.commit(() => undefined);
  };
  const isStored = (sequence: number): boolean => store.get(Table.records, recordKey(key, sequence)) !== null;
  return { store, records, publish, acknowledge, process, endTurn, isStored, told: () => told };
}

function recipientsOf(count: number): Session[] {
  return Array.from({ length: count }, (_, at) => new Session(at + 1, `r${at}`, null, true, 5, 0));
}

for (const outlivesProcess of [true, false]) {
  const kind = outlivesProcess ? 'outlives the process' : 'dies with the process';

  t.test(`a verdict counts once, whatever is read in the same turn; a store that ${kind}`, async (t) => {
    const { records, publish, acknowledge, process, endTurn, told } = setUp(outlivesProcess);
    const recipients = recipientsOf(inlineRowsMax + 1);
    const sequence = publish(recipients, 'processed');
    for (const recipient of recipients) acknowledge(sequence, recipient);
    endTurn();
    for (const recipient of recipients) t.ok(process(sequence, recipient));
    const before = told();
    t.same(records.sequencesAfter(key, 0, 10), [sequence]);
    t.same(records.oldestSequences(key, 0, 10), [sequence]);
    for (const recipient of recipients) t.ok(process(sequence, recipient), 'a repeat is taken as before');
    endTurn();
    t.equal(told(), before, 'and nobody hears of it again');
    const counts = { processed: recipients.length, delivered: 0, sent: 0, failed: 0, pending: 0 };
    t.same(records.find(key, sequence)?.counts, counts);
  });

  t.test(`what was finished in a turn is put at its end, whatever was read; a store that ${kind}`, async (t) => {
    const { records, publish, acknowledge, endTurn, isStored } = setUp(outlivesProcess);
    const recipients = recipientsOf(1);
    const sequences = Array.from({ length: 50 }, () => publish(recipients));
    endTurn();
    for (const sequence of sequences.slice(0, 40)) {
      for (const recipient of recipients) acknowledge(sequence, recipient);
      records.oldestFinished(Number.MAX_SAFE_INTEGER / 100_000);
      records.nextFinished(1, () => false);
    }
    endTurn();
    for (const [at, sequence] of sequences.entries()) {
      t.equal(isStored(sequence), outlivesProcess || at < 40);
      t.equal(records.find(key, sequence)?.counts.pending, at < 40 ? 0 : 1);
    }
    t.same(records.oldestSequences(key, 0, 100), sequences, 'all of them are found');
  });
}

t.test('a record that is to outlive the process counts at once as what the store is to write', async (t) => {
  const { store, publish } = setUp(true);
  for (let count = 1; count <= 100; count++) {
    publish([]);
    t.ok(store.uncommitted >= count);
  }
});

t.test('only so many records wait to be put, finished or not', async (t) => {
  for (const outlivesProcess of [true, false]) {
    for (const isFinished of [true, false]) {
      const { publish, acknowledge, isStored } = setUp(outlivesProcess);
      const recipients = recipientsOf(1);
      const sequences = Array.from({ length: 20_000 }, () => {
        const sequence = publish(recipients);
        if (isFinished) for (const recipient of recipients) acknowledge(sequence, recipient);
        return sequence;
      });
      t.ok(sequences.filter((sequence) => !isStored(sequence)).length <= 10_000);
    }
  }
});
