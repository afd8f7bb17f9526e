import fc from 'fast-check';

/** Changes of a byte string, and ways to cut one, for tests that feed what no client means to send. */

export interface Mutation {
  readonly at: number;
  readonly kind: number;
  readonly value: number;
}

/** Changes, inserts or removes bytes, or repeats a piece; places are taken modulo the length. */
export function mutate(original: Buffer, mutations: readonly Mutation[]): Buffer {
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

export const mutation: fc.Arbitrary<Mutation> = fc.record({
  at: fc.nat(400),
  kind: fc.integer({ min: 0, max: 4 }),
  value: uint8,
});

/** A mutated body under a right length, so that it gets past the splitter. */
export function framed(packet: Buffer, mutations: readonly Mutation[]): Buffer {
  const body = mutate(packet.subarray(2), mutations).subarray(0, 127);
  return Buffer.concat([Buffer.from([packet[0], body.length]), body]);
}

/** The bytes in pieces; cuts are taken modulo the length. */
export function cutAt(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const places = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).sort((one, other) => one - other), bytes.length];
  return places.slice(1).map((end, index) => bytes.subarray(places[index], end));
}
