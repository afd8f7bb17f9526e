import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { type BrokerChild, startChild } from '../helpers/broker.js';
import { temporaryDirectory } from '../helpers/command.js';
import { Peer } from '../helpers/peer.js';
import { Fault, FaultyDisk, withoutFaultyDisk } from '../power/faulty-disk.js';

const skip = withoutFaultyDisk();
const cannotRecord = /"level":50.*the store can not record/;
const recordsAgain = /the store records again/;

interface Scene {
  readonly broker: BrokerChild;
  readonly disk: FaultyDisk;
  readonly publisher: Peer;
  /** Has a session and is connected. */
  readonly present: Peer;
}

/** A broker on a disk that can fail, a publisher, a subscriber with a session that is here and one that is away. */
async function setScene(t: Test): Promise<Scene> {
  const folder = await temporaryDirectory(t);
  const directory = join(folder, 'data');
  mkdirSync(directory);
  const disk = new FaultyDisk(folder);
  const broker = await startChild(t, ['--data', directory], disk.environment());
  const away = await Peer.join(t, broker, 'away', { expiry: 3600 });
  await away.subscribe('t/#', { qos: 2 });
  await away.leave();
  const present = await Peer.join(t, broker, 'present', { expiry: 3600 });
  await present.subscribe('t/#', { qos: 2 });
  const publisher = await Peer.join(t, broker, 'publisher');
  return { broker, disk, publisher, present };
}

/** What the session that was away gets: payloads in order. */
async function collect(t: Test, broker: BrokerChild, count: number): Promise<string[]> {
  const away = await Peer.join(t, broker, 'away', { expiry: 3600 });
  const payloads: string[] = [];
  while (payloads.length < count) payloads.push((await away.take()).text);
  await away.settle();
  return [...payloads, ...away.inbox.map(({ text }) => text)];
}

/** What became of the message that was on its way when the disk failed. */
interface Open {
  readonly packetId: number;
  /** True if it came too late and was refused: then it was answered while the disk failed. */
  readonly isRefused: boolean;
}

/** From the fault on: refused, told once, QoS 0 and connections go on. */
async function endure(t: Test, { broker, publisher, present }: Scene): Promise<Open> {
  const { running } = broker;
  // What is on its way when the disk fails is not answered at all; what comes later is refused.
  const packetId = publisher.send1('t/a', { qos: 2, payload: 'open' });
  await running.errors(cannotRecord);
  const other = await Peer.join(t, broker, 'other');
  const codes = new Set<number>();
  for (let round = 0; round < 20; round++) {
    const first = await other.publish('t/a', { qos: 1, payload: 'refused' });
    const second = await other.publish('t/a', { qos: 2, payload: 'refused' });
    codes.add(first.code).add(second.code);
  }
  t.same([...codes], [0x80], 'QoS 1 and 2 are refused');
  await publisher.settle();
  const isRefused = publisher.has('pubrec', packetId);
  // Both wait for the disk, with QoS 2; QoS 0 goes past that.
  await publisher.publish('t/b', { qos: 0, payload: 'live' });
  for (;;) if ((await present.take()).text === 'live') break;
  const durable = await Peer.greet(t, broker, 'late', { expiry: 3600 });
  t.ok(durable.connackCode >= 0x80, 'a session that could not be kept is refused');
  const transient = await Peer.join(t, broker, 'passing');
  await transient.settle();
  t.equal(running.stderr.split('\n').filter((line) => cannotRecord.test(line)).length, 1, 'told once');
  return { packetId, isRefused };
}

for (const [name, fault] of [['a full disk', Fault.full]] as const) {
  t.test(`${name}: refused and told once, and taken up again when it is over`, { skip }, async (t) => {
    const scene = await setScene(t);
    const { broker, disk, publisher } = scene;
    t.equal((await publisher.publish('t/a', { qos: 1, payload: 'before' })).code, 0);
    disk.fail(fault);
    const { packetId, isRefused } = await endure(t, scene);
    disk.fail(Fault.none);
    await broker.running.errors(recordsAgain);
    const { code } = await publisher.answer(packetId);
    t.equal(code, isRefused ? 0x80 : 0, 'what was on its way is acknowledged only now, or was refused');
    t.equal((await publisher.publish('t/a', { qos: 2, payload: 'after' })).code, 0);
    await broker.kill9();
    const again = await broker.restart();
    const open = isRefused ? [] : ['open'];
    t.same(await collect(t, again, 2 + open.length), ['before', ...open, 'after']);
  });
}

for (const [name, fault] of [
  ['a write error', Fault.writeError],
  ['a sync error', Fault.syncError],
] as const) {
  t.test(`${name}: refused and told once; a restart finds what was acknowledged`, { skip }, async (t) => {
    const scene = await setScene(t);
    const { broker, disk, publisher } = scene;
    t.equal((await publisher.publish('t/a', { qos: 1, payload: 'before' })).code, 0);
    disk.fail(fault);
    await endure(t, scene);
    disk.fail(Fault.none);
    await broker.kill9();
    const again = await broker.restart();
    const [first] = await collect(t, again, 1);
    t.equal(first, 'before');
  });
}
