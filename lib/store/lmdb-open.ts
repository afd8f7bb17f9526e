import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { type Database, open, type RootDatabase } from 'lmdb';
import { CountersignError } from '../base/errors.js';
import { extendToLastPage, readMeta } from './lmdb-meta.js';
import { Table, tableNames } from './store.js';
import { moveRetained, oldRetainedTable } from './upgrade.js';

/** Version of the bytes in `records.ts`; a change to them that older code cannot read raises it. */
export const storeFormat = '4';
/** The one before, whose rows are brought up to date at the start. */
const formatBefore = '3';

export type BinaryDatabase = Database<Buffer, Buffer>;

/** An open data directory that belongs to this store alone. */
export interface Environment {
  /** Absolute path without symbolic links. */
  readonly directory: string;
  readonly root: RootDatabase<Buffer, Buffer>;
  /** By number of the table. */
  readonly tables: readonly BinaryDatabase[];
}

/** Directories that this process has open: LMDB would share one environment between two stores. */
const openDirectories = new Set<string>();
const formatKey = Buffer.from('format');
const dataFile = 'data.mdb';
/** Where a new data file is made, so that a crash leaves a whole one or none. */
const nursery = '.new';
const ownFiles = new Set([dataFile, 'lock.mdb', 'lost+found']);
const binary = { encoding: 'binary', keyEncoding: 'binary' } as const;

/**
 * Opens or creates a data directory.
 * @param mapSizeBytes address space to reserve; only a first size, LMDB enlarges it when it must
 * @throws CountersignError with code ERR_COUNTERSIGN_DATA_LOCKED, _UNWRITABLE, _CORRUPT or _FORMAT
 */
export async function openEnvironment(givenDirectory: string, mapSizeBytes: number): Promise<Environment> {
  const directory = prepareDirectory(givenDirectory);
  if (openDirectories.has(directory)) throw lockedError(directory, 'this process');
  openDirectories.add(directory);
  let root: RootDatabase<Buffer, Buffer> | null = null;
  try {
    checkFiles(directory);
    if (isEmpty(directory)) await createDataFile(directory, mapSizeBytes);
    root = openRoot(directory, mapSizeBytes);
    checkOnlyReader(directory, root);
    extendToLastPage(join(directory, dataFile));
    return { directory, root, tables: await openTables(directory, root) };
  } catch (error) {
    await root?.close();
    openDirectories.delete(directory);
    throw error;
  }
}

/** Lets this process open the directory again. */
export function forgetDirectory(directory: string): void {
  openDirectories.delete(directory);
}

function prepareDirectory(directory: string): string {
  try {
    makeDirectory(resolve(directory));
    accessSync(directory, constants.R_OK | constants.W_OK | constants.X_OK);
    const file = join(directory, dataFile);
    if (existsSync(file)) accessSync(file, constants.R_OK | constants.W_OK);
    return realpathSync(directory);
  } catch (error) {
    throw unwritableError(directory, error);
  }
}

/** Node's own recursive `mkdir` never returns where a parent exists and refuses with ENOENT, as /proc does. */
function makeDirectory(directory: string): void {
  if (existsSync(directory)) return;
  if (!existsSync(dirname(directory))) makeDirectory(dirname(directory));
  mkdirSync(directory, { mode: 0o700 });
}

function isEmpty(directory: string): boolean {
  const file = join(directory, dataFile);
  return !existsSync(file) || statSync(file).size === 0;
}

/** Makes an empty data file: aside first, since one that a power loss cut short would look like a damaged one. */
async function createDataFile(directory: string, mapSizeBytes: number): Promise<void> {
  const aside = join(directory, nursery);
  try {
    rmSync(aside, { recursive: true, force: true });
    mkdirSync(aside, { mode: 0o700 });
    const root = openRoot(aside, mapSizeBytes);
    try {
      await openTables(aside, root);
    } finally {
      await root.close();
    }
    sync(join(aside, dataFile));
    renameSync(join(aside, dataFile), join(directory, dataFile));
    sync(directory);
    rmSync(aside, { recursive: true, force: true });
  } catch (error) {
    throw error instanceof CountersignError ? error : unwritableError(directory, error);
  }
}

function sync(path: string): void {
  const file = openSync(path, 'r');
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

/** Refuses what is plainly not a data directory of ours before LMDB maps it: a mapping may fail with a signal. */
function checkFiles(directory: string): void {
  const foreign = readdirSync(directory).filter((name) => !ownFiles.has(name) && !name.startsWith('.'));
  if (foreign.length > 0) {
    const named = foreign.slice(0, 3).join(', ') + (foreign.length > 3 ? ', …' : '');
    throw corruptError(directory, `it holds files of something else (${named}); name an empty or a new directory`);
  }
  const file = readMeta(join(directory, dataFile));
  if (file === null || file.sizeBytes === 0) return;
  if (!file.valid) throw corruptError(directory, `${dataFile} is not an LMDB file or its first pages are damaged`);
  const lastRoot = Math.max(...file.rootPages);
  if ((lastRoot + 1) * file.pageBytes > file.sizeBytes) {
    throw corruptError(directory, `${dataFile} is cut off: ${file.sizeBytes} bytes, its root is page ${lastRoot}`);
  }
}

function openRoot(directory: string, mapSizeBytes: number): RootDatabase<Buffer, Buffer> {
  const options = {
    ...{ path: directory, noSubdir: false, mapSize: mapSizeBytes, maxDbs: tableNames.length + 4 },
    // Begin from what was synced, after `kill -9` too. LMDB would else build on a transaction that is in the page cache
    // only and reuse pages of the last synced one: a power loss before its first sync would leave neither.
    safeRestore: true,
    ...binary,
  };
  try {
    return open<Buffer, Buffer>(options);
  } catch (error) {
    const code = (error as { code?: unknown }).code;
    // LMDB's own codes are negative; others are errno.
    if (typeof code === 'number' && code > 0) throw unwritableError(directory, error);
    throw corruptError(directory, `LMDB cannot open it (${describe(error)})`, error);
  }
}

/**
 * Makes sure that no other process has the directory open. LMDB holds a kernel lock while open and empties its table of
 * readers when it opens alone; each store keeps a reader's slot from here on. So any slot but ours is a live process,
 * and nothing is left over when one is killed. Of two that start at once, both may be refused, never none.
 */
function checkOnlyReader(directory: string, root: RootDatabase<Buffer, Buffer>): void {
  root.get(formatKey);
  const readers = root.readerList().match(/^\s*\d+ .*$/gm) ?? [];
  if (readers.length <= 1) return;
  const others = readers.map((line) => line.trim().split(' ')[0]).filter((pid) => pid !== String(process.pid));
  throw lockedError(directory, others.length > 0 ? `process ${others.join(', ')}` : 'another process');
}

async function openTables(directory: string, root: RootDatabase<Buffer, Buffer>): Promise<BinaryDatabase[]> {
  const present = Array.from(root.getKeys(), (key) => Buffer.from(key).toString('latin1').replace(/\0$/, ''));
  if (present.length > 0 && !present.includes(tableNames[Table.meta])) {
    throw corruptError(
      directory,
      `its LMDB file belongs to another program (tables ${present.slice(0, 3).join(', ')})`,
    );
  }
  const openTable = (name: string): BinaryDatabase => root.openDB<Buffer, Buffer>({ name, ...binary });
  const meta = openTable(tableNames[Table.meta]);
  const found = meta.get(formatKey)?.toString('latin1');
  if (found !== undefined && found !== storeFormat && found !== formatBefore) throw formatError(directory, found);
  const tables = tableNames.map((name, table) => (table === Table.meta ? meta : openTable(name)));
  if (found !== undefined) {
    // First of all: the version before must not open what it does not know.
    if (found === formatBefore) await meta.put(formatKey, Buffer.from(storeFormat, 'latin1'));
    if (present.includes(oldRetainedTable)) {
      moveRetained(root, openTable(oldRetainedTable), tables[Table.retainedTopics]);
    }
    await root.flushed;
    return tables;
  }
  // A first start may have died between creating the tables and naming the format: then all are empty.
  const foreign = present.filter((name) => !(tableNames as readonly string[]).includes(name));
  if (foreign.length > 0 || tables.some((table) => table.getKeysCount({ limit: 1 }) > 0)) {
    throw corruptError(directory, 'its tables hold rows and no format version');
  }
  await meta.put(formatKey, Buffer.from(storeFormat, 'latin1'));
  await root.flushed;
  return tables;
}

function lockedError(directory: string, holder: string): CountersignError {
  return new CountersignError(
    'ERR_COUNTERSIGN_DATA_LOCKED',
    `data directory ${directory} is in use by ${holder}; stop that first, or give this broker a directory of its own`,
  );
}

function unwritableError(directory: string, cause: unknown): CountersignError {
  return new CountersignError(
    'ERR_COUNTERSIGN_DATA_UNWRITABLE',
    `data directory ${directory} cannot be created, read and written (${describe(cause)}); ` +
      'make it belong to the user that runs the broker, or name another',
    { cause },
  );
}

function corruptError(directory: string, what: string, cause?: unknown): CountersignError {
  return new CountersignError(
    'ERR_COUNTERSIGN_DATA_CORRUPT',
    `data directory ${directory} is not usable: ${what}. Nothing in it was changed; restore a copy or name another`,
    { cause },
  );
}

function formatError(directory: string, found: string): CountersignError {
  return new CountersignError(
    'ERR_COUNTERSIGN_DATA_FORMAT',
    `data directory ${directory} has format ${JSON.stringify(found.slice(0, 20))}, ` +
      `this version knows ${storeFormat} and ${formatBefore} only; ` +
      'run the version that wrote it, or start on a new directory: this version has no migration from that format',
  );
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
