import { readFileSync } from 'node:fs';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { Command } from 'commander';
import { z } from 'zod';
import { loadSettings } from '../lib/config/load.js';
import { CountersignError } from '../lib/index.js';
import { readConfigurationFile } from './configuration-file.js';
import { escapeControls, formatValue } from './log.js';
import { passwordVariable } from './mqtt-connection.js';

/** Flags of `countersign clients` and `countersign sessions` as the command line gives them. */
interface AdminFlags {
  readonly url?: string;
  readonly tokenFile?: string;
  readonly socket?: string;
  readonly config?: string;
  readonly json?: boolean;
}

/** Where the admin listener is, and what to show it. */
interface Place {
  readonly target: { readonly socketPath: string } | { readonly host: string; readonly port: number };
  readonly token: string | null;
}

type Kind = 'clients' | 'sessions';

/** What is used of the answers of a broker, which may come from anything else that listens there. */
const sessionShape = z.looseObject({
  clientId: z.string(),
  userName: z.string().nullable(),
  connected: z.boolean(),
  address: z.string().nullable(),
  subscriptions: z.number(),
  queuedMessages: z.number(),
  inflightMessages: z.number(),
});
const detailsShape = sessionShape.extend({ filters: z.array(z.object({ filter: z.string(), qos: z.number() })) });
const pageShape = z.object({ sessions: z.array(sessionShape), next: z.string().nullable() });

const pageLimit = 1000;
const patienceMs = 30_000;
const answerBytesMax = 16 * 1024 * 1024;

/** Adds `countersign clients` and `countersign sessions`. */
export function addAdminCommands(program: Command): void {
  const clients = program.command('clients').description('who is connected to a running broker');
  const sessions = program.command('sessions').description('which sessions a running broker has');
  addCommand(clients, 'list', 'list the clients that are connected', (flags) => list('clients', flags));
  addCommand(sessions, 'list', 'list all sessions', (flags) => list('sessions', flags));
  for (const [command, kind] of [
    [clients, 'clients'],
    [sessions, 'sessions'],
  ] as const) {
    // biome-ignore format: one line
    addCommand(command, 'show <id>', 'show one by its client identifier', (flags, id) => show(kind, id, flags));
    addCommand(command, 'disconnect <id>', 'end the connection (0x98)', (flags, id) => end('clients', id, flags));
  }
  const about = 'end the session, with its subscriptions and what waits in it';
  addCommand(sessions, 'delete <id>', about, (flags, id) => end('sessions', id, flags));
}

function addCommand(
  parent: Command,
  usage: string,
  description: string,
  run: (flags: AdminFlags, id: string) => Promise<void>,
): void {
  const command = new Command(usage.split(' ', 1)[0]).description(description).copyInheritedSettings(parent);
  if (usage.includes('<id>')) command.argument('<id>', 'client identifier');
  command
    .option('--socket <path>', 'Unix socket of the admin listener')
    .option('--url <url>', 'or its address, such as http://127.0.0.1:9465')
    .option('--token-file <file>', 'file with its token')
    .option('--config <file>', "or the broker's configuration file, which says all of this")
    .option('--json', 'print JSON')
    .action((...given: unknown[]) => {
      const flags = command.opts<AdminFlags>();
      return run(flags, typeof given[0] === 'string' ? given[0] : '');
    });
  parent.addCommand(command, { isDefault: usage === 'list' });
}

async function list(kind: Kind, flags: AdminFlags): Promise<void> {
  const place = findPlace(flags);
  for (let next: string | null = '0'; next !== null; ) {
    const page: z.infer<typeof pageShape> = await ask(
      place,
      'GET',
      `/v1/${kind}?limit=${pageLimit}&after=${next}`,
      pageShape,
    );
    const lines = page.sessions.map((session) => (flags.json === true ? jsonLine(session) : describe(session)));
    process.stdout.write(lines.join(''));
    next = page.next;
  }
}

async function show(kind: Kind, id: string, flags: AdminFlags): Promise<void> {
  const session = await ask(findPlace(flags), 'GET', pathOf(kind, id), detailsShape);
  if (flags.json === true) {
    process.stdout.write(jsonLine(session));
    return;
  }
  const { filters, ...facts } = session;
  for (const [name, value] of Object.entries(facts)) process.stdout.write(`${name}: ${formatValue(value)}\n`);
  for (const { filter, qos } of filters) process.stdout.write(`subscription: ${formatValue(filter)} at QoS ${qos}\n`);
}

async function end(kind: Kind, id: string, flags: AdminFlags): Promise<void> {
  const ended = await ask(findPlace(flags), 'DELETE', pathOf(kind, id), sessionShape);
  const what = kind === 'clients' ? 'disconnected' : 'deleted';
  process.stdout.write(flags.json === true ? jsonLine(ended) : `${what} ${formatValue(id)}\n`);
}

/** One line per session; client and user are escaped, so a name is never taken for another line. */
function describe({
  clientId,
  userName,
  connected,
  address,
  queuedMessages,
  inflightMessages,
  subscriptions,
}: z.infer<typeof sessionShape>) {
  const fields = {
    ...(userName === null ? {} : { user: userName }),
    ...(connected ? { address } : { address: 'none' }),
    subscriptions,
    queued: queuedMessages,
    inflight: inflightMessages,
  };
  const pairs = Object.entries(fields).map(([name, value]) => ` ${name}=${formatValue(value)}`);
  return `${formatValue(clientId)}${pairs.join('')}\n`;
}

function jsonLine(value: object): string {
  return `${escapeControls(JSON.stringify(value))}\n`;
}

/** Dots would make a path of a name that is nothing but dots. */
function pathOf(kind: Kind, id: string): string {
  return `/v1/${kind}/${encodeURIComponent(id).replaceAll('.', '%2E')}`;
}

function findPlace({ url, tokenFile, socket, config }: AdminFlags): Place {
  if (url !== undefined && socket !== undefined) throw usageError('give --socket or --url, not both');
  const token = (file: string | undefined): string | null => (file === undefined ? null : readToken(file));
  if (socket !== undefined) return { target: { socketPath: socket }, token: token(tokenFile) };
  if (url !== undefined) return { target: readUrl(url), token: token(tokenFile) };
  const { [passwordVariable]: _, ...environment } = process.env;
  const file = config === undefined ? undefined : readConfigurationFile(config);
  const { admin } = loadSettings({ file, environment });
  if (admin === undefined) {
    throw usageError(
      'say where the broker is governed: --socket, or --url and --token-file, or --config with admin in it',
    );
  }
  const { host, port = 0 } = admin;
  const target = admin.socket === undefined ? { host, port } : { socketPath: admin.socket };
  return { target, token: token(tokenFile ?? admin.tokenFile) };
}

function readUrl(text: string): { host: string; port: number } {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url?.protocol !== 'http:' || url.hostname === '') throw usageError(`--url ${text}: give http://HOST:PORT`);
  return { host: url.hostname.replace(/^\[|\]$/g, ''), port: url.port === '' ? 80 : Number(url.port) };
}

function readToken(file: string): string {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw usageError(`--token-file ${file} cannot be read (${(error as NodeJS.ErrnoException).code})`);
  }
  const token = text.split('\n', 1)[0]?.trim() ?? '';
  if (/^[\x21-\x7e]+$/.test(token)) return token;
  throw usageError(`--token-file ${file}: its first line must be a token of printable characters`);
}

async function ask<T>({ target, token }: Place, method: string, path: string, shape: z.ZodType<T>): Promise<T> {
  const headers = token === null ? {} : { authorization: `Bearer ${token}` };
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const sent = httpRequest({ ...target, method, path, headers, timeout: patienceMs }, resolve);
    sent.on('timeout', () => sent.destroy(new Error('no answer in time')));
    sent.on('error', (error) => reject(failure(`no answer from ${nameOf(target)}: ${error.message}`)));
    sent.end();
  });
  const text = await readBody(response);
  if (response.statusCode === 200) {
    const { success, data } = shape.safeParse(parseJson(text));
    if (success) return data;
    throw failure(`${nameOf(target)}: the answer is not one of a broker's admin listener`);
  }
  throw failure(`${nameOf(target)}: ${errorOf(text) ?? `HTTP status ${response.statusCode}`}`);
}

async function readBody(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of response) {
    length += (chunk as Buffer).length;
    if (length > answerBytesMax) throw failure('the answer is too long: is this a broker?');
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function errorOf(text: string): string | null {
  const { success, data } = z.object({ error: z.string() }).safeParse(parseJson(text));
  return success ? escapeControls(data.error) : null;
}

/** Undefined for what is no JSON. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function nameOf(target: Place['target']): string {
  return 'socketPath' in target ? target.socketPath : `${target.host}:${target.port}`;
}

function failure(message: string): CountersignError {
  return new CountersignError('ERR_COUNTERSIGN_ADMIN', message);
}

function usageError(message: string): CountersignError {
  return new CountersignError('ERR_COUNTERSIGN_CONFIG', message);
}
