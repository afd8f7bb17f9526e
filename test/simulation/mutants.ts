import { spawn } from 'node:child_process';
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Mutation, mutations } from './mutations.js';

/** Seeds that a mistake may survive. */
const seedsMax = 2000;
/** The compiled simulator with the broker, and where its mutants are put: packages are found from there too. */
const compiled = join(dirname(fileURLToPath(import.meta.url)), '../..');
const mutants = join(compiled, '../mutants');

interface Caught {
  readonly seed: number;
  readonly invariant: string;
}

/** A copy of everything with one mistake in it. @throws Error if there is no place for it, or more than one */
function build({ name, file, find, replace }: Mutation, directory: string): void {
  cpSync(compiled, directory, { recursive: true });
  const path = join(directory, 'lib', file);
  const parts = readFileSync(path, 'utf8').split(find);
  if (parts.length !== 2) throw new Error(`"${name}" fits ${parts.length - 1} places of lib/${file}, not one`);
  writeFileSync(path, parts.join(replace));
}

/** Plays seeds against a mutant until one fails. @returns null if it survives them all */
function play(directory: string): Promise<Caught | null> {
  const main = join(directory, 'test/simulation/main.js');
  const child = spawn(process.execPath, [main, '--seeds', String(seedsMax), '--brief'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => {
      if (code === 0) resolve(null);
      else if (output === '') reject(new Error(`the simulator ended with ${code} and said nothing`));
      else resolve(JSON.parse(output) as Caught);
    });
  });
}

let played = 0;
let survivors = 0;
rmSync(mutants, { recursive: true, force: true });
const width = Math.max(...mutations.map(({ name }) => name.length));
process.stdout.write(`${'mistake'.padEnd(width)}  seed  invariant\n`);
const only = process.argv[2];
for (const [at, mutation] of mutations.entries()) {
  if (only !== undefined && !mutation.name.includes(only)) continue;
  played++;
  const directory = join(mutants, String(at));
  let result: string;
  try {
    build(mutation, directory);
    const caught = await play(directory);
    result =
      caught === null ? `   -  survived ${seedsMax} seeds` : `${String(caught.seed).padStart(4)}  ${caught.invariant}`;
    if (caught === null) survivors++;
  } catch (error) {
    survivors++;
    result = `   -  ${error instanceof Error ? error.message : String(error)}`;
  }
  process.stdout.write(`${mutation.name.padEnd(width)}  ${result}\n`);
}
rmSync(mutants, { recursive: true, force: true });
process.stdout.write(survivors === 0 ? `all ${played} were caught\n` : `${survivors} were not caught\n`);
process.exitCode = survivors === 0 ? 0 : 1;
