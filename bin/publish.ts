import { readFileSync } from 'node:fs';
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { MqttClient } from 'mqtt';
import { type TrackedMessage, type TrackedPublishOptions, withReceipts } from '../lib/client.js';
import { CountersignError, isTally, type Receipt, succeeded, type Tally } from '../lib/index.js';
import { isTopicName } from '../lib/topic/names.js';
import { DeliveryBoard } from './delivery-board.js';
import { ExitCode, sayError } from './failure.js';
import { LiveView } from './live-view.js';
import {
  addConnectionFlags,
  type ConnectionFlags,
  connectToBroker,
  disconnect,
  wholeNumber,
} from './mqtt-connection.js';

/** Flags of `countersign publish` as the command line gives them. */
interface PublishFlags extends ConnectionFlags {
  readonly receipt?: 'delivered' | 'processed';
  readonly qos: 0 | 1 | 2;
  readonly retain?: boolean;
  readonly deadline?: number;
  readonly expiry?: number;
  readonly property?: Readonly<Record<string, readonly string[]>>;
  readonly json?: boolean;
}

const longestDeadlineSeconds = 2_592_000;
/** How often a connection that was lost while receipts were awaited is tried again. */
const reconnectMs = 1000;

/** Adds `countersign publish TOPIC [PAYLOAD]`. */
export function addPublishCommand(program: Command): void {
  const command = program
    .command('publish')
    .description('publish a message and show who got it')
    .argument('<topic>', 'topic name')
    .argument('[payload]', 'the message; taken from stdin where not given')
    .addOption(
      new Option('--receipt <state>', 'ask for receipts: the state that counts as success').choices([
        'delivered',
        'processed',
      ]),
    )
    .addOption(new Option('--qos <qos>', 'quality of service').choices(['0', '1', '2']).default(1).argParser(readQos))
    .option('--retain', 'have the broker keep the message for later subscribers')
    .option('--deadline <seconds>', 'stop waiting after this time', wholeNumber(1, longestDeadlineSeconds))
    .option('--expiry <seconds>', 'how long the message may wait for a recipient', wholeNumber(1, 0xffffffff))
    .option('--property <name=value>', 'user property; can be given again', collectProperty)
    .option('--json', 'print receipts and tallies as JSON lines, as when stdout is no terminal');
  addConnectionFlags(command)
    .addHelpText(
      'after',
      `
Exit codes: 0 the message succeeded, 3 it did not reach everyone or there was nobody, 4 deliveries were pending at the
deadline, 1 the broker could not be reached or refused it, 2 wrong usage. Without --receipt 0 means the broker has it.`,
    )
    .action((topic: string, payload: string | undefined, flags: PublishFlags) => publish(topic, payload, flags));
}

function readQos(text: string): number {
  if (text !== '0' && text !== '1' && text !== '2') throw new InvalidArgumentError('It must be 0, 1 or 2.');
  return Number(text);
}

function collectProperty(text: string, before: Record<string, string[]> = {}): Record<string, string[]> {
  const at = text.indexOf('=');
  if (at < 1) throw new InvalidArgumentError('It must be name=value.');
  const name = text.slice(0, at);
  return { ...before, [name]: [...(before[name] ?? []), text.slice(at + 1)] };
}

async function publish(topic: string, payload: string | undefined, flags: PublishFlags): Promise<void> {
  if (!isTopicName(topic)) throw usage(`${topic} is no topic name: it must not be empty nor have wildcards`);
  if (flags.deadline !== undefined && flags.receipt === undefined) throw usage('--deadline needs --receipt');
  if (payload === undefined && flags.passwordFile === '-') {
    throw usage('stdin cannot be both the password and the message: give the message as an argument');
  }
  const body = payload === undefined ? readFileSync(0) : Buffer.from(payload);
  const { client, clientId } = await connectToBroker(flags, process.env);
  try {
    if (flags.receipt === undefined) await publishUntracked(client, topic, body, flags);
    else process.exitCode = await publishTracked(client, clientId, topic, body, flags);
  } finally {
    await disconnect(client);
  }
}

function usage(message: string): CountersignError {
  return new CountersignError('ERR_COUNTERSIGN_CONFIG', `${message}; see countersign publish --help`);
}

async function publishUntracked(
  client: MqttClient,
  topic: string,
  payload: Buffer,
  flags: PublishFlags,
): Promise<void> {
  const { qos, retain = false, expiry, property } = flags;
  const userProperties = Object.fromEntries(
    Object.entries(property ?? {}).map(([name, values]) => [name, [...values]]),
  );
  const properties = {
    // MQTT.js writes nothing at all for a message whose user properties are empty.
    ...(property === undefined ? {} : { userProperties }),
    ...(expiry === undefined ? {} : { messageExpiryInterval: expiry }),
  };
  const closed = new Promise<never>((_, reject) => {
    const message = 'the broker closed the connection before it took the message';
    client.once('close', () => reject(new CountersignError('ERR_COUNTERSIGN_CONNECTION', message)));
  });
  await Promise.race([client.publishAsync(topic, payload, { qos, retain, properties }), closed]);
}

/** @returns the exit code */
async function publishTracked(
  client: MqttClient,
  clientId: string,
  topic: string,
  payload: Buffer,
  flags: PublishFlags,
): Promise<number> {
  const { receipt = 'delivered', qos, retain = false, deadline, expiry, property } = flags;
  const options: TrackedPublishOptions = {
    ...{ receipt, qos, retain },
    ...(deadline === undefined ? {} : { deadline }),
    ...(expiry === undefined ? {} : { messageExpiryInterval: expiry }),
    ...(property === undefined ? {} : { userProperties: property }),
  };
  const tracked = await withReceipts(client).publish(topic, payload, options);
  // From here on the message is the broker's: a lost connection costs nothing but time.
  client.options.reconnectPeriod = reconnectMs;
  const show = flags.json || !process.stdout.isTTY ? printLine : drawer(tracked, topic, clientId);
  let last: Tally | null = null;
  for await (const event of tracked.events()) {
    show(event);
    if (isTally(event)) last = event;
    if (last?.overdue) break;
  }
  show(null);
  return verdict(last, tracked, topic);
}

function printLine(event: Receipt | Tally | null): void {
  if (event !== null) process.stdout.write(`${JSON.stringify(event)}\n`);
}

/** Shows events in a live table; null ends it. */
function drawer(tracked: TrackedMessage, topic: string, clientId: string): (event: Receipt | Tally | null) => void {
  const title = `${topic}  id ${tracked.id}  as ${clientId}`;
  const board = new DeliveryBoard(title, tracked.matched, process.env.NO_COLOR === undefined);
  const view = new LiveView(process.stdout, (rows, columns) => board.render(rows, columns));
  return (event) => {
    if (event === null) {
      view.end();
      return;
    }
    board.add(event);
    view.update();
  };
}

function verdict(tally: Tally | null, tracked: TrackedMessage, topic: string): number {
  if (tally === null || tally.matched === 0) {
    sayError(`nobody subscribes to ${topic}`);
    return ExitCode.unsuccessful;
  }
  const { matched, pending, failed } = tally;
  if (tally.overdue) {
    sayError(`${pending} of ${matched} pending at the deadline; the broker goes on trying`);
    return ExitCode.overdue;
  }
  if (succeeded(tally, tracked.requested)) return ExitCode.ok;
  const unconfirmed = `nobody confirmed: ${tracked.requested} was asked for`;
  sayError(failed > 0 ? `${failed} of ${matched} failed` : unconfirmed);
  return ExitCode.unsuccessful;
}
