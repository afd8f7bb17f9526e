import t from 'tap';
import { viewOf } from '../../../lib/base/words.js';
import { encodePublishFrame, PublishFrame } from '../../../lib/codec/publish-frame.js';
import { wholeOf } from '../../helpers/publish-fields.js';

function contentOf({ bytes, start, end }: PublishFrame): string {
  return bytes.toString('hex', start, end);
}

t.test('a packet as received is copied once, before what it lies in is read into again', async (t) => {
  for (const size of [12, 700, 70_000]) {
    const chunk = Buffer.alloc(size + 20, 1).fill(2, 10, size + 10);
    const frame = new PublishFrame(chunk, viewOf(chunk), 10, size + 10, 14, chunk.length, true);
    const lasting = frame.lasting();
    t.equal(frame.lasting(), lasting, 'the same for all who need it');
    t.equal(lasting.lasting(), lasting);
    chunk.fill(3);
    t.equal(contentOf(lasting), '02'.repeat(size));
    t.equal(lasting.packetIdAt - lasting.start, 4);
    t.equal(lasting.finalEnd, lasting.end, 'nothing behind it is its own');
    t.equal(lasting.view.getUint8(lasting.start), 2);
    t.equal(new PublishFrame(chunk, viewOf(chunk), 10, 20, -1, 20, true).lasting().packetIdAt, -1);
  }
});

t.test('one that was encoded lasts as it is', async (t) => {
  const fields = {
    ...wholeOf(Buffer.from('a'), Buffer.alloc(0), Buffer.from('payload')),
    messageExpirySeconds: -1,
    subscriptionIds: null,
    extraUserProperties: null,
    topicAlias: 0,
  };
  const frame = encodePublishFrame(fields, true, true);
  t.equal(frame.lasting(), frame);
});
