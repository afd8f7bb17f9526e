import t from 'tap';
import { MessageBorders } from '../../../lib/net/message-borders.js';

const binary = 2;
const continuation = 0;
const ping = 9;

interface FrameFields {
  readonly opcode?: number;
  readonly isFinal?: boolean;
  readonly size: number;
  readonly isMasked?: boolean;
}

function frame({ opcode = binary, isFinal = true, size, isMasked = true }: FrameFields): Buffer {
  const mask = isMasked ? 0x80 : 0;
  const lengths = [Buffer.from([mask | Math.min(size, 127)]), Buffer.alloc(3), Buffer.alloc(9)];
  lengths[1][0] = mask | 126;
  lengths[1].writeUInt16BE(size % 65_536, 1);
  lengths[2][0] = mask | 127;
  lengths[2].writeBigUInt64BE(BigInt(size), 1);
  const length = lengths[size < 126 ? 0 : size < 65_536 ? 1 : 2];
  const first = Buffer.from([(isFinal ? 0x80 : 0) | opcode]);
  return Buffer.concat([first, length, Buffer.alloc(isMasked ? 4 : 0, 0xff), Buffer.alloc(size, 0x82)]);
}

const sizes = [0, 1, 125, 126, 127, 65_535, 65_536, 70_000];

t.test('a message that is whole is not held, however its bytes come', async (t) => {
  for (const size of sizes) {
    for (const isMasked of [true, false]) {
      for (const step of [1, 7, 4096, 1_000_000]) {
        const borders = new MessageBorders();
        const bytes = Buffer.concat([frame({ size, isMasked }), frame({ size: 3, isMasked })]);
        for (let at = 0; at < bytes.length; at += step) borders.push(bytes.subarray(at, at + step));
        if (borders.heldBytes !== 0) t.fail(`${size} in pieces of ${step}: ${borders.heldBytes} held`);
      }
    }
  }
});

t.test('what has come of a message that is not whole is held, and what its pieces cost', async (t) => {
  for (const size of sizes.slice(1)) {
    const borders = new MessageBorders();
    const bytes = frame({ size });
    borders.push(Buffer.concat([frame({ size: 300 }), bytes.subarray(0, -1)]));
    t.equal(borders.heldBytes, bytes.length - 1 + 256, `${size}`);
    borders.push(bytes.subarray(-1));
    t.equal(borders.heldBytes, 0);
  }
  const dribbled = new MessageBorders();
  for (const byte of frame({ size: 1000 }).subarray(0, -1)) dribbled.push(Buffer.from([byte]));
  t.ok(dribbled.heldBytes > 1000 * 256, 'a piece costs more than its byte');
});

t.test('fragments are held until the last one has come; pings among them are not', async (t) => {
  const borders = new MessageBorders();
  borders.push(frame({ size: 1000, isFinal: false }));
  const first = borders.heldBytes;
  t.ok(first > 1000);
  borders.push(frame({ opcode: ping, size: 100 }));
  t.ok(borders.heldBytes <= first + 256);
  for (let count = 0; count < 100; count++) borders.push(frame({ opcode: continuation, size: 1, isFinal: false }));
  t.ok(borders.heldBytes > 100 * 256);
  borders.push(Buffer.concat([frame({ opcode: continuation, size: 0 }), frame({ size: 5 }).subarray(0, 1)]));
  t.equal(borders.heldBytes, 1 + 256);
});
