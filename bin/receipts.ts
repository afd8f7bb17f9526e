import { type Command, Option } from 'commander';
import type { MqttClient } from 'mqtt';
import { withReceipts } from '../lib/client.js';
import { CountersignError, isTally, type Receipt, type Tally } from '../lib/index.js';
import { encodeSegment, serverSegment } from '../lib/receipts/names.js';
import { parseReceiptId, receiptIdLength } from '../lib/receipts/receipt-id.js';
import { detailOf, printable, recipientOf, spellTime } from './delivery-board.js';
import { ExitCode, sayError } from './failure.js';
import { addConnectionFlags, type ConnectionFlags, connectToBroker, disconnect } from './mqtt-connection.js';

/** Flags of `countersign receipts` as the command line gives them. */
interface ReceiptsFlags extends ConnectionFlags {
  readonly id?: string;
  readonly publisher?: string;
  readonly all?: boolean;
  readonly since?: string;
  readonly follow?: boolean;
  readonly json?: boolean;
}

/**
 * The broker does not mark the end of a replay. It is taken to be over when nothing has come for this long and the
 * broker then has answered a packet, which shows that it is not merely slow.
 */
const quietMs = 500;
/** An id that names no message: acknowledging it asks the broker for an answer and changes nothing. */
const noMessage = '0'.repeat(receiptIdLength);
const refusedFrom = 0x80;

/** Adds `countersign receipts`. */
export function addReceiptsCommand(program: Command): void {
  const command = program
    .command('receipts')
    .description('list the records of tracked messages, and follow them')
    .option('--publisher <id>', 'client identifier of the publisher, $server for an embedding program; needs access')
    .addOption(new Option('--all', 'live receipts of all publishers; with --follow, and access').conflicts('publisher'))
    .option('--id <id>', 'only this message')
    .option('--since <id>', 'only messages after this one')
    .option('--follow', 'go on with receipts as they come')
    .option('--json', 'print JSON lines, as when stdout is no terminal');
  addConnectionFlags(command)
    .addHelpText(
      'after',
      `
A publisher's own records are those of its client identifier (and user name): give it with --client-id, while that
client is not connected and has no session that it needs, for it would be taken over. Records of others are shown with
--publisher, or live with --all, to clients that the broker grants them.`,
    )
    .action((flags: ReceiptsFlags) => receipts(flags));
}

async function receipts(flags: ReceiptsFlags): Promise<void> {
  const { id, publisher, all, since, follow } = flags;
  if (all && !follow) throw usage('--all needs --follow: records are listed for one publisher at a time');
  if (publisher === undefined && flags.clientId === undefined && !all) {
    throw usage("give --client-id to list that publisher's own records, or --publisher");
  }
  for (const [flag, given] of Object.entries({ '--id': id, '--since': since })) {
    if (given === undefined || parseReceiptId(given) !== null) continue;
    throw usage(`${flag} ${given} is no id: it has ${receiptIdLength} digits and letters, none of them I, L, O or U`);
  }
  const { client } = await connectToBroker(flags, process.env);
  try {
    const listing = new Listing(flags);
    client.on('message', (topic, payload) => listing.take(topic, payload));
    const lost = new Promise<never>((_, reject) => {
      const message = 'the connection to the broker was lost';
      client.once('close', () => reject(new CountersignError('ERR_COUNTERSIGN_CONNECTION', message)));
    });
    await Promise.race([subscribe(client, flags), lost]);
    await Promise.race([follow ? lost : replayDone(client, listing, id !== undefined), lost]);
    if (id !== undefined && listing.count === 0) {
      sayError(`there is no record of ${id}`);
      process.exitCode = ExitCode.unsuccessful;
    }
  } finally {
    await disconnect(client);
  }
}

function usage(message: string): CountersignError {
  return new CountersignError('ERR_COUNTERSIGN_CONFIG', `${message}; see countersign receipts --help`);
}

/** The publisher's level of the filter. */
function publisherLevel({ publisher, all }: ReceiptsFlags): string {
  if (all) return '+';
  if (publisher === undefined) return '~';
  return publisher === serverSegment ? publisher : encodeSegment(publisher);
}

/** Subscribes to receipts and tallies, or to tallies only where the broker grants no more. */
async function subscribe(client: MqttClient, flags: ReceiptsFlags): Promise<void> {
  const { id, since } = flags;
  const publisher = `$receipts/${publisherLevel(flags)}`;
  const filters =
    id === undefined ? [`${publisher}/#`, `${publisher}/+`] : [`${publisher}/${id}/#`, `${publisher}/${id}`];
  const options = since === undefined ? {} : { properties: { userProperties: { 'receipt-since': since } } };
  for (const filter of filters) {
    const isGranted = await new Promise<boolean>((resolve) => {
      client.subscribe({ [filter]: { qos: 1 } }, options, (error, granted) => {
        resolve(error === null && (granted ?? []).every(({ qos }) => qos < refusedFrom));
      });
    });
    if (isGranted) return;
  }
  const hint = publisherLevel(flags) === '~' ? '' : '; a publisher reads its own with --client-id';
  const message = `the broker does not let this client see the receipts under ${publisher}/${hint}`;
  throw new CountersignError('ERR_COUNTERSIGN_REFUSED', message);
}

/** Resolves when the replay is over. @param single true if one message's tally, which comes last, ends it */
async function replayDone(client: MqttClient, listing: Listing, single: boolean): Promise<void> {
  const broker = withReceipts(client);
  for (;;) {
    const before = listing.count;
    const isQuiet = await listing.quiet(quietMs, single);
    if (single && listing.tallies > 0) return;
    if (!isQuiet) continue;
    await broker.acknowledge({ properties: { userProperties: { 'receipt-id': noMessage } } });
    if (listing.count === before) return;
  }
}

/** Prints what comes. */
class Listing {
  count = 0;
  tallies = 0;
  private readonly asJson: boolean;
  private readonly isForeign: boolean;
  private onPacket: () => void = () => undefined;

  constructor(flags: ReceiptsFlags) {
    this.asJson = flags.json === true || !process.stdout.isTTY;
    this.isForeign = publisherLevel(flags) !== '~';
  }

  take(topic: string, payload: Buffer): void {
    const event = JSON.parse(payload.toString()) as Receipt | Tally;
    const [, publisher = ''] = topic.split('/');
    this.count++;
    if (isTally(event)) this.tallies++;
    const line = this.asJson
      ? JSON.stringify(this.isForeign ? { publisher, ...event } : event)
      : this.describe(publisher, event);
    process.stdout.write(`${line}\n`);
    this.onPacket();
  }

  /** True once nothing has come for `ms`; false as soon as something has, or at once for a single message's tally. */
  quiet(ms: number, single: boolean): Promise<boolean> {
    return new Promise((resolve) => {
      if (single && this.tallies > 0) {
        resolve(true);
        return;
      }
      const timer = setTimeout(() => resolve(true), ms);
      this.onPacket = () => {
        clearTimeout(timer);
        resolve(false);
      };
    });
  }

  private describe(publisher: string, event: Receipt | Tally): string {
    const time = new Date(event.at).toISOString();
    const head = `${time}  ${event.id}${this.isForeign ? `  ${printable(publisher)}` : ''}  ${printable(event.topic)}`;
    return isTally(event) ? `${head}  ${describeTally(event)}` : `${head}  ${describeReceipt(event)}`;
  }
}

function describeReceipt(receipt: Receipt): string {
  const { state, at, sentAt } = receipt;
  const took = sentAt === undefined ? '' : spellTime(at - sentAt);
  return [recipientOf(receipt), state, took, detailOf(receipt)].filter((part) => part !== '').join('  ');
}

function describeTally(tally: Tally): string {
  const counts = (['processed', 'delivered', 'sent', 'failed', 'pending'] as const)
    .filter((name) => tally[name] > 0)
    .map((name) => `${name} ${tally[name]}`)
    .join(', ');
  const mark = tally.final ? 'final' : tally.overdue ? 'overdue' : 'so far';
  return `of ${tally.matched}: ${counts || 'nobody'} (${mark})`;
}
