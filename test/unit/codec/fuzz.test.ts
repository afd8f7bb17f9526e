import fc from 'fast-check';
import t from 'tap';
import type { ProtocolVersion } from '../../../lib/spec/packet-types.js';
import { comparable, describeStream } from './describe-packet.js';
import { strictnessCases } from './strictness-cases.js';
import { vectors } from './vectors.js';

const seed = Number(process.env.FUZZ_SEED ?? 20_261_121);
const numRuns = Number(process.env.FUZZ_RUNS ?? 20_000);
const known = [...vectors, ...strictnessCases].map(({ bytes }) => bytes);

interface Mutation {
  at: number;
  kind: number;
  value: number;
}

/** Changes, inserts or removes bytes, or repeats a piece; places are taken modulo the length. */
function mutate(original: Buffer, mutations: Mutation[]): Buffer {
  let list = Array.from(original);
  for (const { at, kind, value } of mutations) {
    const place = at % Math.max(1, list.length);
    if (kind === 0) list[place] = value;
    else if (kind === 1) list.splice(place, 0, value);
    else if (kind === 2) list.splice(place, 1 + (value % 4));
    else if (kind === 3) list = [...list.slice(0, place), ...list.slice(place - (value % 8)), ...list.slice(place)];
    else list[place] ^= 1 << (value % 8);
  }
  return Buffer.from(list);
}

const uint8 = fc.integer({ min: 0, max: 255 });
const mutation = fc.record({ at: fc.nat(400), kind: fc.integer({ min: 0, max: 4 }), value: uint8 });
const mutated = fc
  .tuple(fc.array(fc.constantFrom(...known), { minLength: 1, maxLength: 3 }), fc.array(mutation, { maxLength: 5 }))
  .map(([packets, mutations]) => mutate(Buffer.concat(packets), mutations));
/** A mutated body under a right length, so that it gets past the splitter. */
const framed = fc
  .tuple(
    fc.constantFrom(...known.filter(({ length }) => length < 129 && length > 2)),
    fc.array(mutation, { maxLength: 4 }),
  )
  .map(([packet, mutations]) => {
    const body = mutate(packet.subarray(2), mutations).subarray(0, 127);
    return Buffer.concat([Buffer.from([packet[0], body.length]), body]);
  });
const random = fc.uint8Array({ maxLength: 60 }).map((list) => Buffer.from(list));
const version = fc.constantFrom<ProtocolVersion>(3, 4, 5, 5, 5);
const stream = fc.oneof(
  { weight: 4, arbitrary: framed },
  { weight: 3, arbitrary: mutated },
  { weight: 1, arbitrary: random },
);

function cutAt(bytes: Buffer, cuts: number[]): Buffer[] {
  const places = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).sort((one, other) => one - other), bytes.length];
  return places.slice(1).map((end, index) => bytes.subarray(places[index], end));
}

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
