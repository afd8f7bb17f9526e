import { writeSync } from 'node:fs';
import { CommanderError } from 'commander';
import { CountersignError } from '../lib/base/errors.js';

/** Exit codes of the program; `unsuccessful` and `overdue` tell of a published message. */
export const ExitCode = { ok: 0, failed: 1, usage: 2, unsuccessful: 3, overdue: 4, bug: 70 } as const;

const commands: ReadonlySet<string> = new Set([
  'start',
  'publish',
  'receipts',
  'config',
  'passwd',
  'clients',
  'sessions',
  'store',
]);

/** Ends the process: with 0 if the "error" was a request for help or the version, else after saying what is wrong. */
export function failWith(error: unknown): never {
  if (error instanceof CommanderError && error.exitCode === 0) process.exit(ExitCode.ok);
  if (error instanceof CommanderError) {
    // Help that was shown because no command was given has already been printed.
    if (error.code !== 'commander.help') sayError(describeUsage(error.message));
    process.exit(ExitCode.usage);
  }
  sayError(describeFailure(error));
  process.exit(isWrongConfiguration(error) ? ExitCode.usage : ExitCode.failed);
}

/** Writes `countersign: …` to stderr, before the process can end; one such line per line of the message. */
export function sayError(message: string): void {
  const lines = message.split('\n').map((line) => `countersign: ${line}\n`);
  try {
    writeSync(2, lines.join(''));
  } catch {
    // Nobody reads stderr: the exit code still tells.
  }
}

function isWrongConfiguration(error: unknown): boolean {
  return error instanceof CountersignError && error.code === 'ERR_COUNTERSIGN_CONFIG';
}

function describeUsage(message: string): string {
  const problem = oneLine(message.replace(/^error: /, '')).replace(/\.$/, '');
  const [, , command = ''] = process.argv;
  const help = commands.has(command) ? `countersign ${command} --help` : 'countersign --help';
  return /did you mean/i.test(problem) ? problem : `${problem}; see ${help}`;
}

interface SystemError extends NodeJS.ErrnoException {
  readonly address?: string;
  readonly port?: number;
  readonly hostname?: string;
}

/** What an operator can do about an error from the system while starting, on one line. */
export function describeFailure(error: unknown): string {
  if (error instanceof CountersignError) return error.message;
  if (!(error instanceof Error)) return oneLine(String(error));
  const { code, address, port, path, hostname } = error as SystemError;
  const place = address === undefined ? (hostname ?? 'the host') : `${address}:${port}`;
  switch (code) {
    case 'EADDRINUSE':
      return `${place} is in use by another program: stop that, or choose another port with --port`;
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
      return `${place} is not an address of this machine: choose another with --host`;
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      if (path !== undefined)
        return `${path} is not accessible to this user (${code}): change its rights, or choose --data`;
      return `not permitted to listen on ${place}: choose a port above 1023 with --port, or grant the right to bind`;
    case undefined:
      return oneLine(error.message);
    default:
      return `${oneLine(error.message)} (${code})`;
  }
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, ' ').trim();
}
