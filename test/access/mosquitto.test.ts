import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { parseAccessFile } from '../../lib/access/access-file.js';
import { Random } from '../crash/random.js';
import { startBroker } from '../helpers/broker.js';
import { temporaryDirectory } from '../helpers/command.js';
import { connect, type Version } from '../helpers/packets.js';
import { parseConnack } from '../helpers/parse.js';
import { Peer } from '../helpers/peer.js';
import { findClient, RealClient, startClient } from '../helpers/real-clients.js';
import { dialAndSend } from '../helpers/scenes.js';

/** What is asked of both brokers must come out the same: with the same files, over real sockets. */

const users = ['alice', 'bob', 'carol'];
/** The clients that ask: user name and client identifier. */
const clients: readonly (readonly [string | null, string])[] = [
  [null, 'guest'],
  ['alice', 'c1'],
  ['alice', 'b'],
  ['bob', 'a'],
  ['bob', '$x'],
  ['carol', 'c+'],
];
const topics = [
  'a',
  'b',
  'a/a',
  'a/b',
  'b/alice',
  'a/c1',
  'alice/a',
  'bob',
  'x-a/b',
  'a/b/a',
  '/a',
  '$x/a',
  '$x',
  'c+/a',
];
const names = topics.filter((topic) => !topic.includes('+'));
const writer = 'writer';

/** A level of a filter; with `%u` and `%c` in patterns. */
function level(random: Random, isPattern: boolean): string {
  const plain = ['a', 'a', 'b', 'alice', 'bob', '+', '+', '', '$x', 'x-a'];
  return random.pick(isPattern ? [...plain, '%u', '%c', '%u', '%c', 'x-%c'] : plain);
}

function filter(random: Random, isPattern: boolean): string {
  const levels = Array.from({ length: 1 + random.below(3) }, () => level(random, isPattern));
  if (random.chance(0.3)) levels.push('#');
  return levels.join('/') || '#';
}

function accessFile(random: Random): string {
  const access = (): string => random.pick(['read ', 'write ', 'readwrite ', 'deny ', '']);
  const lines: string[] = ['# generated'];
  const rules = (most: number): void => {
    for (let left = random.below(most + 1); left > 0; left--) {
      const isPattern = random.chance(0.35);
      lines.push(`${isPattern ? 'pattern' : 'topic'} ${access()}${filter(random, isPattern)}`);
    }
  };
  rules(4);
  for (const user of [...users, random.pick(users)]) {
    lines.push(`user ${user}`);
    rules(4);
  }
  return [...lines, `user ${writer}`, 'topic write #', 'topic write $x/#', ''].join('\n');
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** Both brokers with the same files. */
async function startBoth(t: Test, mosquitto: string, passwords: string, rules: string, anonymous: boolean) {
  const directory = await temporaryDirectory(t);
  const file = join(directory, 'access');
  await writeFile(file, rules, { mode: 0o644 });
  const port = await freePort();
  const configuration = [
    `listener ${port} 127.0.0.1`,
    `allow_anonymous ${anonymous}`,
    `password_file ${passwords}`,
    `acl_file ${file}`,
    // Where tests run as root, it would become another user, who may not read the files.
    'user root',
  ];
  await writeFile(join(directory, 'mosquitto.conf'), `${configuration.join('\n')}\n`);
  const theirs = startClient(t, mosquitto, ['-c', join(directory, 'mosquitto.conf')]);
  await theirs.errors(/mosquitto version .* running/);
  const ours = await startBroker(t, { passwordFile: passwords, accessFile: file, allowAnonymous: anonymous });
  return { ours: ours.port, theirs: port, stop: () => Promise.all([theirs.kill('SIGTERM'), ours.broker.close()]) };
}

async function passwordFile(t: Test, program: string): Promise<string> {
  const file = join(await temporaryDirectory(t), 'passwords');
  await writeFile(file, '');
  for (const [at, user] of [...users, writer].entries()) {
    const hash = at % 2 === 0 ? 'sha512-pbkdf2' : 'sha512';
    t.equal(spawnSync(program, ['-H', hash, '-b', file, user, 'x']).status, 0);
  }
  return file;
}

/** What one broker lets each client publish, and what it sends each: one line for each decision. */
async function decisionsOf(
  t: Test,
  port: number,
): Promise<{ publish: string[]; receive: string[]; refused: string[] }> {
  const publish: string[] = [];
  const receive: string[] = [];
  const refused: string[] = [];
  const join = (user: string | null, id: string): Promise<Peer> =>
    Peer.join(t, { port }, id, user === null ? {} : { userName: user });
  const peers = await Promise.all(clients.map(([user, id]) => join(user, id)));
  for (const [at, peer] of peers.entries()) {
    const who = `${clients[at]?.[0]} as ${peer.clientId}`;
    for (const topic of names) {
      const { code } = await peer.publish(topic);
      publish.push(`${who} publishes ${topic}: ${code < 0x80}`);
    }
    for (const filter of ['#', '$x/#', '+/a']) {
      if ((await peer.subscribe(filter, { qos: 0 })) >= 0x80) refused.push(`${who} ${filter}`);
    }
  }
  const pub = await join(writer, 'writer');
  for (const topic of names) await pub.publish(topic, { qos: 1 });
  for (const [at, peer] of peers.entries()) {
    await peer.settle();
    const came = new Set(peer.inbox.map(({ topic }) => topic));
    const who = `${clients[at]?.[0]} as ${peer.clientId}`;
    for (const topic of names) receive.push(`${who} receives ${topic}: ${came.has(topic)}`);
  }
  return { publish, receive, refused };
}

t.test('generated access files give the same decisions as in Mosquitto, hundreds of them', async (t) => {
  const mosquitto = findClient(t, RealClient.mosquitto);
  const program = findClient(t, RealClient.mosquittoPasswd);
  if (mosquitto === undefined || program === undefined) return;
  const passwords = await passwordFile(t, program);
  let decided = 0;
  let allowed = 0;
  for (let seed = 1; seed <= 8; seed++) {
    const rules = accessFile(new Random(seed));
    const both = await startBoth(t, mosquitto, passwords, rules, true);
    const [ours, theirs] = [await decisionsOf(t, both.ours), await decisionsOf(t, both.theirs)];
    await both.stop();
    // One thing is stricter here: an identifier that begins with $ gets nothing by a pattern that begins with it.
    const isStricter = (line: string): boolean => / as \$x /.test(line) && /^pattern (\w+ )?%c/m.test(rules);
    for (const kind of ['publish', 'receive'] as const) {
      const different = theirs[kind].filter((line, at) => line !== ours[kind][at] && !isStricter(line));
      t.same(different, [], `seed ${seed}, ${kind}\n${rules}`);
      decided += ours[kind].length;
      allowed += ours[kind].filter((line) => line.endsWith('true')).length;
    }
    for (const line of ours.refused) t.notMatch(theirs.refused, [line], 'they grant every subscription');
  }
  t.ok(decided > 800 && allowed > decided / 10 && allowed < (decided * 9) / 10, `${allowed} of ${decided} allowed`);
});

t.test(
  'a name with a slash gets by a pattern no more than in Mosquitto, and never what is beyond its level',
  async (t) => {
    const rules = parseAccessFile('f', 'pattern %u/#\npattern own/%c\npattern deny %u/secret');
    const may = (clientId: string, userName: string, topic: string): boolean =>
      rules.allows({ clientId, userName }, 'publish', topic);
    t.equal(may('c', 'alice', 'alice/private'), true);
    t.equal(may('c', 'alice', 'alice/secret'), false);
    for (const name of ['alice/private', 'alice/', '/', '+', '#', 'alice/#', '', '$SYS']) {
      for (const topic of ['alice/private', 'alice/private/x', 'alice', '/x', 'bob/x', '$SYS/x', 'x']) {
        t.equal(may('c', name, topic), false, `${name}: ${topic}`);
        t.equal(may(name, 'nobody', `own/${topic}`), false, `${name}: own/${topic}`);
      }
    }
  },
);

t.test('the same clients come in as in Mosquitto', async (t) => {
  const mosquitto = findClient(t, RealClient.mosquitto);
  const program = findClient(t, RealClient.mosquittoPasswd);
  if (mosquitto === undefined || program === undefined) return;
  const passwords = await passwordFile(t, program);
  const both = [
    { userName: 'alice', password: 'x' },
    { userName: 'bob', password: 'x' },
    { userName: 'bob', password: 'y' },
    { userName: 'nobody', password: 'x' },
    { userName: 'alice' },
    {},
  ];
  const decide = (port: number, version: Version): Promise<string[]> =>
    Promise.all(
      both.map(async (credentials, at) => {
        const client = await dialAndSend(t, { port }, connect({ version, clientId: `c${at}`, ...credentials }));
        const { code } = parseConnack(await client.packet(), version);
        return `${JSON.stringify(credentials)}: ${code === 0}`;
      }),
    );
  for (const anonymous of [true, false]) {
    for (const version of [3, 4, 5] as const) {
      const both = await startBoth(t, mosquitto, passwords, 'topic #\n', anonymous);
      t.same(await decide(both.ours, version), await decide(both.theirs, version), `${version}, ${anonymous}`);
      await both.stop();
    }
  }
});
