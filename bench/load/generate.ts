import { spawn } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { pinned } from './brokers.js';
import type { LoadResult } from './options.js';

const generatorPath = join(dirname(fileURLToPath(import.meta.url)), 'generator.js');
const generatorLimitMs = 800_000;

/**
 * Runs the generator on CPU 1; rejects with what it wrote to stderr when it fails.
 * @param program another generator that takes its options and gives its result in the same way
 */
export function generate(options: object, program = generatorPath): Promise<LoadResult> {
  return new Promise((resolve, reject) => {
    const [command, ...args] = pinned(1, [process.execPath, program, JSON.stringify(options)]);
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], timeout: generatorLimitMs });
    let output = '';
    let errors = '';
    child.stdout.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
    child.stderr.on('data', (chunk: Buffer) => {
      errors += chunk.toString();
    });
    const onExit = () => child.kill('SIGKILL');
    process.once('exit', onExit);
    child.once('error', reject);
    child.once('close', (code) => {
      process.off('exit', onExit);
      if (code === 0) resolve(JSON.parse(output) as LoadResult);
      else reject(new Error(errors.trim() || `the generator ended with code ${code}`));
    });
  });
}
