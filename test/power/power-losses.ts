import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Random } from '../crash/random.js';
import type { Machine } from '../crash/run.js';
import { DiskModel, losses } from './disk-model.js';
import { FaultyDisk } from './faulty-disk.js';

const fileBytesMax = 256 * 2 ** 20;
/** How much longer than here a sync takes. */
const syncMs = [0, 2, 10] as const;
/** Operations on the data file that a start makes within its first moments. */
const startOperations = 40;
/** Part of the kills after which the machine goes on: page cache and boot id are as they were. */
const killsOnly = 0.25;

/** A machine that loses its power with most kills: the next broker finds what the disk had, and another boot id. */
export class PowerLosses implements Machine {
  readonly directory: string;
  /** Power losses so far, and those of them that left sectors in question. */
  losses = 0;
  sectorsAtRisk = 0;
  private readonly file: string;
  private readonly disk: FaultyDisk;
  private readonly random: Random;
  private model: DiskModel | null = null;

  /** @param folder an empty directory */
  constructor(folder: string, random: Random) {
    this.directory = join(folder, 'data');
    this.file = join(this.directory, 'data.mdb');
    mkdirSync(this.directory);
    this.disk = new FaultyDisk(folder);
    this.random = random;
  }

  environment(dies: boolean): Record<string, string> {
    const killAfter = dies ? 1 + this.random.below(startOperations) : 0;
    return this.disk.environment(this.random.pick(syncMs), killAfter);
  }

  onKilled(): void {
    const journal = this.disk.readJournal();
    this.model ??= new DiskModel(Buffer.alloc(0), fileBytesMax);
    this.model.replay(journal, 0, journal.length);
    rmSync(this.disk.journal, { force: true });
    if (this.random.chance(killsOnly)) {
      this.model.adopt(readFileSync(this.file));
      return;
    }
    this.losses++;
    this.sectorsAtRisk += this.model.sectorsAtRisk;
    const image = this.model.image(this.random.pick(losses), this.random);
    rmSync(join(this.directory, 'lock.mdb'), { force: true });
    writeFileSync(this.file, image);
    this.model = new DiskModel(image, fileBytesMax);
    this.disk.reboot();
  }
}
