import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';

/** Writes what a long run has shown, for docs/reliability.md; without COUNTERSIGN_RESULTS, a directory, nothing. */
export function keepResults(name: string, results: Readonly<Record<string, unknown>>): void {
  const directory = process.env.COUNTERSIGN_RESULTS;
  if (directory === undefined) return;
  mkdirSync(directory, { recursive: true });
  const machine = { date: new Date().toISOString().slice(0, 10), node: process.version, cpus: cpus().length };
  writeFileSync(join(directory, `${name}.json`), `${JSON.stringify({ ...machine, ...results }, null, 2)}\n`);
}
