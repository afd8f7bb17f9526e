import { spawnSync } from 'node:child_process';
import { cpSync, renameSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { type BrokerChild, startChild } from '../helpers/broker.js';
import { runProgram, temporaryDirectory } from '../helpers/command.js';
import { type Answered, Peer } from '../helpers/peer.js';
import { keepResults } from '../helpers/results.js';
import { Fault, FaultyDisk, withoutFaultyDisk } from '../power/faulty-disk.js';

const skip = withoutFaultyDisk();
const cannotRecord = /"level":50.*the store can not record/;
const recordsAgain = /the store records again/;

interface Scene {
  readonly broker: BrokerChild;
  readonly publisher: Peer;
  /** Has a session and is connected. */
  readonly present: Peer;
}

async function setDisk(t: Test): Promise<{ directory: string; disk: FaultyDisk }> {
  const folder = await temporaryDirectory(t);
  return { directory: join(folder, 'data'), disk: new FaultyDisk(folder) };
}

/** A broker, a publisher, a subscriber with a session that is here and one that is away. */
async function setScene(t: Test, directory: string, environment: Record<string, string>): Promise<Scene> {
  const broker = await startChild(t, ['--data', directory], environment);
  const away = await Peer.join(t, broker, 'away', { expiry: 3600 });
  await away.subscribe('t/#', { qos: 2 });
  await away.leave();
  const present = await Peer.join(t, broker, 'present', { expiry: 3600 });
  await present.subscribe('t/#', { qos: 2 });
  const publisher = await Peer.join(t, broker, 'publisher');
  return { broker, publisher, present };
}

/** What the session that was away gets: payloads in order. */
async function collect(t: Test, broker: BrokerChild, count: number): Promise<string[]> {
  const away = await Peer.join(t, broker, 'away', { expiry: 3600 });
  const payloads: string[] = [];
  while (payloads.length < count) payloads.push((await away.take()).text);
  await away.settle();
  return [...payloads, ...away.inbox.map(({ text }) => text)];
}

/** What became of the messages that were sent while the disk began to fail. */
interface Beginning {
  /** Payloads that were acknowledged. */
  readonly stored: readonly string[];
  /** The last one, and the answer to it: a refusal, or nothing until there is room again. */
  readonly last: string;
  readonly answer: Promise<Answered>;
}

/** A fault that ends, as the page about reliability names it. */
interface PassingFault {
  /** Of the file with the results. */
  readonly name: string;
  readonly fault: string;
  begin(): void;
  end(): void;
}

/** Publishes until the disk is found to fail: at the latest a tenth of a second after it began to. */
async function publishUntilFailure(publisher: Peer, broker: BrokerChild): Promise<Beginning> {
  const failure = broker.running.errors(cannotRecord).then(() => null);
  const stored: string[] = [];
  for (let count = 0; ; count++) {
    const last = `open ${count}`;
    const packetId = publisher.send1('t/a', { qos: 2, payload: last });
    const answer = publisher.answer(packetId);
    const first = await Promise.race([answer, failure]);
    if (first === null || first.code >= 0x80) return { stored, last, answer };
    publisher.send({ cmd: 'pubrel', messageId: packetId });
    stored.push(last);
  }
}

/** From the fault on: refused, told once, QoS 0 and connections go on. */
async function endure(
  t: Test,
  { broker, publisher, present }: Scene,
): Promise<Beginning & { readonly refused: number }> {
  const { running } = broker;
  // What is on its way when the disk fails is not answered. What was stored just before may be, after the failure was
  // told: `checkRecovery` looks for it in the end. What comes later is refused.
  const beginning = await publishUntilFailure(publisher, broker);
  // Never answered if the broker is killed before the disk recovers.
  beginning.answer.catch(() => undefined);
  const other = await Peer.join(t, broker, 'other');
  const codes: number[] = [];
  for (let round = 0; round < 20; round++) {
    codes.push((await other.publish('t/a', { qos: 1, payload: 'refused' })).code);
    codes.push((await other.publish('t/a', { qos: 2, payload: 'refused' })).code);
  }
  t.same([...new Set(codes)], [0x80], 'QoS 1 and 2 are refused');
  await publisher.settle();
  // Both wait for the disk, with QoS 2; QoS 0 goes past that.
  await publisher.publish('t/b', { qos: 0, payload: 'live' });
  for (;;) if ((await present.take()).text === 'live') break;
  const durable = await Peer.greet(t, broker, 'late', { expiry: 3600 });
  t.ok(durable.connackCode >= 0x80, 'a session that could not be kept is refused');
  const transient = await Peer.join(t, broker, 'passing');
  await transient.settle();
  await running.errors(cannotRecord);
  t.equal(running.stderr.split('\n').filter((line) => cannotRecord.test(line)).length, 1, 'told once');
  return { ...beginning, refused: [...codes, durable.connackCode].filter((code) => code >= 0x80).length };
}

/** How many are lost or repeated. */
function countWrong(expected: readonly string[], found: readonly string[]): number {
  return expected.filter((payload) => !found.includes(payload)).length + found.length - new Set(found).size;
}

/** Fails, endures, recovers without a restart; then a crash shows that what was acknowledged is there. */
async function checkRecovery(t: Test, scene: Scene, { name, fault, begin, end }: PassingFault): Promise<void> {
  const { broker, publisher } = scene;
  t.equal((await publisher.publish('t/a', { qos: 1, payload: 'before' })).code, 0);
  begin();
  const { stored, last, answer, refused } = await endure(t, scene);
  end();
  await broker.running.errors(recordsAgain);
  const { code } = await answer;
  const expected = ['before', ...stored, ...(code === 0 ? [last] : []), 'after'];
  t.equal((await publisher.publish('t/a', { qos: 2, payload: 'after' })).code, 0);
  await broker.kill9();
  const again = await broker.restart();
  const found = await collect(t, again, expected.length);
  t.same(found, expected, 'what was acknowledged, in order, and nothing else');
  const lost = countWrong(expected, found);
  const outcome = 'goes on without a restart, and is killed';
  keepResults(`disk-${name}`, { fault, acknowledged: expected.length, refused, lost, end: outcome });
}

t.test('a full disk: refused and told once, and taken up again when there is room', { skip }, async (t) => {
  const { directory, disk } = await setDisk(t);
  const scene = await setScene(t, directory, disk.environment());
  const [begin, end] = [Fault.full, Fault.none].map((fault) => () => disk.fail(fault)) as [() => void, () => void];
  await checkRecovery(t, scene, { name: 'full', fault: 'no room on the disk', begin, end });
});

t.test('a sync error: refused and told once; a restart finds what was acknowledged', { skip }, async (t) => {
  const { directory, disk } = await setDisk(t);
  const scene = await setScene(t, directory, disk.environment());
  const { broker, publisher } = scene;
  t.equal((await publisher.publish('t/a', { qos: 1, payload: 'before' })).code, 0);
  disk.fail(Fault.syncError);
  const { stored, answer, refused } = await endure(t, scene);
  let isAnswered = false;
  answer.then(
    ({ code }) => {
      isAnswered = code < 0x80;
    },
    () => undefined,
  );
  await publisher.settle();
  t.notOk(isAnswered, 'what is not known to be on the disk is not acknowledged');
  disk.fail(Fault.none);
  t.equal((await scene.present.publish('t/a', { qos: 1 })).code, 0x80, 'a failed sync is not tried again');
  await broker.kill9();
  const again = await broker.restart();
  const expected = ['before', ...stored];
  const found = await collect(t, again, expected.length);
  t.same(found.slice(0, expected.length), expected, 'what was acknowledged');
  const lost = countWrong(expected, found);
  const end = 'nothing more recorded until a restart';
  const outcome = { acknowledged: expected.length, refused: refused + 1, lost, end };
  keepResults('disk-sync', { fault: 'a sync that fails', ...outcome });
});

/** A file system of 40 MB. Only root may make one. */
function mountSmall(t: Test, directory: string): false | string {
  const { status, stderr } = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=40m', 'tmpfs', directory]);
  if (status !== 0) return `needs the right to mount a file system (${String(stderr).trim()})`;
  t.teardown(() => spawnSync('umount', ['-l', directory]));
  return false;
}

t.test('a small file system that fills up and is cleared', async (t) => {
  const mount = await temporaryDirectory(t);
  const reason = mountSmall(t, mount);
  if (reason !== false) {
    t.pass(reason, { skip: reason });
    return;
  }
  const scene = await setScene(t, join(mount, 'data'), {});
  const filler = join(mount, 'filler');
  const fill = (): void => {
    const { bavail, bsize } = statfsSync(mount);
    writeFileSync(filler, Buffer.alloc(bavail * bsize - 2 ** 20));
  };
  const fault = 'a file system of 40 MB that somebody fills';
  await checkRecovery(t, scene, { name: 'filled', fault, begin: fill, end: () => rmSync(filler) });
});

t.test('a data directory that is moved away and comes back', async (t) => {
  const directory = join(await temporaryDirectory(t), 'data');
  const scene = await setScene(t, directory, {});
  const elsewhere = `${directory}-elsewhere`;
  const begin = () => renameSync(directory, elsewhere);
  const end = () => renameSync(elsewhere, directory);
  await checkRecovery(t, scene, { name: 'moved', fault: 'the data directory moved away', begin, end });
});

t.test('a copy in place of the data file is not taken for it', async (t) => {
  const directory = join(await temporaryDirectory(t), 'data');
  const { broker, publisher } = await setScene(t, directory, {});
  renameSync(directory, `${directory}-elsewhere`);
  cpSync(`${directory}-elsewhere`, directory, { recursive: true });
  await publishUntilFailure(publisher, broker);
  t.ok(await broker.running.errors(/data\.mdb was removed or replaced while the broker had it open/));
});

t.test('a directory that may not be written to is refused at the start', async (t) => {
  const mount = await temporaryDirectory(t);
  const reason = mountSmall(t, mount);
  if (reason !== false) {
    t.pass(reason, { skip: reason });
    return;
  }
  spawnSync('mount', ['-o', 'remount,ro', mount]);
  const { code, stderr } = await runProgram(t, ['start', '--port', '0', '--data', mount]);
  t.equal(code, 1);
  t.match(stderr, /cannot be created, read and written \(.*\); make it belong to the user/);
});
