import fc from 'fast-check';
import t from 'tap';
import type { ProtocolVersion } from '../../../lib/spec/packet-types.js';
import { cutAt, framed, mutate, mutation } from '../../helpers/mutations.js';
import { comparable, describeStream } from './describe-packet.js';
import { strictnessCases } from './strictness-cases.js';
import { vectors } from './vectors.js';

const seed = Number(process.env.FUZZ_SEED ?? 20_261_121);
const numRuns = Number(process.env.FUZZ_RUNS ?? 20_000);
const known = [...vectors, ...strictnessCases].map(({ bytes }) => bytes);

const mutated = fc
  .tuple(fc.array(fc.constantFrom(...known), { minLength: 1, maxLength: 3 }), fc.array(mutation, { maxLength: 5 }))
  .map(([packets, mutations]) => mutate(Buffer.concat(packets), mutations));
const framedPackets = fc
  .tuple(
    fc.constantFrom(...known.filter(({ length }) => length < 129 && length > 2)),
    fc.array(mutation, { maxLength: 4 }),
  )
  .map(([packet, mutations]) => framed(packet, mutations));
const random = fc.uint8Array({ maxLength: 60 }).map((list) => Buffer.from(list));
const version = fc.constantFrom<ProtocolVersion>(3, 4, 5, 5, 5);
const stream = fc.oneof(
  { weight: 4, arbitrary: framedPackets },
  { weight: 3, arbitrary: mutated },
  { weight: 1, arbitrary: random },
);

t.test(`no bytes do anything but decode or be refused, the same however split (seed ${seed})`, async (t) => {
  let refused = 0;
  let decoded = 0;
  fc.assert(
    fc.property(stream, version, fc.array(fc.nat(200), { maxLength: 4 }), (bytes, version, cuts) => {
      const whole = describeStream([bytes], version, 500);
      for (const outcome of whole) {
        if (outcome instanceof Error) refused++;
        else decoded++;
      }
      const expected = JSON.stringify(comparable(whole));
      const copied = cutAt(bytes, cuts).map((chunk) => Buffer.from(chunk));
      const singly = Array.from(bytes, (byte) => Buffer.from([byte]));
      return (
        JSON.stringify(comparable(describeStream(copied, version, 500))) === expected &&
        JSON.stringify(comparable(describeStream(singly, version, 500))) === expected
      );
    }),
    { seed, numRuns },
  );
  t.ok(refused > numRuns / 10, `${refused} refused`);
  t.ok(decoded > numRuns / 20, `${decoded} decoded`);
});
