import t from 'tap';
import { clientIdentityKey } from '../../../lib/receipts/names.js';
import { RecordStore } from '../../../lib/receipts/record-store.js';
import { ReceiptKind } from '../../../lib/receipts/reference.js';
import { Tracker } from '../../../lib/receipts/tracker.js';
import type { TrackerPort } from '../../../lib/receipts/verdicts.js';
import { Session } from '../../../lib/session/session.js';
import { MemoryStore } from '../../../lib/store/memory-store.js';
import { ManualClock } from '../../helpers/core-world.js';

const publisherKey = clientIdentityKey('p', null);
const owner = { clientId: 'p', userName: null, byServer: false };
const recipients = ['a', 'b', 'c'].map((clientId, at) => new Session(1 + at, clientId, null, true, 5, 0));
const [one, other, third] = recipients;

/** A tracker that tells what `emit` of the test is given. */
function track(emit: TrackerPort['emit']) {
  const records = new RecordStore(new MemoryStore(true));
  const tracker = new Tracker(records, new ManualClock(), 0, { emit, finished: () => undefined });
  const begin = (sequence: number, to: readonly Session[]) => {
    const message = { topicName: 'a', qos: 1, correlationData: null } as const;
    tracker.begin(sequence, owner, publisherKey, message, 'delivered', 0);
    for (const each of to) tracker.join(publisherKey, sequence, each, null);
  };
  const publish = (sequence: number, to: readonly Session[]) => {
    begin(sequence, to);
    tracker.accept(publisherKey, sequence);
  };
  return { records, tracker, begin, publish };
}

t.test('whoever is told of a message may publish another: the receipts of the first still follow', async (t) => {
  const told: string[] = [];
  let isAnswered = false;
  const world = track((record, kind, _state, _recipientKey, row) => {
    told.push(`${record.sequence} ${kind === ReceiptKind.delivery ? row?.to : 'tally'}`);
    if (isAnswered) return;
    isAnswered = true;
    world.begin(2, [third]);
    world.tracker.queued(publisherKey, 2, third, null, 1, true);
    world.tracker.accept(publisherKey, 2);
  });
  world.begin(1, [one, other]);
  for (const each of [one, other]) world.tracker.queued(publisherKey, 1, each, null, 1, true);
  world.tracker.accept(publisherKey, 1);
  t.same(told, ['1 tally', '2 tally', '2 c', '1 a', '1 b']);
});

t.test('a message published while another is fanned out takes none of its receipts', async (t) => {
  const told: string[] = [];
  const world = track((record, kind, _state, _recipientKey, row) => {
    if (kind === ReceiptKind.delivery) told.push(`${record.sequence} ${row?.to}`);
  });
  world.begin(1, [one, other]);
  world.tracker.queued(publisherKey, 1, one, null, 1, true);
  world.publish(2, [third]);
  world.tracker.queued(publisherKey, 1, other, null, 1, true);
  world.tracker.accept(publisherKey, 1);
  t.same(told, ['1 a', '1 b']);
});

t.test('a message that is given up may leave memory while its publisher is told', async (t) => {
  let sequence = 1;
  let isArmed = false;
  const told: unknown[] = [];
  const world = track((record, kind) => {
    if (isArmed && kind === ReceiptKind.delivery) {
      isArmed = false;
      world.publish(++sequence, []);
    }
    if (record.sequence === 1 && kind === ReceiptKind.finalTally)
      told.push(world.records.find(publisherKey, 1)?.counts);
  });
  world.publish(1, [one, other]);
  // The next record that comes to memory makes it forget the first one.
  while (sequence < 10_000) world.publish(++sequence, [third]);
  world.records.putTurn();
  const record = world.records.find(publisherKey, 1);
  isArmed = true;
  if (record !== null) world.tracker.giveUp(record, null, 200);
  world.records.putTurn();
  t.same(told, [{ processed: 0, delivered: 0, sent: 0, failed: 2, pending: 0 }]);
  t.equal(world.records.find(publisherKey, 1)?.counts.pending, 0);
});
