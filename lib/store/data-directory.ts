import { type Stats, statfsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { missingFileError, noRoom } from './lmdb-errors.js';

/** Room that is left free, as a part of the file system and at most. */
const reservePart = 0.05;
const reserveBytesMax = 64 * 2 ** 20;
/** The system is asked this often at most. */
const validForMs = 100;

/**
 * Whether the data directory can be written to. The store stops writing before there is no room: LMDB does not take it
 * well when a write fails half way, and a little room lets an operator work. It stops as well when the data file is
 * gone or another one: LMDB would go on writing to what no start can find again.
 */
export class DataDirectory {
  private readonly directory: string;
  private readonly file: string;
  private readonly opened: Stats;
  private askedAtMs = 0;
  private found: Error | null = null;

  /** @param directory holds the data file, which is open */
  constructor(directory: string) {
    this.directory = directory;
    this.file = join(directory, 'data.mdb');
    this.opened = statSync(this.file);
  }

  /** Why nothing should be written now; null if there is no reason. */
  obstacle(nowMs: number): Error | null {
    if (Math.abs(nowMs - this.askedAtMs) < validForMs && this.found === null) return null;
    this.askedAtMs = nowMs;
    try {
      this.found = this.look();
    } catch (error) {
      this.found = error as Error;
    }
    return this.found;
  }

  private look(): Error | null {
    const { dev, ino } = this.opened;
    const file = statSync(this.file, { throwIfNoEntry: false });
    if (file?.ino !== ino || file.dev !== dev) return missingFileError(this.directory);
    const { bavail, blocks, bsize } = statfsSync(this.directory);
    const isShort = bavail * bsize < Math.min(reserveBytesMax, blocks * bsize * reservePart);
    return isShort ? noRoom : null;
  }
}
