import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { chmod, chown, lstat, readFile, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import t, { type Test } from 'tap';
import { Access } from '../../lib/access/access.js';
import { waitingMax } from '../../lib/access/failed-attempts.js';
import { editPasswordFile, parsePasswordFile } from '../../lib/access/password-file.js';
import { formatPasswordHash, hashPassword, parsePasswordHash } from '../../lib/access/password-hash.js';
import { Passwords } from '../../lib/access/passwords.js';
import type { Log } from '../../lib/base/log.js';
import { parseOptions } from '../../lib/config/schema.js';
import { Broker, type Hooks } from '../../lib/index.js';
import { startBroker } from '../helpers/broker.js';
import { expectDisconnect } from '../helpers/client.js';
import { runProgram, temporaryDirectory } from '../helpers/command.js';
import { FakeClock } from '../helpers/fake-clock.js';
import { connect } from '../helpers/packets.js';
import { findClient, RealClient } from '../helpers/real-clients.js';
import { dialAndSend, expectRefused, forVersions, join as joinBroker } from '../helpers/scenes.js';

/** Of the password "secret". */
const pbkdf2 =
  '$7$101$Y2FmZWJhYmVmZWVk$' +
  'j2BB2TK5eEH48ISdaG0Eq2P6d4JAgkIxnZu5+BCa+AXwOmnQvA9oCSi3Fpzg8zY/cPMo2exODullJiqGrpiT1g==';

async function lineOf(user: string, password: string, iterations = 101): Promise<string> {
  return `${user}:${formatPasswordHash(await hashPassword(Buffer.from(password), iterations))}\n`;
}

async function fileWith(t: Test, text: string): Promise<string> {
  const file = join(await temporaryDirectory(t), 'passwords');
  await writeFile(file, text);
  return file;
}

t.test('a password file is read as Mosquitto reads it; a wrong line is named, and not shown', async (t) => {
  t.same(formatPasswordHash(parsePasswordHash(pbkdf2) as never), pbkdf2);
  const text = `# people\n\nalice:${pbkdf2}\r\nbob:${pbkdf2}\n carol :${pbkdf2}\n`;
  t.same([...parsePasswordFile('f', text).keys()], ['alice', 'bob', 'carol']);
  const wrong = {
    'alice\n': /^f: line 1: a line is USER:HASH/,
    [`:${pbkdf2}`]: /^f: line 1: a line is USER:HASH/,
    'x:secret': /^f: line 1: this is no hash/,
    [`\nx:${pbkdf2}$`]: /^f: line 2: this is no hash/,
    [`x:${pbkdf2.replace('$101$', '$0$')}`]: /no hash/,
    [`x:${pbkdf2.replace('$101$', '$1e9$')}`]: /no hash/,
    [`x:${pbkdf2.replace('$7$', '$6$')}`]: /no hash/,
    [`x:${pbkdf2.slice(0, -4)}`]: /no hash/,
    [` :${pbkdf2}`]: /^f: line 1: the user name is empty/,
    [`x\0y:${pbkdf2}`]: /^f: line 1: the user name is empty or has control characters/,
    [`x:${pbkdf2}\nx:${pbkdf2}`]: /^f: line 2: this user has a line before/,
  };
  for (const [given, message] of Object.entries(wrong)) {
    t.throws(() => parsePasswordFile('f', given), { code: 'ERR_COUNTERSIGN_CONFIG', message }, given);
    try {
      parsePasswordFile('f', given);
    } catch (error) {
      t.notMatch(String(error), /secret|Y2Fm/);
    }
  }
});

t.test('a line is added, replaced or deleted, and all else stays', async (t) => {
  const hash = parsePasswordHash(pbkdf2);
  const text = `# people\nalice:old\nbob:other\n`;
  t.equal(editPasswordFile(text, 'alice', hash), `# people\nalice:${pbkdf2}\nbob:other\n`);
  t.equal(editPasswordFile(text, 'carol', hash), `${text}carol:${pbkdf2}\n`);
  t.equal(editPasswordFile('# no end', 'carol', hash), `# no end\ncarol:${pbkdf2}\n`);
  t.equal(editPasswordFile(text, 'alice', null), '# people\nbob:other\n');
  t.equal(editPasswordFile(text, 'ali', null), null);
  t.equal(editPasswordFile(' alice :old\n', 'alice', hash), `alice:${pbkdf2}\n`);
});

forVersions(t, [3, 4, 5], 'the password file decides who comes in', async (t, version) => {
  const passwordFile = await fileWith(t, await lineOf('alice', 'secret'));
  const { broker, port } = await startBroker(t, { passwordFile });
  await joinBroker(t, { port }, { version, clientId: 'a', userName: 'alice', password: 'secret' });
  const refused = [
    [{ userName: 'alice', password: 'wrong' }, 0x86, 4],
    [{ userName: 'alice' }, 0x86, 4],
    [{ userName: 'mallory', password: 'secret' }, 0x86, 4],
    [{}, 0x87, 5],
  ] as const;
  for (const [fields, code, returnCode] of refused) {
    const client = await dialAndSend(t, { port }, connect({ version, clientId: 'a', ...fields }));
    await expectRefused(client, version === 5 ? code : returnCode, version);
  }
  t.equal(broker.metrics.authenticationsFailed, refused.length);
});

t.test('allowAnonymous: without authentication all come in, with it only those that it allows', async (t) => {
  const passwordFile = await fileWith(t, await lineOf('alice', 'secret'));
  await joinBroker(t, await startBroker(t));
  await joinBroker(t, await startBroker(t), { userName: 'anyone', password: 'x' });
  const open = await startBroker(t, { passwordFile, allowAnonymous: true });
  await joinBroker(t, open);
  await expectRefused(await dialAndSend(t, open, connect({ userName: 'alice', password: 'x' })), 0x86);
  await expectRefused(await dialAndSend(t, open, connect({ password: 'x' })), 0x86);
  const shut = await startBroker(t, { allowAnonymous: false });
  await expectRefused(await dialAndSend(t, shut, connect()), 0x87);
  await expectRefused(await dialAndSend(t, shut, connect({ userName: 'anyone', password: 'x' })), 0x86);
});

t.test('a file that mosquitto_passwd wrote lets the same users in', async (t) => {
  const program = findClient(t, RealClient.mosquittoPasswd);
  if (program === undefined) return;
  const file = await fileWith(t, '');
  for (const [kind, user] of [
    ['sha512-pbkdf2', 'new'],
    ['sha512', 'old'],
  ] as const) {
    t.equal(spawnSync(program, ['-H', kind, '-b', file, user, `pass of ${user}`]).status, 0);
  }
  t.match(await readFile(file, 'utf8'), /^new:\$7\$.*\nold:\$6\$/);
  const broker = await startBroker(t, { passwordFile: file });
  for (const userName of ['new', 'old']) {
    await joinBroker(t, broker, { userName, password: `pass of ${userName}` });
    await expectRefused(await dialAndSend(t, broker, connect({ userName, password: 'pass of' })), 0x86);
  }
});

t.test('an unknown user is compared with a hash as well, always the same one', async (t) => {
  const passwords = new Passwords(parsePasswordFile('f', await lineOf('alice', 'secret', 100_000)));
  const timeOf = async (user: string): Promise<number> => {
    const before = process.cpuUsage();
    t.equal(await passwords.verify(user, Buffer.from('guess')), 'wrong');
    const { user: spent, system } = process.cpuUsage(before);
    return spent + system;
  };
  const known = await timeOf('alice');
  const unknown = await timeOf('nobody');
  t.ok(unknown > known / 4, `${unknown} µs of processor time for an unknown user, ${known} µs for a known one`);
});

t.test('only so many passwords are looked at or wait at a time; the rest is told to come again', async (t) => {
  const passwords = new Passwords(parsePasswordFile('f', await lineOf('alice', 'secret')));
  const verdicts = await Promise.all(
    Array.from({ length: 1500 }, () => passwords.verify('alice', Buffer.from('secret'))),
  );
  const count = (verdict: string): number => verdicts.filter((one) => one === verdict).length;
  t.same([count('right'), count('busy')], [1002, 498]);
  t.equal(passwords.pending, 0);
  t.equal(await passwords.verify('alice', Buffer.from('secret')), 'right');
});

t.test('a password that a reload replaces while it is being compared lets nobody in', async (t) => {
  const [alice, other] = [await lineOf('alice', 'secret', 10_000), await lineOf('alice', 'other')];
  for (const text of ['', other]) {
    const passwords = new Passwords(parsePasswordFile('f', alice));
    const verdict = passwords.verify('alice', Buffer.from('secret'));
    passwords.replace(parsePasswordFile('f', text));
    t.equal(await verdict, 'busy');
  }
  const passwords = new Passwords(parsePasswordFile('f', alice));
  const verdict = passwords.verify('alice', Buffer.from('secret'));
  passwords.replace(parsePasswordFile('f', `${alice}bob:${pbkdf2}`));
  t.equal(await verdict, 'right', 'a reload that leaves it as it was is none of its business');
});

t.test('a file is in UTF-8, with or without a byte order mark; comments may be in anything', async (t) => {
  const open = async (bytes: Buffer) => {
    const passwordFile = join(await temporaryDirectory(t), 'passwords');
    await writeFile(passwordFile, bytes);
    return Access.open(parseOptions({ passwordFile }, ''), {}, new FakeClock());
  };
  await open(Buffer.from(`\ufeff# people\nalice:${pbkdf2}\n`));
  await open(Buffer.from(`# f\xfcr alle\nalice:${pbkdf2}\n`, 'latin1'));
  const message = /^passwordFile: .*passwords: line 2 is not in UTF-8$/;
  await t.rejects(open(Buffer.from(`# people\nj\xfcrgen:${pbkdf2}\n`, 'latin1')), { message });
});

/** Access by a password file on a clock of the test's own. */
async function timedAccess(t: Test) {
  const passwordFile = await fileWith(t, await lineOf('alice', 'secret'));
  const clock = new FakeClock();
  const access = await Access.open(parseOptions({ passwordFile }, ''), {}, clock);
  const attempt = (password: string, address = '10.0.0.1:50000') => {
    const shown = { clientId: 'c', userName: 'alice', password: Buffer.from(password), certificateUser: null };
    const request = { ...shown, address, protocolVersion: 5 };
    const verdict = access.hooks.authenticate?.(request);
    assert(verdict instanceof Promise);
    const attempt = { verdict: verdict.then((value) => JSON.stringify(value)), isDone: false };
    void attempt.verdict.then(() => {
      attempt.isDone = true;
    });
    return attempt;
  };
  /** All hashes that were begun are done, and what follows at once. */
  const settle = async (): Promise<void> => {
    while (access.load.passwordsPending > 0) await new Promise((resolve) => setImmediate(resolve));
    await new Promise((resolve) => setImmediate(resolve));
  };
  return { access, clock, attempt, settle };
}

t.test('who fails again and again waits longer and longer for the answer, who is right never', async (t) => {
  const { clock, attempt, settle } = await timedAccess(t);
  for (let free = 0; free < 3; free++) t.equal(await attempt('wrong').verdict, 'false');
  for (const delayMs of [250, 500, 1000, 2000, 4000, 5000, 5000]) {
    const slow = attempt('wrong');
    await settle();
    clock.advance(delayMs - 1);
    await settle();
    t.notOk(slow.isDone, `not before ${delayMs} ms`);
    t.equal(await attempt('secret').verdict, 'true', 'the right password is answered at once');
    t.equal(await attempt('wrong', '10.0.0.2:50000').verdict.then(() => 'done'), 'done', 'and so is another address');
    clock.advance(1);
    t.equal(await slow.verdict, 'false');
    if (delayMs === 500) break;
  }
  clock.advance(600_001);
  t.equal(await attempt('wrong').verdict, 'false', 'in the end it is forgotten');
});

t.test('only so many refusals of one network wait: what comes on top is refused unseen', async (t) => {
  for (const [addresses, other] of [
    [['10.0.0.1:1', '10.0.0.1:2', '::ffff:10.0.0.1:3'], '10.0.0.2:1'],
    [['2001:db8::1:50000', '2001:db8:0:0:ffff::2:1', '2001:db8:0:0:1:2:3:4:9'], '2001:db8:0:1::1:50000'],
  ] as const) {
    const { clock, attempt, settle } = await timedAccess(t);
    for (let free = 0; free < 3; free++) await attempt('wrong', addresses[0]).verdict;
    const slow = Array.from({ length: waitingMax }, (_, at) => attempt('wrong', addresses[at % 3]));
    await settle();
    const busy = '{"reasonCode":137,"reason":"too many attempts: try again later"}';
    t.equal(await attempt('secret', addresses[0]).verdict, busy, 'not even looked at');
    t.equal(await attempt('secret', other).verdict, 'true');
    clock.advance(5000);
    for (const { verdict } of slow) t.equal(await verdict, 'false');
    t.equal(await attempt('secret', addresses[0]).verdict, 'true');
  }
});

t.test('addresses that failed are remembered in bounded memory', async (t) => {
  const { access, attempt } = await timedAccess(t);
  const rounds = Array.from({ length: 21 }, (_, round) => round);
  for (const round of rounds) {
    const attempts = Array.from({ length: 500 }, (_, at) => attempt('x', `10.${round}.${at >> 8}.${at & 255}:1`));
    await Promise.all(attempts.map(({ verdict }) => verdict));
  }
  t.equal(access.load.addressesSlowed, 10_000);
});

t.test('reload takes other passwords and ends the connections of users who changed', async (t) => {
  const [alice, bob, carol] = await Promise.all(['alice', 'bob', 'carol'].map((user) => lineOf(user, user)));
  const passwordFile = await fileWith(t, `${alice}${bob}${carol}`);
  const { broker, port } = await startBroker(t, { passwordFile, allowAnonymous: true });
  const names = ['alice', 'bob', 'carol'];
  const clients = await Promise.all(
    names.map((name) => joinBroker(t, { port }, { clientId: name, userName: name, password: name })),
  );
  const guest = await joinBroker(t, { port });
  await writeFile(passwordFile, `${alice}${await lineOf('bob', 'new')}${await lineOf('dave', 'dave')}`);
  await broker.reload();
  await clients[0].expectNothing();
  await guest.expectNothing();
  await expectDisconnect(clients[1], 0x87);
  await expectDisconnect(clients[2], 0x87);
  await joinBroker(t, { port }, { userName: 'dave', password: 'dave' });
  await joinBroker(t, { port }, { userName: 'bob', password: 'new' });
  await expectRefused(await dialAndSend(t, { port }, connect({ userName: 'carol', password: 'carol' })), 0x86);
});

t.test('a reload with an error changes nothing and says why', async (t) => {
  const alice = await lineOf('alice', 'alice');
  const passwordFile = await fileWith(t, alice);
  const { broker, port } = await startBroker(t, { passwordFile });
  const client = await joinBroker(t, { port }, { userName: 'alice', password: 'alice' });
  await writeFile(passwordFile, `${alice}bob\n`);
  await t.rejects(broker.reload(), {
    code: 'ERR_COUNTERSIGN_CONFIG',
    message: /passwords: line 2: a line is USER:HASH/,
  });
  await client.expectNothing();
  await joinBroker(t, { port }, { userName: 'alice', password: 'alice' });
});

t.test('a file that is not there or wrong keeps the broker from starting', async (t) => {
  const missing = new Broker({ port: 0, memory: true, passwordFile: '/nowhere/passwords' });
  await t.rejects(missing.listen(), { message: 'passwordFile: /nowhere/passwords: there is no such file' });
  const both = new Broker({ port: 0, memory: true, passwordFile: 'x', hooks: { authenticate: () => true } });
  await t.rejects(both.listen(), { code: 'ERR_COUNTERSIGN_CONFIG', message: /both check passwords/ });
});

t.test('hooks of an embedding program stay what they are, methods of an object too', async (t) => {
  class Own implements Hooks {
    private readonly password = 'own';
    authenticate({ password }: { password: Buffer | null }): boolean {
      return password?.toString() === this.password;
    }
  }
  const broker = new Broker({ port: 0, memory: true, hooks: new Own(), allowAnonymous: false });
  t.teardown(() => broker.close());
  const { port } = await broker.listen();
  await joinBroker(t, { port }, { userName: 'x', password: 'own' });
  await expectRefused(await dialAndSend(t, { port }, connect({ userName: 'x', password: 'x' })), 0x86);
});

t.test('no password reaches a log', async (t) => {
  const lines: string[] = [];
  const write = (fields: object, message: string): void => {
    lines.push(JSON.stringify(fields), message);
  };
  const log: Log = { debug: write, info: write, warn: write, error: write };
  const passwordFile = await fileWith(t, await lineOf('alice', 'sesame-right'));
  const broker = new Broker({ port: 0, memory: true, passwordFile, log });
  t.teardown(() => broker.close());
  const { port } = await broker.listen();
  await joinBroker(t, { port }, { userName: 'alice', password: 'sesame-right' });
  await expectRefused(await dialAndSend(t, { port }, connect({ userName: 'alice', password: 'sesame-wrong' })), 0x86);
  await expectRefused(await dialAndSend(t, { port }, connect({ password: 'sesame-alone' })), 0x86);
  t.ok(lines.some((line) => line.includes('connection refused')));
  t.notMatch(lines.join('\n'), /sesame|\$7\$/);
});

t.test('countersign passwd makes, changes and deletes, from stdin, with mode 0600', async (t) => {
  const directory = await temporaryDirectory(t);
  const file = join(directory, 'passwords');
  const run = (stdin: string, ...args: string[]) => runProgram(t, ['passwd', file, ...args], {}, stdin);
  t.match(await run('first\n', 'alice', '--iterations', '101'), { code: 0, stdout: '', stderr: '' });
  t.equal((await stat(file)).mode & 0o777, 0o600);
  await writeFile(file, `# kept\n${await readFile(file, 'utf8')}`);
  // Such as a group that the broker is in.
  await chmod(file, 0o640);
  if (process.getuid?.() === 0) await chown(file, 0, 12);
  const before = await stat(file);
  t.match(await run('of bob\r\nmore', 'bob', '--iterations', '101'), { code: 0 });
  t.match(await run('second', 'alice', '--iterations', '101'), { code: 0 });
  t.match(await stat(file), { mode: before.mode, uid: before.uid, gid: before.gid }, 'who reads it can go on');
  t.match(await readFile(file, 'utf8'), /^# kept\nalice:\$7\$101\$.*\nbob:\$7\$101\$.*\n$/);
  const broker = await startBroker(t, { passwordFile: file });
  await joinBroker(t, broker, { userName: 'alice', password: 'second' });
  await joinBroker(t, broker, { userName: 'bob', password: 'of bob' });
  await expectRefused(await dialAndSend(t, broker, connect({ userName: 'alice', password: 'first' })), 0x86);
  t.match(await run('', 'bob', '--delete'), { code: 0 });
  t.match(await readFile(file, 'utf8'), /^# kept\nalice:.*\n$/);
  t.match(await run('', 'bob', '--delete'), { code: 1, stderr: /there is no user bob/ });
});

t.test('countersign passwd refuses what can not be, and changes nothing', async (t) => {
  const file = await fileWith(t, 'alice:nonsense\n');
  const run = (stdin: string, ...args: string[]) => runProgram(t, ['passwd', ...args], {}, stdin);
  t.match(await run('x', file, 'bob'), { code: 2, stderr: /passwords: line 1: this is no hash/ });
  t.equal(await readFile(file, 'utf8'), 'alice:nonsense\n');
  const latin1 = Buffer.from('# f\xfcr alle\n', 'latin1');
  await writeFile(file, latin1);
  t.match(await run('x', file, 'bob'), { code: 2, stderr: /passwords is not in UTF-8: nothing was changed/ });
  t.same(await readFile(file), latin1);
  const other = `${file}.other`;
  for (const [stdin, user, message] of [
    ['', 'bob', /a password can not be empty/],
    ['x', 'b:b', /neither a colon nor control characters/],
    ['x', ' b', /neither begin nor end with a blank/],
  ] as const) {
    t.match(await run(stdin, other, user), { code: 2, stderr: message });
  }
  t.match(await run('x', other, 'bob', 'the password'), { code: 2, stderr: /too many arguments/ });
  await t.rejects(readFile(other), { code: 'ENOENT' });
  // A device would be replaced as well, if whoever runs it may write to its directory.
  const pipe = `${file}.pipe`;
  execFileSync('mkfifo', [pipe]);
  t.match(await run('x', pipe, 'bob'), { code: 2, stderr: /passwords\.pipe is not a file: nothing was changed/ });
  t.ok((await lstat(pipe)).isFIFO());
  t.match(await run('x', dirname(file), 'bob'), { code: 2, stderr: /is not a file: nothing was changed/ });
});
