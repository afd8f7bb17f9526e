import BTreeModule from 'sorted-btree';
import { assert } from '../base/assert.js';
import { keyText } from './overlay.js';
import { type Durability, keyBytesMax, type Store, type StoreEntry, type Table, tableNames } from './store.js';

// sorted-btree is CommonJS and marked as a module: from ESM its class is one level deeper.
type Tree = InstanceType<typeof BTreeModule.default<string, StoreEntry>>;
const Tree = BTreeModule.default;

/** Everything in ordered trees in the heap, gone with the process. `commit` calls `done` before it returns. */
export class MemoryStore implements Store {
  readonly durability: Durability = 'memory';
  readonly healthy = true;
  readonly commitsInFlight = 0;
  uncommitted = 0;
  onHealthChange: ((error: Error | null) => void) | null = null;
  private readonly trees: readonly Tree[] = tableNames.map(() => new Tree<string, StoreEntry>(undefined, byText));

  get(table: Table, key: Buffer): Buffer | null {
    return this.trees[table].get(keyText(key))?.value ?? null;
  }

  range(table: Table, start: Buffer, end: Buffer | null, limit: number): StoreEntry[] {
    const found: StoreEntry[] = [];
    if (limit <= 0) return found;
    const collect = (_text: string, entry: StoreEntry) => {
      found.push(entry);
      return found.length < limit ? undefined : { break: true };
    };
    const tree = this.trees[table];
    const highest = end === null ? tree.maxKey() : keyText(end);
    if (highest !== undefined) tree.forRange(keyText(start), highest, end === null, collect);
    return found;
  }

  rangeReverse(table: Table, start: Buffer, end: Buffer, limit: number): StoreEntry[] {
    const found: StoreEntry[] = [];
    const lowest = keyText(start);
    const tree = this.trees[table];
    for (let pair = tree.nextLowerPair(keyText(end)); pair !== undefined; pair = tree.nextLowerPair(pair[0])) {
      if (pair[0] < lowest || found.length === limit) break;
      found.push(pair[1]);
    }
    return found;
  }

  countRange(table: Table, start: Buffer, end: Buffer | null, limit: number): number {
    return this.range(table, start, end, limit).length;
  }

  put(table: Table, key: Buffer, value: Buffer): void {
    assert(key.length > 0 && key.length <= keyBytesMax, 'a store key has 1 to 1978 bytes');
    this.uncommitted++;
    this.trees[table].set(keyText(key), { key, value });
  }

  putNew(table: Table, key: Buffer, value: Buffer): void {
    this.put(table, key, value);
  }

  delete(table: Table, key: Buffer): void {
    this.uncommitted++;
    this.trees[table].delete(keyText(key));
  }

  commit(done: () => void): void {
    this.uncommitted = 0;
    done();
  }

  async close(): Promise<void> {
    for (const tree of this.trees) tree.clear();
  }
}

function byText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
