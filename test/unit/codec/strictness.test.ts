import t from 'tap';
import { refusal } from './describe-packet.js';
import { oracle } from './oracle.js';
import { strictnessCases } from './strictness-cases.js';

/** mqtt-packet gives packets for the bytes, right or wrong. */
function letThrough(bytes: Buffer, version: 3 | 4 | 5): boolean {
  const found = oracle(bytes, version);
  return Array.isArray(found) && found.length > 0;
}

for (const { title, version, bytes, reasonCode } of strictnessCases) {
  const note = letThrough(bytes, version) ? ' (mqtt-packet lets it through)' : '';
  t.test(`${title} is refused${note}`, async (t) => {
    t.equal(refusal(bytes, version), reasonCode);
    const lastByte = bytes.length - 1;
    t.equal(refusal(bytes.subarray(0, lastByte), version) ?? reasonCode, reasonCode, 'not as something else before');
  });
}

t.test('most of these would get through mqtt-packet, which is why control packets are decoded by hand', async (t) => {
  const through = strictnessCases.filter(({ bytes, version }) => letThrough(bytes, version));
  t.ok(through.length > strictnessCases.length / 2, `${through.length} of ${strictnessCases.length}`);
});
