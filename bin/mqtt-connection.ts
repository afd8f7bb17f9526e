import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { isIPv6 } from 'node:net';
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { IClientOptions, MqttClient } from 'mqtt';
import { CountersignError } from '../lib/index.js';

/** Where passwords come from besides a file: what stands on a command line can be seen by everyone on the machine. */
export const passwordVariable = 'COUNTERSIGN_PASSWORD';

const connectTimeoutMs = 10_000;

/** Flags of commands that connect to a broker. */
export interface ConnectionFlags {
  readonly url?: string;
  readonly host?: string;
  readonly port?: number;
  readonly username?: string;
  readonly passwordFile?: string;
  readonly clientId?: string;
}

/** A connected client. */
export interface Connected {
  readonly client: MqttClient;
  readonly clientId: string;
  readonly url: string;
}

/** Takes a whole number between bounds. */
export function wholeNumber(minimum: number, maximum: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^[0-9]+$/.test(text) && value >= minimum && value <= maximum) return value;
    throw new InvalidArgumentError(`It must be a whole number from ${minimum} to ${maximum}.`);
  };
}

/** Adds the flags that say where the broker is and who connects. */
export function addConnectionFlags(command: Command): Command {
  const url = new Option('--url <url>', 'the broker: mqtt://, mqtts://, ws:// or wss://').conflicts(['host', 'port']);
  return command
    .addOption(url)
    .option('--host <host>', 'address of the broker (default: 127.0.0.1)')
    .option('--port <port>', 'port of the broker (default: 1883)', wholeNumber(1, 65_535))
    .option('--username <name>', 'user name')
    .option('--password-file <file>', `file with the password, - for stdin; else it is taken from ${passwordVariable}`)
    .option('--client-id <id>', "client identifier; must be nobody else's (default: a random one)");
}

/**
 * Connects with MQTT 5, without reconnecting.
 * @throws CountersignError ERR_COUNTERSIGN_CONNECTION that says what is wrong on one line
 */
export async function connectToBroker(flags: ConnectionFlags, environment: NodeJS.ProcessEnv): Promise<Connected> {
  const url = flags.url ?? `mqtt://${spellHost(flags.host ?? '127.0.0.1')}:${flags.port ?? 1883}`;
  checkUrl(url);
  const clientId = flags.clientId ?? `countersign-${randomBytes(4).toString('hex')}`;
  const password = readPassword(flags, environment);
  const options: IClientOptions = {
    ...{ protocolVersion: 5, clientId, clean: true, reconnectPeriod: 0, connectTimeout: connectTimeoutMs },
    ...(flags.username === undefined ? {} : { username: flags.username }),
    ...(password === undefined ? {} : { password }),
  };
  // Not loaded for commands that need no client.
  const { connect } = await import('mqtt');
  const client = connect(url, options);
  await new Promise<void>((resolve, reject) => {
    client.once('connect', () => resolve());
    client.on('error', (error) => reject(connectionError(url, error)));
    client.on('close', () =>
      reject(connectionError(url, new Error('the connection was closed before it was accepted'))),
    );
  });
  return { client, clientId, url };
}

/** Says goodbye, or gives up a connection that is lost, for which MQTT.js would wait for ever. */
export async function disconnect(client: MqttClient): Promise<void> {
  await client.endAsync(!client.connected);
}

function spellHost(host: string): string {
  return isIPv6(host) ? `[${host}]` : host;
}

function checkUrl(url: string): void {
  const isRight = URL.canParse(url) && ['mqtt:', 'mqtts:', 'ws:', 'wss:'].includes(new URL(url).protocol);
  if (isRight && new URL(url).password === '') return;
  const problem = isRight
    ? `a password does not belong on the command line: use --password-file or ${passwordVariable}`
    : 'it must begin with mqtt://, mqtts://, ws:// or wss:// and name a host';
  throw new CountersignError('ERR_COUNTERSIGN_CONFIG', `--url: ${problem}`);
}

function readPassword({ passwordFile }: ConnectionFlags, environment: NodeJS.ProcessEnv): string | undefined {
  if (passwordFile === undefined) return environment[passwordVariable] || undefined;
  try {
    return readFileSync(passwordFile === '-' ? 0 : passwordFile, 'utf8').replace(/\r?\n$/, '');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const message = `--password-file ${passwordFile} cannot be read (${code})`;
    throw new CountersignError('ERR_COUNTERSIGN_CONFIG', message, { cause: error });
  }
}

const systemReasons: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused: is the broker running, and is this its port?',
  ECONNRESET: 'the connection was cut: is this the port of an MQTT broker?',
  ENOTFOUND: 'there is no such host',
  EAI_AGAIN: 'the host name cannot be looked up now',
  EHOSTUNREACH: 'the host cannot be reached',
  ENETUNREACH: 'the network cannot be reached',
  ETIMEDOUT: 'no answer: does a firewall keep the broker from being reached?',
};

/** What to do about a connection that was not made, on one line. */
function connectionError(url: string, error: Error): CountersignError {
  const code = String((error as NodeJS.ErrnoException).code ?? '');
  const timedOut = error.message.startsWith('connack timeout');
  const reason = systemReasons[timedOut ? 'ETIMEDOUT' : code] ?? (error.message || code);
  return new CountersignError('ERR_COUNTERSIGN_CONNECTION', `${url}: ${reason}`, { cause: error });
}
