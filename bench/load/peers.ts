import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ProtocolLevel, QualityOfService } from './options.js';

/** Where and how a peer is to be started. */
export interface LaunchPlace {
  readonly port: number;
  /** An empty directory of its own. */
  readonly directory: string;
  readonly program: string;
}

/** A broker that can be measured. A new one is a new row of `peers`. */
export interface Peer {
  readonly name: string;
  readonly title: string;
  /** What it has recorded when it acknowledges, in words. */
  readonly durability: string;
  readonly protocols: readonly ProtocolLevel[];
  /** The highest QoS it serves. */
  readonly maximumQos: QualityOfService;
  /** True if it tells how long commits take, at `/metrics`. */
  readonly tellsCommits: boolean;
  /** Path of the program, null when it is not on this machine. */
  find(): string | null;
  version(program: string): string;
  /** Command line; writes a configuration into the directory if the program needs one. */
  launch(place: LaunchPlace): readonly string[];
}

const servesAll = { maximumQos: 2, tellsCommits: false } as const;

const here = dirname(fileURLToPath(import.meta.url));

/** The folder of the nearest package.json above this file. */
export const repositoryRoot = ((): string => {
  let directory = here;
  while (!existsSync(join(directory, 'package.json')) && dirname(directory) !== directory) {
    directory = dirname(directory);
  }
  return directory;
})();

/** Path of a program on PATH or in the places of system daemons, null if there is none. */
export function findProgram(name: string): string | null {
  const directories = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin'];
  return directories.map((directory) => join(directory, name)).find((path) => existsSync(path)) ?? null;
}

/** First version number that the program prints, on either output and whatever its exit code. */
function printedVersion(program: string, ...args: string[]): string {
  let output: string;
  try {
    output = execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], timeout: 10_000 });
  } catch (error) {
    // Mosquitto prints its version with its help, and its help is an error.
    const { stdout, stderr } = error as { readonly stdout?: string; readonly stderr?: string };
    output = `${stdout ?? ''}${stderr ?? ''}`;
  }
  return /\d+\.\d+(\.\d+)?/.exec(output)?.[0] ?? 'unknown';
}

function packageVersion(path: string): string {
  const { version } = JSON.parse(readFileSync(join(repositoryRoot, path), 'utf8')) as { readonly version: string };
  return version;
}

function orNull(path: string): string | null {
  return existsSync(path) ? path : null;
}

function countersign(name: string, title: string, durability: string, flags: (directory: string) => string[]): Peer {
  return {
    name,
    title,
    durability,
    protocols: [4, 5],
    ...servesAll,
    tellsCommits: name !== 'countersign',
    find: () => orNull(join(here, '../../bin/countersign.js')),
    version: () => packageVersion('package.json'),
    launch: ({ port, directory, program }) => {
      const start = ['start', '--host', '127.0.0.1', '--port', String(port)];
      return [process.execPath, program, ...start, ...flags(directory), '--log-level', 'error'];
    },
  };
}

function mosquitto(name: string, title: string, durability: string, persistence: (dir: string) => string[]): Peer {
  return {
    name,
    title,
    durability,
    protocols: [4, 5],
    ...servesAll,
    find: () => findProgram('mosquitto'),
    version: (program) => printedVersion(program, '-h'),
    launch: ({ port, directory, program }) => {
      const lines = [
        `listener ${port} 127.0.0.1`,
        'allow_anonymous true',
        'max_queued_messages 0',
        'max_inflight_messages 1000',
        'log_dest none',
        ...persistence(directory),
      ];
      return [program, '-c', configure(directory, lines)];
    },
  };
}

function configure(directory: string, lines: readonly string[]): string {
  const path = join(directory, 'broker.conf');
  writeFileSync(path, `${lines.join('\n')}\n`);
  return path;
}

function subdirectory(directory: string, name: string): string {
  const path = join(directory, name);
  mkdirSync(path);
  return path;
}

/** Rewrites its database as often as it can be told to. Started as root it becomes nobody, unless told its user. */
function persistStrictly(directory: string): string[] {
  const user = process.getuid?.() === 0 ? ['user root'] : [];
  const location = `persistence_location ${directory}/`;
  return ['persistence true', location, 'autosave_on_changes true', 'autosave_interval 1', ...user];
}

/** All peers, ours first; those that are not on the machine are skipped. */
export const peers: readonly Peer[] = [
  countersign('countersign', 'Countersign', 'nothing (memory)', () => ['--memory']),
  countersign('countersign-flushed', 'Countersign, flushed', 'on the disk (flushed)', (directory) => {
    return ['--data', join(directory, 'data'), '--durability', 'flushed'];
  }),
  countersign('countersign-committed', 'Countersign, committed', 'with the kernel (committed)', (directory) => {
    return ['--data', join(directory, 'data'), '--durability', 'committed'];
  }),
  mosquitto('mosquitto', 'Mosquitto', 'nothing (persistence off)', () => ['persistence false']),
  mosquitto('mosquitto-persistent', 'Mosquitto, autosave 1', 'whole database, now and then', persistStrictly),
  {
    name: 'aedes',
    title: 'Aedes',
    durability: 'nothing (memory)',
    protocols: [4],
    ...servesAll,
    find: () => orNull(join(repositoryRoot, 'node_modules/aedes/package.json')) && join(here, 'aedes-server.js'),
    version: () => packageVersion('node_modules/aedes/package.json'),
    launch: ({ port, program }) => [process.execPath, program, String(port)],
  },
  {
    name: 'flashmq',
    title: 'FlashMQ',
    durability: 'nothing',
    protocols: [4, 5],
    ...servesAll,
    find: () => findProgram('flashmq'),
    version: (program) => printedVersion(program, '--version'),
    launch: ({ port, directory, program }) => {
      const listener = `listen {\n  port ${port}\n  protocol mqtt\n  inet4_bind_address 127.0.0.1\n}`;
      const limits = ['max_qos_msg_pending_per_client 65535', 'thread_count 1', 'log_level error'];
      const lines = [listener, 'allow_anonymous true', `storage_dir ${subdirectory(directory, 'data')}`, ...limits];
      return [program, '--config-file', configure(directory, lines)];
    },
  },
  {
    name: 'nanomq',
    title: 'NanoMQ',
    durability: 'nothing',
    protocols: [4, 5],
    ...servesAll,
    find: () => findProgram('nanomq'),
    version: (program) => printedVersion(program, '--version'),
    launch: ({ port, program }) => [program, 'start', '--url', `nmq-tcp://127.0.0.1:${port}`],
  },
  {
    name: 'nats',
    title: 'NATS',
    durability: 'QoS 1 in JetStream files, unsynced',
    protocols: [4],
    ...servesAll,
    maximumQos: 1,
    find: () => findProgram('nats-server'),
    version: (program) => printedVersion(program, '--version'),
    launch: ({ port, directory, program }) => {
      const store = `jetstream { store_dir: "${subdirectory(directory, 'data')}" }`;
      const lines = ['server_name: bench', 'listen: "127.0.0.1:-1"', store, `mqtt { host: 127.0.0.1, port: ${port} }`];
      return [program, '-c', configure(directory, lines)];
    },
  },
];
