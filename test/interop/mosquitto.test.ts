import { join } from 'node:path';
import t, { type Test } from 'tap';
import { startBroker } from '../helpers/broker.js';
import { type Running, temporaryDirectory } from '../helpers/command.js';
import { findClient, RealClient, startClient } from '../helpers/real-clients.js';
import { JsClient } from './mqttjs-client.js';

const levels = [0, 1, 2] as const;
const versions = ['mqttv311', 'mqttv5'] as const;

/** One message as `mosquitto_sub` prints it here: topic, QoS, RETAIN, payload, and properties that a test asks for. */
const format = 'MESSAGE %t %q %r %p';

/** Both programs; undefined if they are not installed. */
function findBoth(t: Test): { pub: string; sub: string } | undefined {
  const pub = findClient(t, RealClient.mosquittoPub);
  const sub = findClient(t, RealClient.mosquittoSub);
  return pub === undefined || sub === undefined ? undefined : { pub, sub };
}

/** Retained, so that it follows SUBACK: `mosquitto_sub` writes what it printed when a message comes, and not before. */
const ready = 'ready/now';

/** Starts `mosquitto_sub`, which exits after `count` messages; resolves when the broker has its subscription. */
async function subscribe(t: Test, path: string, count: number, args: readonly string[]): Promise<Running> {
  const common = ['-h', '127.0.0.1', '-F', format, '-C', String(count + 1), '-t', ready];
  const sub = startClient(t, path, [...common, ...args]);
  await sub.output(/^MESSAGE/m);
  return sub;
}

/** A broker in this process that tells each `mosquitto_sub` when it has subscribed. */
async function startReadyBroker(t: Test, pub: string): Promise<number> {
  const { port } = await startBroker(t);
  await publish(t, pub, ['-p', String(port), '-r', '-t', ready, '-m', 'now']);
  return port;
}

async function publish(t: Test, path: string, args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await startClient(t, path, ['-h', '127.0.0.1', '-d', ...args]).finish();
  if (code !== 0) t.fail(`mosquitto_pub ended with ${code}: ${stderr}`);
  return stdout + stderr;
}

/** What it received, once it has exited by itself. */
async function received(sub: Running): Promise<string[]> {
  const { stdout } = await sub.finish();
  const messages = [...stdout.matchAll(/^MESSAGE (.*)$/gm)].map(([, message]) => message);
  return messages.filter((message) => !/^(ready|now\b)/.test(message));
}

for (const version of versions) {
  for (const qos of levels) {
    const level = ['-q', String(qos)];

    t.test(`mosquitto_pub and mosquitto_sub at ${version} reach each other at QoS ${qos}`, async (t) => {
      const programs = findBoth(t);
      if (programs === undefined) return;
      const port = await startReadyBroker(t, programs.pub);
      const common = ['-p', String(port), '-V', version, ...level];
      const sub = await subscribe(t, programs.sub, 4, [...common, '-t', 'a/b']);
      await publish(t, programs.pub, [...common, '-t', 'a/b', '-m', 'one']);
      await publish(t, programs.pub, [...common, '-t', 'a/b', '-m', 'two', '--repeat', '3']);
      t.same(
        await received(sub),
        ['one', 'two', 'two', 'two'].map((text) => `a/b ${qos} 0 ${text}`),
      );
    });

    t.test(`mosquitto_sub at ${version} gets what was retained at QoS ${qos}`, async (t) => {
      const programs = findBoth(t);
      if (programs === undefined) return;
      const port = await startReadyBroker(t, programs.pub);
      const common = ['-p', String(port), '-V', version, ...level];
      await publish(t, programs.pub, [...common, '-r', '-t', 'r/1', '-m', 'old']);
      await publish(t, programs.pub, [...common, '-r', '-t', 'r/1', '-m', 'new']);
      await publish(t, programs.pub, [...common, '-r', '-t', 'r/2', '-m', 'cleared']);
      await publish(t, programs.pub, [...common, '-r', '-t', 'r/2', '-n']);
      const sub = await subscribe(t, programs.sub, 2, [...common, '-t', 'r/#']);
      await publish(t, programs.pub, [...common, '-t', 'r/3', '-m', 'live']);
      t.same(await received(sub), [`r/1 ${qos} 1 new`, `r/3 ${qos} 0 live`]);
    });

    t.test(`mosquitto_sub at ${version} leaves a will at QoS ${qos}`, async (t) => {
      const programs = findBoth(t);
      if (programs === undefined) return;
      const port = await startReadyBroker(t, programs.pub);
      const common = ['-p', String(port), '-V', version, ...level];
      const watcher = await subscribe(t, programs.sub, 1, [...common, '-t', 'will/#']);
      const will = ['--will-topic', 'will/x', '--will-payload', 'gone', '--will-qos', String(qos)];
      const dying = await subscribe(t, programs.sub, 1, [...common, '-t', 'other', ...will]);
      await dying.kill('SIGKILL');
      t.same(await received(watcher), [`will/x ${qos} 0 gone`]);
    });
  }

  t.test(`mosquitto_sub at ${version} finds what came while it was away`, async (t) => {
    const programs = findBoth(t);
    if (programs === undefined) return;
    const port = await startReadyBroker(t, programs.pub);
    const common = ['-p', String(port), '-V', version];
    const session = [...common, '-c', '-i', 'away', '-q', '2', '-t', 'q/#'];
    const first = startClient(t, programs.sub, ['-h', '127.0.0.1', '-E', ...session]);
    t.equal((await first.finish()).code, 0, 'subscribed and gone');
    for (const [n, qos] of [1, 2, 1].entries()) {
      await publish(t, programs.pub, [...common, '-q', String(qos), '-t', `q/${n}`, '-m', String(n)]);
    }
    const back = startClient(t, programs.sub, ['-h', '127.0.0.1', '-C', '3', '-F', format, ...session]);
    // It shows a QoS 2 message when the flow is at its end, so later than it came.
    t.same((await received(back)).sort(), ['q/0 1 0 0', 'q/1 2 0 1', 'q/2 1 0 2']);
  });

  t.test(`mosquitto_sub at ${version} subscribes with wildcards and unsubscribes`, async (t) => {
    const programs = findBoth(t);
    if (programs === undefined) return;
    const port = await startReadyBroker(t, programs.pub);
    const common = ['-p', String(port), '-V', version, '-q', '1'];
    const filters = ['-t', '+/up', '-t', 'house/#', '-t', 'not/wanted', '-U', 'not/wanted'];
    const sub = await subscribe(t, programs.sub, 3, [...common, ...filters]);
    // UNSUBSCRIBE follows SUBSCRIBE at once: what it takes back is published last but one.
    for (const topic of ['house', 'car/1/up', 'car/up', 'not/wanted', 'house/1']) {
      await publish(t, programs.pub, [...common, '-t', topic, '-m', 'x']);
    }
    t.same(await received(sub), ['house 1 0 x', 'car/up 1 0 x', 'house/1 1 0 x']);
  });

  t.test(`two mosquitto_sub at ${version} share a subscription`, async (t) => {
    const programs = findBoth(t);
    if (programs === undefined) return;
    const port = await startReadyBroker(t, programs.pub);
    const common = ['-p', String(port), '-V', version, '-q', '1'];
    const members = await Promise.all([1, 2].map(() => subscribe(t, programs.sub, 5, [...common, '-t', '$share/g/j'])));
    await publish(t, programs.pub, [...common, '-t', 'j', '-m', 'x', '--repeat', '10']);
    for (const member of members) t.equal((await received(member)).length, 5, 'half of the messages');
  });

  t.test(`mosquitto at ${version} and MQTT.js reach each other at every QoS`, async (t) => {
    const programs = findBoth(t);
    if (programs === undefined) return;
    const port = await startReadyBroker(t, programs.pub);
    const client = await JsClient.connect(t, port);
    await client.mqtt.subscribeAsync('to/js/#', { qos: 2 });
    const common = ['-p', String(port), '-V', version];
    const sub = await subscribe(t, programs.sub, 3, [...common, '-q', '2', '-t', 'to/mosquitto/#']);
    for (const qos of levels) {
      await client.mqtt.publishAsync(`to/mosquitto/${qos}`, 'hello', { qos });
      await publish(t, programs.pub, [...common, '-q', String(qos), '-t', `to/js/${qos}`, '-m', 'hi']);
      t.same(await client.message(), { topic: `to/js/${qos}`, text: 'hi', qos, retain: false });
    }
    t.same(
      await received(sub),
      levels.map((qos) => `to/mosquitto/${qos} ${qos} 0 hello`),
    );
  });
}

t.test('properties go from mosquitto_pub to mosquitto_sub', async (t) => {
  const programs = findBoth(t);
  if (programs === undefined) return;
  const port = await startReadyBroker(t, programs.pub);
  const common = ['-p', String(port), '-V', 'mqttv5', '-q', '1', '-t', 'p'];
  const args = ['-F', 'MESSAGE %p|%C|%R|%D|%F|%P|%S', '-D', 'subscribe', 'subscription-identifier', '9'];
  const sub = await subscribe(t, programs.sub, 1, [...common, ...args]);
  const properties = [
    ['content-type', 'text/plain'],
    ['response-topic', 'answers'],
    ['correlation-data', 'corr'],
    ['payload-format-indicator', '1'],
    ['user-property', 'b', '1'],
    ['user-property', 'a', '2'],
    ['user-property', 'b', '3'],
  ];
  const flags = properties.flatMap((property) => ['-D', 'publish', ...property]);
  await publish(t, programs.pub, [...common, '-m', 'x', ...flags]);
  t.same(await received(sub), ['x|text/plain|answers|corr|1|b:1 a:2 b:3|9']);
});

t.test('mosquitto_pub and mosquitto_sub reach each other over a Unix socket', async (t) => {
  const programs = findBoth(t);
  if (programs === undefined) return;
  const path = join(await temporaryDirectory(t), 'mqtt.sock');
  await startBroker(t, { listeners: [{ type: 'unix', path }] });
  const common = ['--unix', path, '-V', 'mqttv5', '-q', '1'];
  t.equal((await startClient(t, programs.pub, [...common, '-r', '-t', 'ready', '-m', 'now']).finish()).code, 0);
  const sub = startClient(t, programs.sub, [...common, '-F', format, '-C', '2', '-t', 'ready', '-t', 'a']);
  await sub.output(/^MESSAGE ready/m);
  t.equal((await startClient(t, programs.pub, [...common, '-t', 'a', '-m', 'hi']).finish()).code, 0);
  t.same(await received(sub), ['a 1 0 hi']);
});

t.test('a message from mosquitto_pub expires in the queue of an absent mosquitto_sub', async (t) => {
  const programs = findBoth(t);
  if (programs === undefined) return;
  const port = await startReadyBroker(t, programs.pub);
  const common = ['-p', String(port), '-V', 'mqttv5', '-q', '1', '-t', 'e'];
  const session = [...common, '-c', '-i', 'away'];
  await startClient(t, programs.sub, ['-h', '127.0.0.1', '-E', ...session]).finish();
  const expiry = (seconds: string): string[] => ['-D', 'publish', 'message-expiry-interval', seconds];
  await publish(t, programs.pub, [...common, '-m', 'short', ...expiry('1')]);
  await publish(t, programs.pub, [...common, '-m', 'long', ...expiry('600')]);
  // The clock of a real client can not be moved: what is awaited is the expiry itself.
  const spent = performance.now() + 1100;
  while (performance.now() < spent) await publish(t, programs.pub, [...common, '-t', 'other', '-m', 'x']);
  const back = startClient(t, programs.sub, ['-h', '127.0.0.1', '-C', '1', '-F', 'MESSAGE %p %E', ...session]);
  const [message] = await received(back);
  t.match(message, /^long 59\d$/, 'counted down');
});
