import fc from 'fast-check';
import t from 'tap';
import { causesByNumber } from '../../../lib/receipts/causes.js';
import { decodeRecord, decodeRow, encodeRecord, encodeRow } from '../../../lib/receipts/record.js';
import { decodeReference, encodeReference, ReceiptKind } from '../../../lib/receipts/reference.js';
import { stateNames } from '../../../lib/receipts/states.js';
import { key, plain, record, row, sequence, state } from '../../helpers/any-record.js';

t.test('a record and its rows read back from the store as they were put', async (t) => {
  fc.assert(
    fc.property(record, (whole) => {
      const read = decodeRecord(whole.publisherKey, whole.sequence, encodeRecord(whole));
      t.strictSame(read, whole);
      return t.passing();
    }),
    { numRuns: 150 },
  );
  fc.assert(
    fc.property(row, (one) => {
      t.strictSame(decodeRow(encodeRow(one)), one);
      return t.passing();
    }),
    { numRuns: 150 },
  );
});

t.test('a waiting receipt is a reference of 22 or 34 bytes that reads back as it was', async (t) => {
  const reference = plain({
    kind: fc.constantFrom(...Object.values(ReceiptKind)),
    replay: fc.boolean(),
    publisherKey: key,
    sequence,
    state,
    recipientKey: fc.option(key),
    foreign: fc.boolean(),
    brief: fc.boolean(),
  });
  fc.assert(
    fc.property(reference, (one) => {
      const encoded = encodeReference(one);
      t.equal(encoded.length, one.recipientKey === null ? 22 : 34);
      t.strictSame(decodeReference(encoded), one);
      return t.passing();
    }),
    { numRuns: 150 },
  );
});

t.test('numbers on disk are append only', async (t) => {
  const names = 'accepted queued sent delivered processed rejected expired dropped lost';
  t.same(stateNames, names.split(' '));
  const known = 'queue-full too-large offline slow application clean-start taken-over session-expired disconnected';
  const more = 'deleted broker-restart unanswered gave-up';
  t.same(causesByNumber.slice(0, 13), `${known} ${more}`.split(' '));
  t.same(ReceiptKind, { firstTally: 0, finalTally: 1, overdueTally: 2, delivery: 3, currentTally: 4 });
});
