import type { Test } from 'tap';
import { PacketType } from '../../lib/spec/packet-types.js';
import { Table } from '../../lib/store/store.js';
import { CoreWorld, ManualClock } from './core-world.js';
import { CrashStore } from './crash-store.js';

/** Sizes with which a handful of recipients is a large cohort, offered its message in several slices. */
export const sizes = { largeCohortMin: 10, writtenMax: 1000, sliceMax: 4, unwrittenMax: 1000, standingMax: 16 };

/** Clients in a crowd. */
export const recipients = 14;

export type Client = ReturnType<CoreWorld['connect']>;

export function worldOn(store: CrashStore, few = sizes): CoreWorld {
  return new CoreWorld(store, {}, new ManualClock(), {}, few);
}

/** Ends turns, and commits what they recorded, until nothing is left to do. */
export function settle(world: CoreWorld, store: CrashStore): void {
  while (world.clock.turn() || store.flush());
}

/** Rows of a table, up to 1000. */
export function count(store: CrashStore, table: Table): number {
  return store.countRange(table, Buffer.alloc(0), null, 1000);
}

/** @param expirySeconds of their sessions; 0 for such that end with their connections */
export function connectCrowd(world: CoreWorld, expirySeconds: number): Client[] {
  return Array.from({ length: recipients }, (_, at) => world.connect(`device-${at}`, expirySeconds));
}

/** A crowd that is subscribed to all topics, and a publisher that is told of tallies. */
export function begin(
  world: CoreWorld,
  store: CrashStore,
  topics: readonly string[],
  expirySeconds: number,
  qos: 1 | 2 = 1,
): { publisher: Client; crowd: Client[] } {
  const crowd = connectCrowd(world, expirySeconds);
  for (const client of crowd) for (const topic of topics) world.subscribe(client, topic, qos);
  const publisher = world.connect('publisher');
  world.subscribe(publisher, '$receipts/~/+', 0);
  settle(world, store);
  return { publisher, crowd };
}

/** PUBACK of the message that came `at` places after the first. */
export function acknowledge(world: CoreWorld, { session, link }: Client, at = 0): void {
  world.core.acknowledge(session, link, PacketType.puback, link.publishes[at]?.packetId ?? 0, 0, null);
}

/** Everything that is known of the publisher's messages. */
export function replayed(world: CoreWorld, store: CrashStore): Record<string, unknown>[] {
  const again = world.connect('publisher');
  settle(world, store);
  const before = again.link.publishes.length;
  world.subscribe(again, '$receipts/~/#', 0);
  settle(world, store);
  return again.link.receipts().slice(before);
}

/** A broker where two cohorts may stand, with four messages of which the crowd's first has acknowledged all. */
export function dieWithFewStanding(t: Test, expirySeconds: number): { topics: readonly string[]; dying: CrashStore } {
  const topics = ['a', 'b', 'c', 'd'];
  const dying = new CrashStore();
  const world = worldOn(dying, { ...sizes, standingMax: 2 });
  const { publisher, crowd } = begin(world, dying, topics, expirySeconds);
  for (const topic of topics) world.publish(publisher, topic, [['receipt', 'delivered']]);
  settle(world, dying);
  t.equal(count(dying, Table.fanOuts), 2);
  t.equal(count(dying, Table.recipients), 2 * recipients);
  for (const first of crowd.slice(0, 1)) for (const at of topics.keys()) acknowledge(world, first, at);
  settle(world, dying);
  return { topics, dying };
}
