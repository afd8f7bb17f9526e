import { spawn } from 'node:child_process';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { open } from 'lmdb';
import t, { type Test } from 'tap';
import { LmdbStore } from '../../lib/store/lmdb-store.js';
import { decodeRetained, encodeRetained } from '../../lib/store/records.js';
import { messageKey, readMessageKey } from '../../lib/store/records-keys.js';
import { Table } from '../../lib/store/store.js';
import { wallClock } from './wall-clock.js';

const parent = mkdtempSync(join(tmpdir(), 'countersign-open-'));
t.teardown(() => rmSync(parent, { recursive: true, force: true }));

function openStore(directory: string): Promise<LmdbStore> {
  return LmdbStore.open({ directory, durability: 'flushed', clock: wallClock });
}

async function refuses(t: Test, directory: string, code: string, message: RegExp): Promise<void> {
  await t.rejects(openStore(directory), { code: `ERR_COUNTERSIGN_DATA_${code}`, message });
  await t.rejects(openStore(directory), { message }, 'and a second time');
}

async function makeStore(name: string, rows = 0): Promise<string> {
  const directory = join(parent, name);
  const store = await openStore(directory);
  for (let row = 0; row < rows; row++) store.putNew(Table.messages, messageKey(row), Buffer.alloc(200, row));
  await store.close();
  return directory;
}

t.test('a data directory is created with its parents, for its owner only', async (t) => {
  const directory = await makeStore('a/b/c');
  t.equal(statSync(directory).mode & 0o777, 0o700);
});

t.test('a second store in this process is refused, by any name of the directory, until the first closes', async (t) => {
  const directory = join(parent, 'twice');
  const store = await openStore(directory);
  symlinkSync(directory, join(parent, 'twice-link'));
  await refuses(t, directory, 'LOCKED', /twice is in use by this process; stop that first/);
  await refuses(t, join(parent, 'twice-link'), 'LOCKED', /twice is in use/);
  store.put(Table.meta, Buffer.from('k'), Buffer.from('still well'));
  await new Promise<void>((resolve) => store.commit(resolve));
  await store.close();
  const again = await openStore(directory);
  t.equal(again.get(Table.meta, Buffer.from('k'))?.toString(), 'still well');
  await again.close();
});

t.test('a second process is refused with the id of the first, and not once that is killed', async (t) => {
  const directory = join(parent, 'locked');
  const path = fileURLToPath(new URL('./kill-child.ts', import.meta.url));
  const child = spawn(process.execPath, [...process.execArgv, path, directory, 'flushed', '1', '5']);
  await new Promise<void>((resolve) => {
    child.stdout.once('data', () => resolve());
  });
  child.stdout.resume();
  const message = new RegExp(`locked is in use by process ${child.pid};`);
  await refuses(t, directory, 'LOCKED', message);
  t.equal(child.exitCode, null, 'the first goes on');
  child.kill('SIGKILL');
  await new Promise((resolve) => child.once('exit', resolve));
  const store = await openStore(directory);
  await store.close();
});

t.test('an unknown format version is refused with what to do', async (t) => {
  const directory = await makeStore('format');
  const root = open<Buffer, Buffer>({ path: directory, encoding: 'binary', keyEncoding: 'binary', maxDbs: 16 });
  const meta = root.openDB<Buffer, Buffer>({ name: 'meta', encoding: 'binary', keyEncoding: 'binary' });
  await meta.put(Buffer.from('format'), Buffer.from('17'));
  await root.close();
  await refuses(
    t,
    directory,
    'FORMAT',
    /format has format "17", this version knows 4 and 3 only; run the version that wrote/,
  );
});

t.test('retained messages of format 3 are taken over, also where that was broken off', async (t) => {
  const directory = await makeStore('format-3');
  const binary = { encoding: 'binary', keyEncoding: 'binary' } as const;
  const count = 12_000;
  const leave = async (format: string, from: number): Promise<void> => {
    const root = open<Buffer, Buffer>({ path: directory, ...binary, maxDbs: 30 });
    const meta = root.openDB<Buffer, Buffer>({ name: 'meta', ...binary });
    const retained = root.openDB<Buffer, Buffer>({ name: 'retained', ...binary });
    const rows = Array.from({ length: count - from }, (_, index) => {
      const sequence = from + index + 1;
      const value = Buffer.concat([messageKey(sequence), encodeRetained(`t/${sequence}`, sequence % 3)]);
      return retained.put(Buffer.from(`t/${sequence}`), value);
    });
    await Promise.all([...rows, meta.put(Buffer.from('format'), Buffer.from(format))]);
    await root.close();
  };
  for (const [format, from] of [
    ['3', 0],
    ['4', count - 10],
  ] as const) {
    await leave(format, from);
    const store = await openStore(directory);
    const rows = store.range(Table.retainedTopics, Buffer.alloc(0), null, 2 * count);
    t.equal(rows.length, count);
    for (const [index, { key, value }] of rows.entries()) {
      const sequence = index + 1;
      const row = decodeRetained(readMessageKey(key), value);
      if (row.sequence !== sequence || row.topicName !== `t/${sequence}` || row.expiryAtMs !== sequence % 3) {
        t.fail(JSON.stringify(row));
      }
    }
    t.equal(store.get(Table.meta, Buffer.from('format'))?.toString(), '4');
    await store.close();
    const root = open<Buffer, Buffer>({ path: directory, ...binary, maxDbs: 30 });
    t.equal(root.openDB<Buffer, Buffer>({ name: 'retained', ...binary }).getCount(), 0);
    await root.close();
  }
});

t.test("another program's LMDB directory is refused and left as it was", async (t) => {
  const directory = join(parent, 'other-lmdb');
  mkdirSync(directory);
  const root = open<string, string>({ path: directory });
  await root.openDB<string, string>({ name: 'users' }).put('a', 'b');
  await root.close();
  const before = readFileSync(join(directory, 'data.mdb'));
  await refuses(t, directory, 'CORRUPT', /belongs to another program \(tables users\)/);
  t.ok(readFileSync(join(directory, 'data.mdb')).equals(before));
});

t.test('a directory with files of something else is refused', async (t) => {
  const directory = join(parent, 'home');
  mkdirSync(directory);
  writeFileSync(join(directory, 'letters.txt'), 'dear');
  await refuses(t, directory, 'CORRUPT', /holds files of something else \(letters\.txt\); name an empty or a new/);
});

t.test('what a mounted or a hidden file adds does not disturb', async () => {
  const directory = join(parent, 'mounted');
  mkdirSync(join(directory, 'lost+found'), { recursive: true });
  writeFileSync(join(directory, '.keep'), '');
  const store = await openStore(directory);
  await store.close();
});

t.test('a data file of garbage, too short, or cut off is refused', async (t) => {
  const garbage = join(parent, 'garbage');
  mkdirSync(garbage);
  writeFileSync(join(garbage, 'data.mdb'), Buffer.alloc(100_000, 'garbage '));
  await refuses(t, garbage, 'CORRUPT', /data\.mdb is not an LMDB file or its first pages are damaged/);

  const short = join(parent, 'short');
  mkdirSync(short);
  writeFileSync(join(short, 'data.mdb'), 'short');
  await refuses(t, short, 'CORRUPT', /not an LMDB file/);

  const cut = await makeStore('cut', 2_000);
  truncateSync(join(cut, 'data.mdb'), 3 * 4_096);
  await refuses(t, cut, 'CORRUPT', /is cut off/);
});

t.test('a first page overwritten is refused', async (t) => {
  const directory = await makeStore('overwritten', 100);
  const file = join(directory, 'data.mdb');
  const bytes = readFileSync(file);
  bytes.fill(0x55, 0, 4_096);
  writeFileSync(file, bytes);
  await refuses(t, directory, 'CORRUPT', /first pages are damaged/);
});

t.test('an empty data file is a new one', async () => {
  const directory = join(parent, 'empty');
  mkdirSync(directory);
  writeFileSync(join(directory, 'data.mdb'), '');
  const store = await openStore(directory);
  await store.close();
});

t.test('a path that is a file is refused as unwritable', async (t) => {
  const file = join(parent, 'file');
  writeFileSync(file, 'x');
  await refuses(t, file, 'UNWRITABLE', /file cannot be created, read and written \(.*\); make it belong to the user/);
  await refuses(t, join(file, 'below'), 'UNWRITABLE', /ENOTDIR/);
});

const isRoot = process.getuid?.() === 0;

t.test('a directory without permission is refused as unwritable', { skip: isRoot && 'root may write' }, async (t) => {
  const directory = join(parent, 'forbidden');
  mkdirSync(directory, { mode: 0o500 });
  await refuses(t, directory, 'UNWRITABLE', /EACCES/);
  chmodSync(directory, 0o700);
});

t.test('a file system that cannot be written is refused', { skip: process.platform !== 'linux' }, async (t) => {
  await refuses(t, '/proc/countersign', 'UNWRITABLE', /\/proc\/countersign cannot be created/);
});
