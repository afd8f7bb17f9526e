import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { CountersignError } from '../lib/base/errors.js';
import { systemClock } from '../lib/base/system-clock.js';
import { auditRows } from '../lib/broker/store-audit.js';
import { type Content, type Damage, readContents } from '../lib/broker/store-contents.js';
import { LmdbStore } from '../lib/store/lmdb-store.js';
import { ExitCode, sayError } from './failure.js';

/** Damaged rows that are named one by one. */
const damageShownMax = 20;

/** Adds `countersign store check DIR` and `countersign store export DIR`. */
export function addStoreCommands(program: Command): void {
  const store = program.command('store').description('look into the data directory of a broker that is not running');
  store
    .command('check')
    .description('read every row and tell what is damaged or does not fit the rest; exit code 1 if anything is')
    .argument('<dir>', 'the data directory')
    .action(check);
  store
    .command('export')
    .description('print sessions, subscriptions, retained and queued messages, and records as JSON lines')
    .argument('<dir>', 'the data directory')
    .action(exportAll);
}

async function check(directory: string): Promise<void> {
  const counts = new Map<string, number>();
  const count = ({ type }: Content): boolean => {
    counts.set(type, (counts.get(type) ?? 0) + 1);
    return true;
  };
  const damaged = await goThrough(directory, count, auditRows);
  const found = [...counts].map(([type, count]) => `${count} ${type}`).join(', ') || 'nothing';
  process.stdout.write(`${directory}: ${found}; ${damaged === 0 ? 'no row is damaged' : `${damaged} rows damaged`}\n`);
  if (damaged > 0) process.exitCode = ExitCode.failed;
}

async function exportAll(directory: string): Promise<void> {
  const damaged = await goThrough(directory, (content) => process.stdout.write(`${JSON.stringify(content)}\n`));
  if (damaged > 0) process.exitCode = ExitCode.failed;
}

/**
 * @param onContent returns false if whoever reads is behind
 * @param audit goes through the rows once more
 * @returns how many rows are damaged
 */
async function goThrough(
  directory: string,
  onContent: (content: Content) => boolean,
  audit?: typeof auditRows,
): Promise<number> {
  // Opening makes a directory where there is none.
  if (!existsSync(join(directory, 'data.mdb'))) {
    const text = `${directory} has no data.mdb: name the directory that \`countersign start --data\` was given`;
    throw new CountersignError('ERR_COUNTERSIGN_CONFIG', text);
  }
  const store = await LmdbStore.open({ directory, durability: 'flushed', clock: systemClock });
  let damaged = 0;
  let isBehind = false;
  const onDamage = ({ table, key, problem }: Damage): void => {
    if (++damaged <= damageShownMax) sayError(`table ${table}, row ${key}: ${problem}`);
  };
  const keep = (content: Content): void => {
    isBehind = !onContent(content);
  };
  for (const _ of readContents(store, { onDamage, onContent: keep })) {
    if (isBehind) await once(process.stdout, 'drain');
    isBehind = false;
  }
  for (const _ of audit?.(store, onDamage) ?? []);
  await store.close();
  if (damaged > damageShownMax) sayError(`${damaged - damageShownMax} more rows are damaged`);
  return damaged;
}
