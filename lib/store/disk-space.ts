import { statfsSync } from 'node:fs';

/** Room that is left free, as a part of the file system and at most. */
const reservePart = 0.05;
const reserveBytesMax = 64 * 2 ** 20;
/** The system is asked this often at most. */
const validForMs = 100;

/**
 * Room on the file system of the data directory. The store stops writing before there is none: LMDB does not take it
 * well when a write fails half way, and a little room lets an operator work.
 */
export class DiskSpace {
  private readonly directory: string;
  private askedAtMs = 0;
  private short = false;

  constructor(directory: string) {
    this.directory = directory;
  }

  /** True if there is less room than the reserve. */
  isShort(nowMs: number): boolean {
    if (Math.abs(nowMs - this.askedAtMs) < validForMs && !this.short) return false;
    this.askedAtMs = nowMs;
    const { bavail, blocks, bsize } = statfsSync(this.directory);
    this.short = bavail * bsize < Math.min(reserveBytesMax, blocks * bsize * reservePart);
    return this.short;
  }
}
