import fc from 'fast-check';
import t from 'tap';
import { parseReceiptId, receiptId } from '../../../lib/receipts/receipt-id.js';

const sequence = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });

t.test('"receipt-id (13 characters, sortable by time of acceptance …)"', async (t) => {
  fc.assert(
    fc.property(sequence, sequence, fc.nat(1023), fc.nat(1023), (one, other, node, otherNode) => {
      const [id, next] = [receiptId(one, node), receiptId(other, otherNode)];
      if (!/^[0-9A-HJKMNP-TV-Z]{13}$/.test(id)) return false;
      return one === other || one < other === id < next;
    }),
  );
  t.pass();
});

t.test('"unique in the deployment": an id tells its sequence and node', async (t) => {
  fc.assert(
    fc.property(sequence, fc.nat(1023), (number, nodeNumber) => {
      const parsed = parseReceiptId(receiptId(number, nodeNumber));
      return parsed?.sequence === number && parsed.nodeNumber === nodeNumber;
    }),
  );
  t.pass();
});

t.test('what is no id is none', async (t) => {
  for (const text of ['', '0', '0'.repeat(12), '0'.repeat(14), '0000000000000U', '000000000000u', 'ZZZZZZZZZZZ00']) {
    t.equal(parseReceiptId(text), null, text);
  }
});
