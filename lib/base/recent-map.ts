/**
 * A map that forgets what was put long ago. It has two generations: once the younger is full it becomes the elder, and
 * what the elder had is forgotten, so every operation takes constant time. (Deleting the oldest keys of a plain Map one
 * by one does not: finding the first key walks over all that were deleted.)
 */
export class RecentMap<K, V> {
  private younger = new Map<K, V>();
  private elder = new Map<K, V>();
  private readonly generationMax: number;

  /** @param minimum how many entries are kept at least; twice as many at most */
  constructor(minimum: number) {
    this.generationMax = minimum;
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
    if (this.isFull && !this.younger.has(key)) {
      this.elder = this.younger;
      this.younger = new Map();
    } else if (this.elder.size > 0) {
      this.elder.delete(key);
    }
    this.younger.set(key, value);
  }

  delete(key: K): void {
    if (!this.younger.delete(key)) this.elder.delete(key);
  }
}
