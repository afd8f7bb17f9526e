import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { PassThrough } from 'node:stream';
import t, { type Test } from 'tap';
import { shareReads } from '../../../lib/net/shared-reads.js';

/** The sockets of a server and of its client, connected. */
async function pair(t: Test): Promise<{ readonly served: Socket; readonly client: Socket }> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const accepted = once(server, 'connection');
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
  const [served] = (await accepted) as [Socket];
  t.teardown(() => {
    client.destroy();
    served.destroy();
    server.close();
  });
  return { served, client };
}

/** What a socket has read, and where; `until` waits for so many bytes. */
function reader(socket: Socket) {
  const state = { text: '', memories: new Set<Buffer>(), shared: false, told: () => undefined as unknown };
  state.shared = shareReads(socket, function (this: unknown, count, memory) {
    if (this !== socket) throw new Error('it is called on its socket');
    state.text += memory.toString('latin1', 0, count);
    state.memories.add(memory);
    state.told();
    return true;
  });
  const until = async (length: number): Promise<string> => {
    while (state.text.length < length) await new Promise((resolve) => (state.told = () => resolve(null)));
    return state.text;
  };
  return { state, until };
}

t.test('sockets read into the same memory, each its own bytes', async (t) => {
  const [one, other] = [await pair(t), await pair(t)];
  const [first, second] = [reader(one.served), reader(other.served)];
  t.ok(first.state.shared && second.state.shared, 'this version of Node can do it');
  one.client.write('one');
  t.equal(await first.until(3), 'one');
  other.client.write('other');
  t.equal(await second.until(5), 'other');
  one.client.write(' more');
  t.equal(await first.until(8), 'one more');
  t.equal(new Set([...first.state.memories, ...second.state.memories]).size, 1);
  const large = 'x'.repeat(300_000);
  one.client.write(large);
  t.equal(await first.until(8 + large.length), `one more${large}`);
});

t.test('a socket that is paused reads nothing until it goes on, and tells the end', async (t) => {
  const [{ served, client }, other] = [await pair(t), await pair(t)];
  const [{ state, until }, second] = [reader(served), reader(other.served)];
  client.write('a');
  await until(1);
  served.pause();
  await new Promise((resolve) => client.write('b', resolve));
  other.client.write('c');
  await second.until(1);
  t.equal(state.text, 'a');
  served.resume();
  t.equal(await until(2), 'ab');
  const ended = once(served, 'end');
  client.end('z');
  await ended;
  t.equal(state.text, 'abz');
});

t.test('what can not share is left alone', async (t) => {
  t.notOk(
    shareReads(new PassThrough(), () => true),
    'no socket',
  );
  const { served, client } = await pair(t);
  client.write('early');
  await once(served, 'readable');
  t.notOk(
    shareReads(served, () => true),
    'bytes wait in it',
  );
  t.equal(String(served.read()), 'early');
});
