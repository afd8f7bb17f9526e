/** What a `RecentMap` asks of its maps. */
interface Generation<K, V> {
  readonly size: number;
  get(key: K): V | undefined;
  set(key: K, value: V): unknown;
  delete(key: K): boolean;
}

/**
 * A map that forgets what was put long ago. It has two generations: once the younger is full it becomes the elder, and
 * what the elder had is forgotten, so every operation takes constant time. (Deleting the oldest keys of a plain Map one
 * by one does not: finding the first key walks over all that were deleted.)
 */
export class RecentMap<K, V> {
  private younger: Generation<K, V>;
  private elder: Generation<K, V>;
  private readonly generationMax: number;
  private readonly makeGeneration: () => Generation<K, V>;

  /**
   * @param minimum how many entries are kept at least; twice as many at most
   * @param makeGeneration what a generation is kept in
   */
  constructor(minimum: number, makeGeneration: () => Generation<K, V> = () => new Map()) {
    this.generationMax = minimum;
    this.makeGeneration = makeGeneration;
    this.younger = makeGeneration();
    this.elder = makeGeneration();
  }

  get size(): number {
    return this.younger.size + this.elder.size;
  }

  /** True if the next new key makes the map forget. */
  get isFull(): boolean {
    return this.younger.size >= this.generationMax;
  }

  get(key: K): V | undefined {
    return this.younger.get(key) ?? this.elder.get(key);
  }

  set(key: K, value: V): void {
    if (this.isFull && this.younger.get(key) === undefined) {
      this.elder = this.younger;
      this.younger = this.makeGeneration();
    } else if (this.elder.size > 0) {
      this.elder.delete(key);
    }
    this.younger.set(key, value);
  }

  delete(key: K): void {
    if (!this.younger.delete(key)) this.elder.delete(key);
  }
}
