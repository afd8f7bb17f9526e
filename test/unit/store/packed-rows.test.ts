import fc from 'fast-check';
import t from 'tap';
import { PackedRows } from '../../../lib/store/packed-rows.js';
import { writeUint53 } from '../../../lib/store/record-bytes.js';
import { type StoreEntry, Table } from '../../../lib/store/store.js';

const highest = Number.MAX_SAFE_INTEGER;
const defaultChunk = 2 ** 18;

/** Prefixes that differ in their first byte, in their last or the one before, and such as sort at the ends. */
const prefixes = ['\x00'.repeat(12), `a${'\x00'.repeat(11)}`, `a${'\x00'.repeat(10)}b`, 'b'.repeat(12)].concat(
  ...[`a${'\x00'.repeat(9)}c\x00`, `${'\xff'.repeat(11)}\x00`, '\xff'.repeat(12)],
);

function keyOf(prefix: string, number: number): Buffer {
  const key = Buffer.alloc(20);
  key.write(prefix, 'latin1');
  writeUint53(key, number, 12);
  return key;
}

/** Of one publisher among many. */
function publisherKey(publisher: number, number: number): Buffer {
  const prefix = Buffer.alloc(12);
  prefix.writeUInt32BE(publisher, 8);
  return keyOf(prefix.toString('latin1'), number);
}

/** Bytes that hardly any other value has. */
function bytesOf(seed: number, length: number): Buffer {
  const value = Buffer.alloc(length, seed % 251);
  if (length >= 4) value.writeUInt32BE(seed, length - 4);
  return value;
}

/** What a table must hold, sorted when a range asks. */
class Model {
  readonly rows = new Map<string, Buffer>();
  private sorted: StoreEntry[] | null = null;

  put(key: Buffer, value: Buffer): void {
    this.rows.set(key.toString('latin1'), value);
    this.sorted = null;
  }

  delete(key: Buffer): void {
    if (this.rows.delete(key.toString('latin1'))) this.sorted = null;
  }

  range(start: Buffer, end: Buffer | null, limit: number, isReverse: boolean): StoreEntry[] {
    this.sorted ??= [...this.rows]
      .map(([text, value]) => ({ key: Buffer.from(text, 'latin1'), value }))
      .sort((one, other) => one.key.compare(other.key));
    const within = this.sorted.filter(({ key }) => key.compare(start) >= 0 && (end === null || key.compare(end) < 0));
    return (isReverse ? within.reverse() : within).slice(0, limit);
  }

  get valueBytes(): number {
    let sum = 0;
    for (const { length } of this.rows.values()) sum += length;
    return sum;
  }
}

function same(found: readonly StoreEntry[], wanted: readonly StoreEntry[], what: string): void {
  if (found.length !== wanted.length) throw new Error(`${what}: ${found.length} rows, not ${wanted.length}`);
  for (const [at, { key, value }] of found.entries()) {
    const { key: wantedKey, value: wantedValue } = wanted[at] as StoreEntry;
    if (!key.equals(wantedKey)) throw new Error(`${what}: key ${key.toString('hex')} at ${at}`);
    if (!value.equals(wantedValue)) throw new Error(`${what}: value of ${key.toString('hex')} at ${at}`);
  }
}

/** No more memory than twice what is live, and some chunks: the current one, and what two halves leave over. */
function checkMemory(rows: PackedRows, valueBytes: number, chunkSize: number): void {
  const { chunkBytes, liveBytes } = rows;
  if (liveBytes < valueBytes) throw new Error(`${liveBytes} bytes are live, but there are ${valueBytes}`);
  if (chunkBytes > 2 * liveBytes + 3 * chunkSize) throw new Error(`${chunkBytes} bytes for ${liveBytes} that are live`);
}

const prefix = fc.constantFrom(...prefixes);
const number = fc.oneof(
  fc.integer({ min: 0, max: 40 }),
  fc.integer({ min: highest - 3000, max: highest }),
  fc.constantFrom(0, 2 ** 32 - 1, 2 ** 32, highest),
);
const key = fc.tuple(prefix, number).map(([prefix, number]) => keyOf(prefix, number));
const bound = fc.oneof(
  key,
  // Shorter, longer, and of another form altogether.
  fc.tuple(key, fc.integer({ min: 0, max: 20 })).map(([key, length]) => key.subarray(0, length)),
  fc.tuple(key, fc.uint8Array({ minLength: 1, maxLength: 9 })).map((parts) => Buffer.concat(parts)),
  fc.tuple(prefix, fc.constantFrom('\x01', '\xff'.repeat(8), '\xff'.repeat(9))).map((parts) => latin1(parts.join(''))),
  fc.constantFrom('', '\xff'.repeat(30), `a${'\x00'.repeat(10)}\x01`, `a${'\x00'.repeat(10)}c`).map(latin1),
);
const length = fc.oneof(
  { weight: 40, arbitrary: fc.integer({ min: 0, max: 300 }) },
  { weight: 3, arbitrary: fc.integer({ min: 300, max: 40_000 }) },
  { weight: 1, arbitrary: fc.constantFrom(127, 128, 129, 32_768, 32_769, 262_144, 300_000) },
);
const weights = { put: 12, delete: 8, get: 4, range: 8, fill: 3, thin: 3, drop: 1, clear: 0.1 };
type Kind = keyof typeof weights;
const kinds = Object.entries(weights).flatMap(([kind, weight]) => new Array(10 * weight).fill(kind) as Kind[]);
const step = fc.record({
  ...{ kind: fc.constantFrom(...kinds), key, length, start: bound, end: fc.option(bound, { nil: null }) },
  ...{ limit: fc.oneof(fc.integer({ min: 0, max: 12 }), fc.constant(100_000)), isReverse: fc.boolean() },
  ...{ prefix, count: fc.integer({ min: 1, max: 2500 }), nth: fc.integer({ min: 1, max: 9 }) },
});
type Step = typeof step extends fc.Arbitrary<infer Made> ? Made : never;

function latin1(text: string): Buffer {
  return Buffer.from(text, 'latin1');
}

/** A table beside its model, and views that were handed out beside copies of them. */
class Walk {
  private readonly rows: PackedRows;
  private readonly chunkSize: number;
  private readonly model = new Model();
  private readonly views: { readonly view: Buffer; readonly copy: Buffer }[] = [];
  private puts = 0;

  constructor(chunkSize: number, chunksMax: number) {
    this.rows = new PackedRows(Table.records, chunkSize, chunksMax);
    this.chunkSize = chunkSize;
  }

  take({ kind, key, length, start, end, limit, isReverse, prefix, count, nth }: Step): void {
    const { rows, model } = this;
    if (kind === 'put') this.put(key, length);
    else if (kind === 'delete') this.delete(key);
    else if (kind === 'get') this.get(key);
    else if (kind === 'range') this.range(start, end, limit, isReverse);
    // As a publisher does: each below all before.
    else if (kind === 'fill') for (let at = 0; at < count; at++) this.put(keyOf(prefix, highest - at), at % 50);
    else if (kind === 'thin') this.deleteSome((at) => at % nth === 0);
    else if (kind === 'drop') this.deleteSome((_at, text) => text.startsWith(prefix));
    else {
      rows.clear();
      model.rows.clear();
      model.put(key, Buffer.alloc(0));
      rows.put(key, Buffer.alloc(0));
    }
    checkMemory(rows, model.valueBytes, this.chunkSize);
  }

  finish(): void {
    this.range(latin1(''), null, highest, false);
    this.range(latin1(''), null, highest, true);
    for (const { key } of this.model.range(latin1(''), null, highest, false)) this.get(key);
    for (const { view, copy } of this.views) if (!view.equals(copy)) throw new Error('a view has changed');
    this.deleteSome(() => true);
    if (this.rows.liveBytes > 0) throw new Error(`${this.rows.liveBytes} bytes of nothing`);
    if (this.rows.chunkBytes > this.chunkSize) throw new Error(`${this.rows.chunkBytes} bytes for nothing`);
    same(this.rows.range(latin1(''), null, 10, false), [], 'the end');
  }

  private put(key: Buffer, length: number): void {
    const value = bytesOf(++this.puts, length);
    const keyOnce = Buffer.from(key);
    this.model.put(key, Buffer.from(value));
    this.rows.put(keyOnce, value);
    // The caller's own again.
    value.fill(0xee);
    keyOnce.fill(0xee);
  }

  private delete(key: Buffer): void {
    this.rows.delete(key);
    this.model.delete(key);
  }

  private deleteSome(isWanted: (at: number, text: string) => boolean): void {
    const texts = [...this.model.rows.keys()].filter((text, at) => isWanted(at, text));
    for (const text of texts) this.delete(latin1(text));
  }

  private get(key: Buffer): void {
    const found = this.rows.get(key);
    const wanted = this.model.rows.get(key.toString('latin1'));
    if (found === undefined && wanted === undefined) return;
    if (found === undefined || wanted === undefined || !found.equals(wanted)) throw new Error('get');
  }

  private range(start: Buffer, end: Buffer | null, limit: number, isReverse: boolean): void {
    const found = this.rows.range(start, end, limit, isReverse);
    same(found, this.model.range(start, end, limit, isReverse), isReverse ? 'reverse range' : 'range');
    if (this.views.length > 2000) return;
    for (const { value } of found.slice(0, 20)) this.views.push({ view: value, copy: Buffer.from(value) });
  }
}

/** Small chunks move often; the last of these run out of chunks at once. */
const sizes = fc.constantFrom([1024, highest], [4096, highest], [defaultChunk, highest], [1024, 5]);

t.test('it is an ordered table', async (t) => {
  const steps = fc.array(step, { minLength: 1, maxLength: 60, size: 'max' });
  fc.assert(
    fc.property(sizes, steps, ([chunkSize, chunksMax], steps) => {
      const walk = new Walk(chunkSize as number, chunksMax as number);
      for (const next of steps) walk.take(next);
      walk.finish();
    }),
    { numRuns: 150 },
  );
  t.pass();
});

t.test('a key of another length is not there, and can not be put', async (t) => {
  const rows = new PackedRows(Table.records);
  const key = keyOf('b'.repeat(12), 7);
  rows.put(key, Buffer.from('value'));
  for (const other of [key.subarray(0, 19), key.subarray(0, 3), Buffer.alloc(0), Buffer.concat([key, Buffer.of(0)])]) {
    t.equal(rows.get(other), undefined);
    rows.delete(other);
    t.throws(() => rows.put(other, Buffer.alloc(0)), /a prefix and a number/);
  }
  t.equal(rows.get(key)?.toString(), 'value');
  t.throws(() => rows.put(Buffer.alloc(20, 0xff), Buffer.alloc(0)), /53 bits/);
});

t.test('what was handed out stays as it is when its row is deleted, replaced or moved', async (t) => {
  const rows = new PackedRows(Table.records, 4096);
  const count = 2000;
  for (let at = 0; at < count; at++) rows.put(publisherKey(at % 3, highest - at), bytesOf(at, 100));
  const views = rows.range(Buffer.alloc(0), null, count, false);
  const values = views.map(({ key }) => rows.get(key) ?? Buffer.alloc(0));
  const copies = views.map(({ value }) => Buffer.from(value));
  for (let at = 0; at < count; at++) {
    if (at % 5 > 0) rows.delete(publisherKey(at % 3, highest - at));
    else if (at % 2 === 0) rows.put(publisherKey(at % 3, highest - at), bytesOf(at + count, 90));
  }
  for (let at = count; at < 2 * count; at++) rows.put(publisherKey(at % 3, highest - at), bytesOf(at, 100));
  t.ok(views.every(({ value }, at) => value.equals(copies[at] as Buffer)));
  t.ok(values.every((value, at) => value.equals(copies[at] as Buffer)));
});

t.test('what get returns keeps no chunk in memory', async (t) => {
  const rows = new PackedRows(Table.records);
  rows.put(publisherKey(1, 1), bytesOf(1, 170));
  rows.put(publisherKey(1, 2), bytesOf(2, 100_000));
  t.ok((rows.get(publisherKey(1, 1))?.buffer.byteLength ?? defaultChunk) < 100_000);
  t.equal(rows.get(publisherKey(1, 2))?.buffer.byteLength, 100_000, 'a large value has a buffer of its own');
});

t.test('memory follows the rows that are left', async (t) => {
  const rows = new PackedRows(Table.records);
  const count = 50_000;
  const isKept = (at: number): boolean => at % 10 === 0;
  for (let at = 0; at < count; at++) rows.put(publisherKey(at % 7, highest - at), bytesOf(at, 170));
  const full = rows.chunkBytes;
  t.ok(full >= count * 170 && full < count * 200 + defaultChunk, `${full} bytes for all`);
  for (let at = 0; at < count; at++) {
    if (isKept(at)) continue;
    rows.delete(publisherKey(at % 7, highest - at));
    if (at % 100 === 1) checkMemory(rows, 0, defaultChunk);
  }
  checkMemory(rows, (count / 10) * 170, defaultChunk);
  t.ok(rows.chunkBytes < full / 4, `${rows.chunkBytes} bytes for a tenth`);
  for (let at = 0; at < count; at += 10) {
    if (!rows.get(publisherKey(at % 7, highest - at))?.equals(bytesOf(at, 170))) t.fail(`row ${at}`);
  }
  for (let at = 0; at < count; at += 10) rows.delete(publisherKey(at % 7, highest - at));
  t.equal(rows.liveBytes, 0);
  t.ok(rows.chunkBytes <= defaultChunk, `${rows.chunkBytes} bytes for none`);
});

t.test('what the oldest rows took is given back at once', async (t) => {
  const rows = new PackedRows(Table.records, 4096);
  let most = 0;
  for (let at = 0; at < 10_000; at++) {
    rows.put(publisherKey(at % 3, highest - at), bytesOf(at, 170));
    if (at >= 1000) rows.delete(publisherKey((at - 1000) % 3, highest - at + 1000));
    most = Math.max(most, rows.chunkBytes - rows.liveBytes);
  }
  // The current chunk, that of the oldest rows, and less than a value at the end of each.
  t.ok(most <= 2 * 4096 + 1000 * 10, `${most} bytes more than those of values`);
});

t.test('replacing the same rows again and again takes no more memory', async (t) => {
  const rows = new PackedRows(Table.records, 4096);
  for (let at = 0; at < 20_000; at++) {
    rows.put(publisherKey(at % 10, highest - (at % 100)), bytesOf(at, 170));
    checkMemory(rows, 0, 4096);
  }
  t.ok(rows.liveBytes <= 100 * 192);
});

t.test('a walk through many publishers sorts them once', async (t) => {
  const rows = new PackedRows(Table.records);
  const count = 20_000;
  for (let at = 0; at < count; at++) rows.put(publisherKey((at * 7919) % count, 5), Buffer.of(1));
  const arrays: { sort(): unknown } = Array.prototype;
  const sort = t.capture(arrays, 'sort', arrays.sort);
  let found = 0;
  for (let from = Buffer.alloc(0); ; ) {
    const page = rows.range(from, null, 100, false);
    found += page.length;
    const last = page.at(-1);
    if (last === undefined) break;
    // Rows may be deleted meanwhile.
    if (found % 1000 === 0) rows.delete(last.key);
    from = Buffer.concat([last.key, Buffer.of(0)]);
  }
  t.equal(found, count);
  t.equal(sort().filter(({ receiver }) => (receiver as unknown[]).length > count / 2).length, 1);
});
