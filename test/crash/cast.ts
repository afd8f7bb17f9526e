import type { ReceiptRequest } from './peer.js';

/** A subscription of a client. */
export interface Filter {
  readonly topic: string;
  readonly qos: 0 | 1 | 2;
}

/** Where a client publishes: its messages are numbered in each topic. */
export interface Outlet extends Filter {
  readonly retain?: boolean;
  /** What it asks for with every message there; where not given, chance decides. */
  readonly request?: ReceiptRequest;
}

/** One client of the load. */
export interface Role {
  readonly clientId: string;
  readonly version: 4 | 5;
  readonly durable: boolean;
  readonly receiveMaximum?: number;
  /** What it is subscribed to throughout. */
  readonly filters?: readonly Filter[];
  /** What it subscribes to and unsubscribes from now and then. */
  readonly toggles?: readonly Filter[];
  readonly publishes?: readonly Outlet[];
  /** Part of its other messages that it asks receipts for. */
  readonly tracked?: number;
  /** True if it refuses some tracked messages with a reason code. */
  readonly refuses?: boolean;
  /** QoS of the will that it leaves on every connection, and after how many seconds that is due. */
  readonly willQos?: 1 | 2;
  readonly willDelay?: number;
  /** True if it begins new sessions now and then, some of which end with their connection. */
  readonly churns?: boolean;
  /** Seconds after which its session ends while it is away; where not given, that does not happen here. */
  readonly expirySeconds?: number;
  /** True if it never drops its connection by itself. */
  readonly steady?: boolean;
}

/** True if a session of this role never ends in a run. */
export function isPermanent({ durable, churns = false, expirySeconds }: Role): boolean {
  return durable && !churns && expirySeconds === undefined;
}

/** Ends what every durable subscriber gets in a round. */
export const fence = 'load/fence';
/** Filter of the client that all wills go to. */
export const willFilter = 'will/#';
export const receiptsFilter = '$receipts/~/#';

/** Longest deadline of a hold: nothing in a run takes that long. */
export const longDeadlineSeconds = 300;
const delivered: ReceiptRequest = { receipt: 'delivered', deadline: 0, hold: false };
const processed: ReceiptRequest = { receipt: 'processed', deadline: 0, hold: false };
const held: ReceiptRequest = { receipt: 'delivered', deadline: longDeadlineSeconds, hold: true };

// Receipts at QoS 2, so that one that comes twice is the broker's doing.
const ownReceipts: Filter = { topic: receiptsFilter, qos: 2 };
/** Of a publisher that takes no tallies. */
const ownDeliveries: Filter = { topic: '$receipts/~/+/+', qos: 2 };

function publisher(name: string, version: 4 | 5, durable: boolean, tracked: number): Role {
  const plain: Outlet[] = [
    { topic: `load/${name}/0`, qos: 0 },
    { topic: `load/${name}/1`, qos: 1 },
    { topic: `load/${name}/2`, qos: 2 },
    { topic: `retained/${name}/1`, qos: 1, retain: true },
    { topic: `retained/${name}/2`, qos: 2, retain: true },
    { topic: `jobs/${name}/1`, qos: 1 },
    { topic: `jobs/${name}/2`, qos: 2 },
  ];
  const asking: Outlet[] = [
    { topic: `work/${name}/1`, qos: 1, request: processed },
    { topic: `work/${name}/2`, qos: 2, request: processed },
    { topic: `jobs/${name}/p`, qos: 1, request: processed },
    { topic: `late/${name}/2`, qos: 2, request: { receipt: 'delivered', deadline: 1, hold: false } },
  ];
  const publishes = tracked > 0 ? [...plain, ...asking] : plain;
  return { clientId: name, version, durable, tracked, publishes, filters: tracked > 0 ? [ownReceipts] : [] };
}

const all = (qos: 0 | 1 | 2): Filter => ({ topic: 'load/#', qos });
const work = (qos: 1 | 2): Filter => ({ topic: 'work/#', qos });
const hold = (qos: 1 | 2): Filter => ({ topic: 'hold/#', qos });
/** All members of this group keep their sessions: it must have each message exactly once. */
export const crew: Filter = { topic: '$share/crew/jobs/#', qos: 2 };
/** Sessions of members of this one end, and what they had goes to another: it must have each message. */
export const gang: Filter = { topic: '$share/gang/jobs/#', qos: 1 };
/** A member of this one has a session that does not outlive the broker. */
const mixed: Filter = { topic: '$share/mixed/jobs/#', qos: 2 };

/** Everyone: durable and transient, both versions, every QoS, clients that come and go in each of the known ways. */
const everyone: readonly Role[] = [
  publisher('p5', 5, true, 0.4),
  publisher('q5', 5, true, 0.4),
  publisher('p4', 4, true, 0),
  publisher('t5', 5, false, 0),
  {
    ...{ clientId: 'h5', version: 5, durable: true, filters: [ownReceipts] },
    publishes: [
      { topic: 'hold/h5/1', qos: 1, request: held },
      { topic: 'hold/h5/2', qos: 1, request: { ...held, receipt: 'processed' } },
      { topic: 'late/h5/1', qos: 1, request: held },
      { topic: 'late/h5/2', qos: 1, request: { ...held, deadline: 1 } },
    ],
  },
  { clientId: 'durable-1', version: 5, durable: true, receiveMaximum: 5, filters: [all(1), work(1), hold(1)] },
  { clientId: 'durable-2', version: 5, durable: true, filters: [all(2), work(2), hold(2)], refuses: true },
  { clientId: 'durable-4', version: 4, durable: true, filters: [all(2), work(2), hold(2)] },
  { clientId: 'durable-0', version: 5, durable: true, filters: [{ topic: 'load/p5/+', qos: 0 }] },
  {
    ...{ clientId: 'toggling', version: 5, durable: true, filters: [{ topic: fence, qos: 1 }] },
    toggles: ['p5', 'q5', 'p4', 't5'].map((name) => ({ topic: `load/${name}/+`, qos: 2 })),
  },
  { clientId: 'transient-2', version: 5, durable: false, filters: [all(2), work(2)] },
  { clientId: 'transient-4', version: 4, durable: false, filters: [all(1)] },
  {
    clientId: 'churning-1',
    version: 5,
    durable: true,
    filters: [{ topic: 'load/p5/#', qos: 1 }, work(1)],
    churns: true,
  },
  { clientId: 'churning-2', version: 5, durable: true, filters: [{ topic: 'load/q5/#', qos: 2 }], churns: true },
  { clientId: 'churning-4', version: 4, durable: true, filters: [{ topic: 'load/p4/#', qos: 1 }], churns: true },
  { clientId: 'brief-5', version: 5, durable: true, filters: [all(1), work(2)], expirySeconds: 1 },
  { clientId: 'mortal-1', version: 5, durable: true, willQos: 1 },
  { clientId: 'mortal-2', version: 5, durable: true, willQos: 2, filters: [{ topic: 'load/p5/1', qos: 1 }] },
  { clientId: 'mortal-4', version: 4, durable: true, willQos: 2 },
  {
    ...{ clientId: 'late-1', version: 5, durable: true, willQos: 1, willDelay: 1 },
    filters: [
      { topic: 'late/#', qos: 1 },
      { topic: 'load/p5/#', qos: 1 },
    ],
  },
  { clientId: 'late-2', version: 5, durable: true, willQos: 2, willDelay: 2, filters: [{ topic: 'late/#', qos: 2 }] },
  { clientId: 'crew-1', version: 5, durable: true, filters: [crew] },
  { clientId: 'crew-2', version: 5, durable: true, toggles: [crew] },
  { clientId: 'crew-4', version: 4, durable: true, filters: [crew], receiveMaximum: 3 },
  { clientId: 'gang-1', version: 5, durable: true, filters: [gang], receiveMaximum: 3 },
  { clientId: 'gang-2', version: 5, durable: true, filters: [gang], churns: true },
  { clientId: 'gang-3', version: 5, durable: true, filters: [gang], expirySeconds: 1 },
  { clientId: 'mixed-1', version: 5, durable: true, filters: [mixed] },
  { clientId: 'mixed-2', version: 5, durable: false, filters: [mixed] },
  { clientId: 'watcher', version: 5, durable: true, filters: [{ topic: willFilter, qos: 2 }], steady: true },
];

const pairs = Array.from({ length: 50 }, (_, at) => String(at + 1).padStart(2, '0'));

function tracker(name: string, at: number): Role {
  const publishes: Outlet[] = [
    { topic: `pair/${name}/1`, qos: 1, request: delivered },
    { topic: `pair/${name}/2`, qos: 2, request: delivered },
    { topic: `pair/${name}/p`, qos: 2, request: processed },
  ];
  return {
    clientId: `track-${name}`,
    version: 5,
    durable: true,
    publishes,
    filters: [at % 2 === 0 ? ownReceipts : ownDeliveries],
  };
}

function taker(name: string, at: number): Role {
  const filters: Filter[] = [
    { topic: `pair/${name}/+`, qos: at % 2 === 0 ? 1 : 2 },
    { topic: fence, qos: 1 },
  ];
  return { clientId: `take-${name}`, version: 5, durable: true, filters, refuses: at % 5 === 0 };
}

/** Who takes part in a run, by its name: everyone, or fifty publishers that each track messages to a recipient. */
export const casts: Readonly<Record<string, readonly Role[]>> = {
  everyone,
  pairs: [...pairs.map(tracker), ...pairs.map(taker)],
};

/** Publishers of any cast that take no tallies. */
export const withoutTallies: ReadonlySet<string> = new Set(
  Object.values(casts)
    .flat()
    .filter(({ filters = [] }) => filters.includes(ownDeliveries))
    .map(({ clientId }) => clientId),
);
