import type { Random } from '../crash/random.js';

/** What a disk writes as a whole; anything larger may be torn at these borders. */
const sectorBytes = 512;
/** type u8, id u32, offset u64, length u32, little endian; `W` and `D` are followed by the bytes written. */
const headBytes = 17;

/** What of the writes that were not synced is found after the power has gone. */
export const losses = [
  'everything',
  'nothing',
  'some sectors',
  'most sectors',
  'all but the roots',
  'roots only',
] as const;
export type Loss = (typeof losses)[number];

/** Where each record of a journal ends, and whether it is a mark: something that the process has told. */
export function recordEnds(journal: Buffer): { readonly end: number; readonly isMark: boolean }[] {
  const ends: { end: number; isMark: boolean }[] = [];
  for (let at = 0; at + headBytes <= journal.length; ) {
    const isMark = journal[at] === 'M'.charCodeAt(0);
    at += headBytes + journal.readUInt32LE(at + 13);
    ends.push({ end: at, isMark });
  }
  return ends;
}

/** A state of a sector that may be found on the disk, and the operation after which it was so. */
interface Version {
  readonly operation: number;
  readonly bytes: Buffer;
}

/**
 * A data file as a disk may hold it, from the operations that `disk.c` wrote down:
 * ```
 *   W write   D … E write that is on the disk by its end   S … T sync: what was written before S is on the disk at T
 *   L new length of the file   M written to stdout, by then
 * ```
 * Every sector has the state of the last sync and the states that writes since then gave it; a power loss leaves any
 * one of them, of each sector by itself.
 */
export class DiskModel {
  private cache: Buffer;
  private readonly synced: Buffer;
  private bytes: number;
  private syncedBytes: number;
  private readonly unsynced = new Map<number, Version[]>();
  private operation = 0;
  private readonly syncs = new Map<number, { operation: number; bytes: number }>();
  /** What the process has told on stdout. */
  told = '';
  private readonly syncedWrites = new Map<number, { operation: number; offset: number; length: number }>();

  /** @param maxBytes no file may grow beyond that */
  constructor(initial: Buffer, maxBytes: number) {
    this.cache = Buffer.alloc(maxBytes);
    this.synced = Buffer.alloc(maxBytes);
    initial.copy(this.cache);
    initial.copy(this.synced);
    this.bytes = initial.length;
    this.syncedBytes = initial.length;
  }

  /** Sectors that a power loss may leave in more than one state. */
  get sectorsAtRisk(): number {
    return this.unsynced.size;
  }

  /** Plays the records of a journal that end at or before `cut`, from `from` on. @returns where it stopped */
  replay(journal: Buffer, from: number, cut: number): number {
    let at = from;
    while (at + headBytes <= cut) {
      const type = String.fromCharCode(journal[at]);
      const id = journal.readUInt32LE(at + 1);
      const offset = Number(journal.readBigUInt64LE(at + 5));
      const length = journal.readUInt32LE(at + 13);
      const end = at + headBytes + length;
      if (end > cut) break;
      this.apply(type, id, offset, journal.subarray(at + headBytes, end));
      at = end;
    }
    return at;
  }

  /** The process was killed and the machine lives on: what it had handed over by then is in the page cache. */
  adopt(file: Buffer): void {
    for (const [sector, versions] of this.unsynced) {
      const start = sector * sectorBytes;
      const found = Buffer.alloc(sectorBytes);
      file.copy(found, 0, start, start + sectorBytes);
      // Written down and not carried out.
      while (versions.length > 0 && !versions[versions.length - 1].bytes.equals(found)) versions.pop();
      if (versions.length === 0) this.unsynced.delete(sector);
    }
    this.cache.fill(0);
    file.copy(this.cache);
    this.bytes = file.length;
    this.syncs.clear();
    this.syncedWrites.clear();
  }

  /** The file as it may be found after a power loss now. */
  image(loss: Loss, random: Random): Buffer {
    const image = Buffer.from(this.synced.subarray(0, this.bytes));
    // The file's new length is lost with what made it longer.
    let length = loss === 'nothing' ? this.bytes : this.syncedBytes;
    for (const [sector, versions] of this.unsynced) {
      // The first two pages hold the roots.
      const isRoot = sector < 16;
      const newest = versions[versions.length - 1];
      let found: Version | null = null;
      if (loss === 'nothing' || (loss === 'all but the roots' ? isRoot : loss === 'roots only' && !isRoot))
        found = newest;
      else if (loss === 'some sectors' && random.chance(0.5)) found = random.pick(versions);
      else if (loss === 'most sectors' && random.chance(0.1)) found = random.pick(versions);
      if (found === null) continue;
      found.bytes.copy(image, sector * sectorBytes);
      length = Math.max(length, Math.min(this.bytes, (sector + 1) * sectorBytes));
    }
    return image.subarray(0, length);
  }

  private apply(type: string, id: number, offset: number, data: Buffer): void {
    switch (type) {
      case 'W':
      case 'D':
        this.write(offset, data);
        if (type === 'D') this.syncedWrites.set(id, { operation: this.operation, offset, length: data.length });
        break;
      case 'E': {
        const write = this.syncedWrites.get(id);
        if (write === undefined) break;
        const last = Math.floor((write.offset + write.length - 1) / sectorBytes);
        for (let sector = Math.floor(write.offset / sectorBytes); sector <= last; sector++) {
          this.settle(sector, write.operation);
        }
        break;
      }
      case 'S':
        this.syncs.set(id, { operation: this.operation, bytes: this.bytes });
        break;
      case 'T': {
        const sync = this.syncs.get(id);
        if (sync === undefined) break;
        this.syncedBytes = Math.max(this.syncedBytes, sync.bytes);
        for (const sector of [...this.unsynced.keys()]) this.settle(sector, sync.operation);
        break;
      }
      case 'M':
        this.told += data.toString();
        break;
      case 'L':
        this.bytes = Math.max(this.bytes, offset);
        break;
      default:
        throw new Error(`the journal has a record of type ${JSON.stringify(type)}`);
    }
  }

  private write(offset: number, data: Buffer): void {
    if (offset + data.length > this.cache.length) throw new Error('the data file is larger than the model');
    this.operation++;
    data.copy(this.cache, offset);
    this.bytes = Math.max(this.bytes, offset + data.length);
    const last = Math.floor((offset + data.length - 1) / sectorBytes);
    for (let sector = Math.floor(offset / sectorBytes); sector <= last; sector++) {
      const bytes = Buffer.from(this.cache.subarray(sector * sectorBytes, (sector + 1) * sectorBytes));
      const versions = this.unsynced.get(sector);
      if (versions === undefined) this.unsynced.set(sector, [{ operation: this.operation, bytes }]);
      else versions.push({ operation: this.operation, bytes });
    }
  }

  /** What a sector was after an operation is on the disk, or something newer. */
  private settle(sector: number, operation: number): void {
    const versions = this.unsynced.get(sector);
    while (versions !== undefined && versions.length > 0 && versions[0].operation <= operation) {
      versions.shift()?.bytes.copy(this.synced, sector * sectorBytes);
    }
    if (versions?.length === 0) this.unsynced.delete(sector);
  }
}
