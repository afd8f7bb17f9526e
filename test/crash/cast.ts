/** A subscription of a client. */
export interface Filter {
  readonly topic: string;
  readonly qos: 0 | 1 | 2;
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
  /** What it publishes: topics in which its messages are numbered. */
  readonly publishes?: readonly (Filter & { readonly retain?: boolean })[];
  /** Part of its messages that it asks receipts for. */
  readonly tracked?: number;
  /** True if it refuses some tracked messages with a reason code. */
  readonly refuses?: boolean;
  /** QoS of the will that it leaves on every connection. */
  readonly willQos?: 1 | 2;
  /** True if it begins new sessions now and then, some of which end with their connection. */
  readonly churns?: boolean;
  /** True if it never drops its connection by itself. */
  readonly steady?: boolean;
}

/** Ends what every durable subscriber gets in a round. */
export const fence = 'load/fence';
/** Filter of the client that all wills go to. */
export const willFilter = 'will/#';
export const receiptsFilter = '$receipts/~/#';

function publisher(name: string, version: 4 | 5, durable: boolean, tracked: number): Role {
  const publishes = [
    { topic: `load/${name}/0`, qos: 0 as const },
    { topic: `load/${name}/1`, qos: 1 as const },
    { topic: `load/${name}/2`, qos: 2 as const },
    { topic: `retained/${name}/1`, qos: 1 as const, retain: true },
    { topic: `retained/${name}/2`, qos: 2 as const, retain: true },
  ];
  // Receipts at QoS 2, so that one that comes twice is the broker's doing.
  const filters = tracked > 0 ? [{ topic: receiptsFilter, qos: 2 as const }] : [];
  return { clientId: name, version, durable, tracked, publishes, filters };
}

const all = (qos: 0 | 1 | 2): Filter => ({ topic: 'load/#', qos });

/** Everyone: durable and transient, both versions, every QoS, clients that come and go in each of the known ways. */
export const cast: readonly Role[] = [
  publisher('p5', 5, true, 0.4),
  publisher('q5', 5, true, 0.4),
  publisher('p4', 4, true, 0),
  publisher('t5', 5, false, 0),
  { clientId: 'durable-1', version: 5, durable: true, receiveMaximum: 5, filters: [all(1)] },
  { clientId: 'durable-2', version: 5, durable: true, filters: [all(2)], refuses: true },
  { clientId: 'durable-4', version: 4, durable: true, filters: [all(2)] },
  { clientId: 'durable-0', version: 5, durable: true, filters: [{ topic: 'load/p5/+', qos: 0 }] },
  {
    ...{ clientId: 'toggling', version: 5, durable: true, filters: [{ topic: fence, qos: 1 }] },
    toggles: ['p5', 'q5', 'p4', 't5'].map((name) => ({ topic: `load/${name}/+`, qos: 2 })),
  },
  { clientId: 'transient-2', version: 5, durable: false, filters: [all(2)] },
  { clientId: 'transient-4', version: 4, durable: false, filters: [all(1)] },
  { clientId: 'churning-1', version: 5, durable: true, filters: [{ topic: 'load/p5/#', qos: 1 }], churns: true },
  { clientId: 'churning-2', version: 5, durable: true, filters: [{ topic: 'load/q5/#', qos: 2 }], churns: true },
  { clientId: 'churning-4', version: 4, durable: true, filters: [{ topic: 'load/p4/#', qos: 1 }], churns: true },
  { clientId: 'mortal-1', version: 5, durable: true, willQos: 1 },
  { clientId: 'mortal-2', version: 5, durable: true, willQos: 2, filters: [{ topic: 'load/p5/1', qos: 1 }] },
  { clientId: 'mortal-4', version: 4, durable: true, willQos: 2 },
  { clientId: 'watcher', version: 5, durable: true, filters: [{ topic: willFilter, qos: 2 }], steady: true },
];
