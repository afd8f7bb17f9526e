import { closeSync, existsSync, fstatSync, openSync, readSync, truncateSync } from 'node:fs';

/** What the first pages of LMDB's data file say. */
export interface MetaPages {
  readonly sizeBytes: number;
  /** False if the first pages are not LMDB's; the rest is 0 then. */
  readonly valid: boolean;
  readonly pageBytes: number;
  /** True if the newest transaction is on the disk as a whole. */
  readonly isSynced: boolean;
  /** Pages that the synced transaction's trees begin with. */
  readonly rootPages: readonly number[];
  /** The last page that any of the transactions uses. */
  readonly lastPage: number;
}

interface Meta {
  readonly isSynced: boolean;
  readonly rootPages: readonly number[];
  readonly lastPage: number;
  readonly transaction: bigint;
}

const metaMagic = 0xbeefc0de;
const noPage = 0xffffffffffffffffn;
const metaBytes = 160;
const unsyncedFlag = 0x1000;

/**
 * Reads LMDB's meta pages; null without a file. There are three: of the last two transactions, synced or not, in the
 * first two pages, and in the second half of the first page that of the last transaction that is on the disk as a
 * whole, which is what a start goes on from. Fields of each, little endian:
 * ```
 *   24 magic u32 (not in the third)   48 page size u32   52 flags u16   88 root of free pages u64
 *   136 root of table names u64   144 last page u64   152 transaction u64
 * ```
 */
export function readMeta(path: string): MetaPages | null {
  if (!existsSync(path)) return null;
  const file = openSync(path, 'r');
  try {
    const sizeBytes = fstatSync(file).size;
    const invalid = { sizeBytes, valid: false, isSynced: false, pageBytes: 0, rootPages: [], lastPage: 0 };
    const first = readAt(file, 0);
    const pageBytes = first.readUInt32LE(48);
    const isPageSize = pageBytes >= 256 && pageBytes <= 65_536 && Number.isInteger(Math.log2(pageBytes));
    if (first.readUInt32LE(24) !== metaMagic || !isPageSize) return invalid;
    const second = readAt(file, pageBytes);
    if (second.readUInt32LE(24) !== metaMagic) return invalid;
    const metas = [first, second, readAt(file, pageBytes / 2)].map(decode);
    const synced = metas.filter(({ isSynced }) => isSynced);
    const { rootPages, transaction } = newestOf(synced.length > 0 ? synced : metas);
    const isSynced = transaction === newestOf(metas).transaction;
    const lastPage = Math.max(...metas.map((meta) => meta.lastPage));
    return { sizeBytes, valid: true, isSynced, pageBytes, rootPages, lastPage };
  } finally {
    closeSync(file);
  }
}

/** True if the newest transaction of a data file is not on the disk as a whole, as far as LMDB knows. */
export function hasUnsynced(path: string): boolean {
  const meta = readMeta(path);
  return meta?.valid === true && !meta.isSynced;
}

/** Pages at the end may never have been written; reading them through the map must not fault. */
export function extendToLastPage(path: string): void {
  const meta = readMeta(path);
  if (meta === null || !meta.valid) return;
  const bytes = (meta.lastPage + 1) * meta.pageBytes;
  if (meta.sizeBytes < bytes) truncateSync(path, bytes);
}

function readAt(file: number, position: number): Buffer {
  const bytes = Buffer.alloc(metaBytes);
  readSync(file, bytes, 0, metaBytes, position);
  return bytes;
}

function decode(bytes: Buffer): Meta {
  const transaction = bytes.readBigUInt64LE(152);
  const pages = [bytes.readBigUInt64LE(88), bytes.readBigUInt64LE(136)];
  return {
    // A file that was never written to has no third meta page.
    isSynced: transaction > 0n && (bytes.readUInt16LE(52) & unsyncedFlag) === 0,
    rootPages: pages.map((page) => (page === noPage ? 0 : Number(page))),
    lastPage: Number(bytes.readBigUInt64LE(144)),
    transaction,
  };
}

function newestOf(metas: readonly Meta[]): Meta {
  return metas.reduce((newest, meta) => (meta.transaction > newest.transaction ? meta : newest));
}
