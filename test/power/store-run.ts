import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { LmdbStore } from '../../lib/store/lmdb-store.js';
import { deliveryKey, readMessageKey } from '../../lib/store/records-keys.js';
import { Table } from '../../lib/store/store.js';
import type { Random } from '../crash/random.js';
import { cleanEnvironment } from '../helpers/command.js';
import { wallClock } from '../store/wall-clock.js';
import { DiskModel, losses, recordEnds } from './disk-model.js';
import { FaultyDisk } from './faulty-disk.js';

const rowsPerBatch = 7;
/** Disks are slower than the memory of this machine. */
const syncMs = [0, 2, 20] as const;
const fileBytesMax = 64 * 2 ** 20;
const child = fileURLToPath(new URL('../store/kill-child.ts', import.meta.url));

/** `eager` is a store that tells too early: the harness must see what it loses. */
export type StoreMode = 'flushed' | 'committed' | 'eager';

/** What the images of a run showed. */
export interface StoreTally {
  images: number;
  /** Images that did not open, or held a part of a batch, or a gap. */
  broken: string[];
  /** Images that lacked batches which had been told, and the most that one lacked. */
  imagesWithLoss: number;
  lostMax: number;
  kills: number;
  /** Batches told. */
  told: number;
}

/**
 * A store that writes batches, is killed, and goes on on the same file; after each kill its file is put together as a
 * power loss at many instants before may have left it, and opened.
 */
export class StoreRun {
  readonly tally: StoreTally = { images: 0, broken: [], imagesWithLoss: 0, lostMax: 0, kills: 0, told: 0 };
  private readonly folder: string;
  private readonly directory: string;
  private readonly durability: StoreMode;
  private readonly random: Random;
  private readonly disk: FaultyDisk;
  private readonly model: DiskModel;
  /** The last batch that is told by any process so far. */
  private lastTold = 0;

  /** @param folder holds the data file in `data`, which a store has made and closed */
  private constructor(folder: string, durability: StoreMode, random: Random) {
    this.folder = folder;
    this.durability = durability;
    this.random = random;
    this.directory = join(folder, 'data');
    this.disk = new FaultyDisk(folder);
    this.model = new DiskModel(readFileSync(join(this.directory, 'data.mdb')), fileBytesMax);
  }

  static async begin(folder: string, durability: StoreMode, random: Random): Promise<StoreRun> {
    const store = await LmdbStore.open({ directory: join(folder, 'data'), durability: 'flushed', clock: wallClock });
    await store.close();
    return new StoreRun(folder, durability, random);
  }

  /** One process, killed after a while, and images of what it left. @param instants how many, each in every loss */
  async round(killAfterMs: number, instants: number): Promise<void> {
    await this.write(killAfterMs);
    this.tally.kills++;
    const journal = this.disk.readJournal();
    let at = 0;
    this.model.told = '';
    for (const cut of this.pickCuts(journal, instants)) {
      at = this.model.replay(journal, at, cut);
      const told = Number(this.model.told.trim().split('\n').at(-1)) || this.lastTold;
      for (const loss of losses) await this.check(this.model.image(loss, this.random), told, `${loss} lost at ${cut}`);
    }
    const lines = this.model.told.trim().split('\n');
    this.tally.told += lines.length - 1;
    this.lastTold = Number(lines.at(-1)) || this.lastTold;
    // Killed, not without power: the next process finds what this one had handed over, synced or not.
    this.model.adopt(readFileSync(join(this.directory, 'data.mdb')));
  }

  /** Instants of a power loss: the end, early ones, ones right after a batch was told, and any. In order. */
  private pickCuts(journal: Buffer, instants: number): number[] {
    const ends = recordEnds(journal);
    const marks = ends.filter(({ isMark }) => isMark);
    const cuts = [journal.length];
    for (let count = 1; count < instants; count++) {
      const among = count % 3 === 1 && marks.length > 0 ? marks : count % 3 === 2 ? ends.slice(0, 60) : ends;
      cuts.push(this.random.pick(among).end);
    }
    return cuts.sort((one, other) => one - other);
  }

  private async write(killAfterMs: number): Promise<void> {
    const writer = startWriter(this.directory, this.durability, this.disk.environment(this.random.pick(syncMs)));
    writer.stdout.once('data', () => setTimeout(() => writer.kill('SIGKILL'), killAfterMs));
    writer.stdout.resume();
    await new Promise((resolve) => writer.on('close', resolve));
  }

  private putImage(bytes: Buffer): string {
    const directory = join(this.folder, 'image');
    rmSync(directory, { recursive: true, force: true });
    mkdirSync(directory);
    writeFileSync(join(directory, 'data.mdb'), bytes);
    return directory;
  }

  private async check(image: Buffer, owed: number, when: string): Promise<void> {
    this.tally.images++;
    try {
      const { last, problems } = await this.read(this.putImage(image));
      for (const problem of problems) this.tally.broken.push(`${when}: ${problem}`);
      if (last < owed) {
        this.tally.imagesWithLoss++;
        this.tally.lostMax = Math.max(this.tally.lostMax, owed - last);
      }
    } catch (error) {
      this.tally.broken.push(`${when}: ${error instanceof Error ? error.message : error}`);
    }
  }

  /** Every batch is there as a whole or not at all, and there is no gap. */
  private async read(directory: string): Promise<{ last: number; problems: string[] }> {
    const store = await LmdbStore.open({ directory, durability: 'flushed', clock: wallClock });
    const rows = store.range(Table.messages, Buffer.alloc(0), null, 1_000_000);
    const present = new Set(rows.map(({ key }) => readMessageKey(key)));
    const last = Number(String(store.get(Table.meta, Buffer.from('last')) ?? 0));
    const problems: string[] = [];
    for (const number of present) if (number > last) problems.push(`batch ${number} is there, the last is ${last}`);
    for (let number = 1; number <= last; number++) {
      // Batch `number + 3`, if even, deletes this one.
      const isDeleted = (number + 3) % 2 === 0 && number + 3 <= last;
      if (present.has(number) === isDeleted) problems.push(`batch ${number} is missing or back`);
      for (let session = 1; session < rowsPerBatch; session++) {
        const row = store.get(Table.deliveries, deliveryKey(session, number));
        if ((row !== null) !== present.has(number)) problems.push(`batch ${number} is torn`);
      }
    }
    await store.close();
    return { last, problems: problems.slice(0, 3) };
  }
}

function startWriter(
  directory: string,
  mode: StoreMode,
  environment: Record<string, string>,
): ChildProcessByStdio<null, Readable, null> {
  const parameters = [child, directory, mode, '0', String(rowsPerBatch)];
  return spawn(process.execPath, [...process.execArgv, ...parameters], {
    env: cleanEnvironment(environment),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

/** A process that is killed at an operation on the file, which it makes first; then the store must open. */
export async function createAndDie(folder: string, operation: number): Promise<void> {
  const directory = join(folder, 'data');
  const writer = startWriter(directory, 'flushed', new FaultyDisk(folder).environment(0, operation));
  writer.stdout.once('data', () => writer.kill('SIGKILL'));
  await new Promise((resolve) => writer.on('close', resolve));
  const store = await LmdbStore.open({ directory, durability: 'flushed', clock: wallClock });
  await store.close();
}
