import t from 'tap';
import { encodePublishFrame, PublishFrame } from '../../../lib/codec/publish-frame.js';
import { wholeOf } from '../../helpers/publish-fields.js';

function contentOf({ bytes, start, end }: PublishFrame): string {
  return bytes.toString('hex', start, end);
}

t.test('a packet as received is copied once, before what it lies in is read into again', async (t) => {
  for (const size of [12, 700, 70_000]) {
    const chunk = Buffer.alloc(size + 20, 1).fill(2, 10, size + 10);
    const frame = PublishFrame.ofReceived();
    frame.receive(chunk, 10, size + 10, 14);
    const lasting = frame.lasting();
    t.equal(frame.lasting(), lasting, 'the same for all who need it');
    t.equal(lasting.lasting(), lasting);
    chunk.fill(3);
    t.equal(contentOf(lasting), '02'.repeat(size));
    t.equal(lasting.packetIdAt - lasting.start, 4);
    t.equal(lasting.finalEnd, lasting.end, 'nothing behind it is its own');
    t.equal(lasting.view.getUint8(lasting.start), 2);
    t.equal(contentOf(lasting.lasting()), '02'.repeat(size));
    frame.receive(chunk, 0, 10, -1);
    t.equal(frame.lasting().packetIdAt, -1, 'of the next packet');
    t.equal(contentOf(frame.lasting()), '03'.repeat(10));
    const next = Buffer.alloc(30, 4);
    frame.receive(next, 5, 15, 6);
    t.equal(frame.finalEnd, 30);
    t.equal(frame.view.getUint8(5), 4);
    t.equal(contentOf(frame.lasting()), '04'.repeat(10));
    t.equal(contentOf(lasting), '02'.repeat(size), 'what lasts has not changed');
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
