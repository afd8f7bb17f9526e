import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Test } from 'tap';
import { deadlineMs, withDeadline } from './deadline.js';

/** The compiled program, which `npm test` builds first. */
export const programPath = fileURLToPath(new URL('../../dist/bin/countersign.js', import.meta.url));

/** A directory of this test's own, gone when the test ends. */
export async function temporaryDirectory(t: Test): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'countersign-test-'));
  t.teardown(() => rm(path, { recursive: true, force: true }));
  return path;
}

/** The environment for a child, without options for the broker that whoever runs the tests may have set. */
export function cleanEnvironment(added: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !/^(COUNTERSIGN_|NODE_OPTIONS$|_?TAP)/.test(name));
  return { ...Object.fromEntries(kept), ...added };
}

/** How a process ended and what it wrote. */
export interface Outcome {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A running child process with its collected output; killed when the test ends. */
export class Running {
  readonly child: ChildProcess;
  readonly ended: Promise<Outcome>;
  stdout = '';
  stderr = '';

  constructor(t: Test, command: string, args: readonly string[], environment: NodeJS.ProcessEnv, directory?: string) {
    this.child = spawn(command, args, { env: environment, cwd: directory, stdio: ['pipe', 'pipe', 'pipe'] });
    this.child.stdin?.on('error', () => undefined);
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text;
    });
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    this.ended = once(this.child, 'close').then(([code, signal]) => {
      return { code, signal, stdout: this.stdout, stderr: this.stderr };
    });
    // Whoever awaits `ended` sees a failed spawn; nobody has to.
    this.ended.catch(() => undefined);
    t.teardown(async () => {
      this.child.kill('SIGKILL');
      await this.ended.catch(() => undefined);
    });
  }

  /** Resolves with the match when what was written to stdout matches; rejects if the process ends before. */
  async output(pattern: RegExp, limitMs = deadlineMs): Promise<RegExpExecArray> {
    return this.written('stdout', pattern, limitMs);
  }

  /** The same for stderr. */
  async errors(pattern: RegExp, limitMs = deadlineMs): Promise<RegExpExecArray> {
    return this.written('stderr', pattern, limitMs);
  }

  /** Sends a signal and waits for the end. */
  async kill(signal: NodeJS.Signals): Promise<Outcome> {
    this.child.kill(signal);
    return withDeadline(this.ended, () => `no end after ${signal}; ${this.describe()}`);
  }

  /** Waits for the process to end by itself. */
  async finish(limitMs = deadlineMs): Promise<Outcome> {
    return withDeadline(this.ended, () => `the process did not end; ${this.describe()}`, limitMs);
  }

  private async written(name: 'stdout' | 'stderr', pattern: RegExp, limitMs: number): Promise<RegExpExecArray> {
    const stream = this.child[name];
    const found = new Promise<RegExpExecArray>((resolve, reject) => {
      const look = (): void => {
        const match = pattern.exec(this[name]);
        if (match !== null) resolve(match);
      };
      look();
      stream?.on('data', look);
      const onEnd = (): void => reject(new Error(`the process ended without ${pattern}; ${this.describe()}`));
      this.ended.then(onEnd, reject);
    });
    return withDeadline(found, () => `no ${pattern} came; ${this.describe()}`, limitMs);
  }

  private describe(): string {
    return `stdout: ${JSON.stringify(this.stdout)}, stderr: ${JSON.stringify(this.stderr)}`;
  }
}

/** Runs the countersign program to its end. @param stdin what it reads; left open where not given */
export async function runProgram(
  t: Test,
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
  stdin?: string,
): Promise<Outcome> {
  const running = new Running(t, process.execPath, [programPath, ...args], cleanEnvironment(environment));
  if (stdin !== undefined) running.child.stdin?.end(stdin);
  return running.finish();
}
