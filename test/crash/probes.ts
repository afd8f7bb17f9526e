import { type Application, Peer, type Publication } from './peer.js';
import type { Body, Told } from './told.js';
import type { World } from './world.js';

const nothing = (): void => undefined;
const idle = { onClosed: nothing, onAnswered: nothing, onTaken: nothing, onCompleted: nothing };

/** What a new subscriber is told to be retained: numbers by topic. @param name a client identifier of its own */
export async function readRetained(world: World, name: string): Promise<Map<string, number>> {
  const found = new Map<string, number>();
  const topic = 'retained/probe';
  let isOver = false;
  const application: Application = {
    ...{ ...idle, onUnsubscribed: nothing },
    onConnected: () => peer.subscribe([{ topic: 'retained/#', qos: 1 }]),
    onSubscribed: () => {
      const message: Omit<Publication, 'sentAt'> = {
        ...{ topic, n: 1, payload: '1', qos: 1, retain: false, request: null, expires: false },
      };
      peer.publish({ ...message, sentAt: world.now() });
    },
    onMessage: (packet) => {
      if (packet.topic === topic) isOver = true;
      else if (packet.retain) found.set(packet.topic, Number(packet.payload.toString()));
      return 0;
    },
  };
  const peer = new Peer(world, { clientId: name, version: 5, receiveMaximum: 100 }, application);
  world.calm = true;
  peer.connect(true, false);
  await world.until(
    () => isOver && peer.isAtRest,
    () => 'no answer to a probe for retained messages',
  );
  peer.end(true);
  return found;
}

/** A record as its replay tells it. */
export interface Replayed {
  tally: Body | null;
  /** State by recipient, as its topic names it. */
  readonly states: Map<string, string>;
}

/**
 * The records of a publisher, as somebody reads them who may see all: oldest first, each tally after its receipts.
 * @param since the last id that is not asked for
 * @param last the last id that must come; whatever is older has come by then
 */
export async function readRecords(
  world: World,
  name: string,
  publisher: string,
  since: string | undefined,
  last: string,
): Promise<Map<string, Replayed>> {
  const found = new Map<string, Replayed>();
  let count = 0;
  const application: Application = {
    ...{ ...idle, onUnsubscribed: nothing, onSubscribed: nothing },
    onConnected: () => peer.subscribe([{ topic: `$receipts/${publisher}/#`, qos: 1 }], since),
    onMessage: ({ topic, payload, retain }) => {
      count++;
      const [, , id, recipient] = topic.split('/');
      const body = JSON.parse(payload.toString()) as Body;
      const record = found.get(id) ?? { tally: null, states: new Map<string, string>() };
      found.set(id, record);
      if (retain && record.tally !== null) world.violation(`a replay goes on with ${topic} after the tally`);
      if (recipient === undefined) record.tally = body;
      else record.states.set(decodeURIComponent(recipient), body.state ?? '');
      return 0;
    },
  };
  const peer = new Peer(world, { clientId: name, version: 5, receiveMaximum: 20 }, application);
  world.calm = true;
  peer.connect(true, false);
  await world
    .until(
      () => found.get(last)?.tally != null,
      () => {
        const state = peer.isClosed ? 'is closed' : 'waits';
        const [latest = 'nothing', record] = [...found].at(-1) ?? [];
        const end = record?.tally == null ? 'without its tally' : 'as a whole';
        const come = `${found.size} came in ${count} packets, the last ${latest} ${end}, and the connection ${state}`;
        return `the records of ${publisher} end before ${last}: ${come}`;
      },
    )
    .catch((error: Error) => world.violation(error.message));
  peer.end(true);
  return found;
}

/**
 * What is wrong with records, by what their publisher was told.
 * @param atRest true if it was told everything
 * @param takesTallies false if it was told nothing of a message for nobody whose answer it lost
 */
export function compareRecords(
  told: ReadonlyMap<string, Told>,
  records: ReadonlyMap<string, Replayed>,
  atRest: boolean,
  takesTallies: boolean,
): string[] {
  const wrongs: string[] = [];
  for (const [id, { matched, outcomes, hasFinal }] of told) {
    const { tally, states } = records.get(id) ?? { tally: null, states: new Map<string, string>() };
    if (tally === null) wrongs.push(`there is no record of ${id}`);
    else if (matched !== null && tally.matched !== matched)
      wrongs.push(`${id} matched ${matched}, now ${tally.matched}`);
    for (const [name, { state }] of outcomes) {
      if (states.get(name) !== state) wrongs.push(`${id} was ${state} for ${name}, recorded is ${states.get(name)}`);
    }
    if (hasFinal && tally?.final !== true) wrongs.push(`${id} was final, its record is not`);
    if (atRest && states.size !== outcomes.size) wrongs.push(`${id} has rows that its publisher was not told of`);
  }
  const extra = [...records]
    .filter(([id, { tally }]) => !told.has(id) && (takesTallies || tally?.matched !== 0))
    .map(([id]) => id);
  if (atRest && extra.length > 0) wrongs.push(`records of which nobody was told: ${extra.join(', ')}`);
  return wrongs;
}
