import t from 'tap';
import { editDistance, nearestPath } from '../../../lib/config/problems.js';

t.test('the distance of two keys counts insertions, deletions and replacements', async (t) => {
  t.equal(editDistance('port', 'port'), 0);
  t.equal(editDistance('port', 'PORT'), 0, 'case does not count');
  t.equal(editDistance('', 'port'), 4);
  t.equal(editDistance('port', ''), 4);
  t.equal(editDistance('prot', 'port'), 2);
  t.equal(editDistance('kitten', 'sitting'), 3);
});

t.test('the nearest key is found by its whole path or by its last part', async (t) => {
  t.equal(nearestPath('retenton', ['port', 'receipts.retention']), 'receipts.retention');
  t.equal(nearestPath('receipt.port', ['port', 'receipts.retention']), 'port');
});
