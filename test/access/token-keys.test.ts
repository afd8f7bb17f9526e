import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { exportJWK, SignJWT } from 'jose';
import t, { type Test } from 'tap';
import { Access } from '../../lib/access/access.js';
import { parseOptions } from '../../lib/config/schema.js';
import { startBroker } from '../helpers/broker.js';
import { FakeClock } from '../helpers/fake-clock.js';
import { connect } from '../helpers/packets.js';
import { parseConnack } from '../helpers/parse.js';
import { dialAndSend } from '../helpers/scenes.js';

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const otherRsa = generateKeyPairSync('rsa', { modulusLength: 2048 });

function sign(key: KeyObject, kid: string, expires: number | string = '1h'): Promise<string> {
  return new SignJWT({ sub: 'alice' }).setProtectedHeader({ alg: 'RS256', kid }).setExpirationTime(expires).sign(key);
}

/** The URL of an issuer that answers so. */
async function issuer(t: Test, answer: RequestListener): Promise<string> {
  const server = createServer(answer);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  t.teardown(() => server.closeAllConnections());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/keys`;
}

/** The reason code of CONNACK for a client that shows a token. */
async function codeFor(t: Test, broker: { port: number }, password: string): Promise<number> {
  const client = await dialAndSend(t, broker, connect({ password }));
  const { code } = parseConnack(await client.packet());
  client.end();
  return code;
}

t.test('keys come from a URL; while it gives none, clients are told to come again', async (t) => {
  let answer: 'keys' | 'error' | 'silence' = 'error';
  const jwk = { ...(await exportJWK(rsa.publicKey)), kid: 'one' };
  const jwksUrl = await issuer(t, (_request, response) => {
    if (answer === 'silence') return;
    response.writeHead(answer === 'keys' ? 200 : 500, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ keys: [jwk] }));
  });
  const password = await sign(rsa.privateKey, 'one');
  const dark = await startBroker(t, { jwt: { jwksUrl } });
  t.equal(await codeFor(t, dark, password), 0x88);
  answer = 'keys';
  const broker = await startBroker(t, { jwt: { jwksUrl } });
  t.equal(await codeFor(t, broker, password), 0);
  answer = 'silence';
  t.equal(await codeFor(t, broker, password), 0, 'they are kept');
  const impatient = await startBroker(t, { jwt: { jwksUrl }, authenticationTimeout: 0.2 });
  t.equal(await codeFor(t, impatient, password), 0x88);
});

t.test('an issuer that gives no key set is left alone for two seconds, however many tokens come', async (t) => {
  const jwk = { ...(await exportJWK(rsa.publicKey)), kid: 'one' };
  const answers: [number, string][] = [
    [500, '{"keys":[]}'],
    [200, 'sorry'],
    [200, '{"keys":7}'],
    [200, JSON.stringify({ keys: [jwk] })],
  ];
  let asked = 0;
  const jwksUrl = await issuer(t, (_request, response) => {
    const [status, body] = answers[Math.min(asked++, answers.length - 1)] ?? [500, ''];
    response.writeHead(status, { 'content-type': 'application/json' }).end(body);
  });
  const clock = new FakeClock();
  const expires = Math.floor(clock.now() / 1000) + 3600;
  const access = await Access.open(parseOptions({ jwt: { jwksUrl } }, ''), {}, clock);
  const password = Buffer.from(await sign(rsa.privateKey, 'one', expires));
  const facts = { clientId: 'c', userName: null, address: '192.0.2.1', protocolVersion: 5, certificateUser: null };
  const attempt = async () => access.hooks.authenticate?.({ ...facts, password });
  for (const failed of [1, 2, 3]) {
    for (let time = 0; time < 3; time++) t.match(await attempt(), { reasonCode: 0x88 });
    clock.advance(1999);
    t.match(await attempt(), { reasonCode: 0x88 });
    t.equal(asked, failed);
    clock.advance(1);
  }
  t.match(await attempt(), { admitted: true, userName: 'alice' });
  t.equal(asked, 4);
});

t.test('an answer that is too large for a key set is not kept', async (t) => {
  let sent = 0;
  const jwksUrl = await issuer(t, (_request, response) => {
    const more = (): void => {
      if (response.destroyed || sent > 64) return;
      sent++;
      response.write(Buffer.alloc(1024 * 1024, ' '), more);
    };
    more();
  });
  const broker = await startBroker(t, { jwt: { jwksUrl }, authenticationTimeout: 60 });
  const password = await sign(rsa.privateKey, 'one');
  t.equal(await codeFor(t, broker, password), 0x88);
  t.ok(sent < 64, `${sent} MB were sent`);
});

// The last one, since it sets the clock of the process.
t.test('keys at a URL may change: those of a new set are taken, those that it lacks are not', async (t) => {
  const jwkOf = async (kid: string, { publicKey }: { publicKey: KeyObject }) => ({
    ...(await exportJWK(publicKey)),
    kid,
  });
  const [first, second] = [await jwkOf('one', rsa), await jwkOf('two', otherRsa)];
  let keys = [first];
  let asked = 0;
  const jwksUrl = await issuer(t, (_request, response) => {
    asked++;
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ keys }));
  });
  const broker = await startBroker(t, { jwt: { jwksUrl } });
  const one = await sign(rsa.privateKey, 'one');
  const two = await sign(otherRsa.privateKey, 'two');
  t.equal(await codeFor(t, broker, one), 0);
  keys = [second];
  t.equal(await codeFor(t, broker, two), 0x86, 'a key that is not known is not looked for at once');
  t.equal(await codeFor(t, broker, one), 0);
  t.equal(asked, 1);
  const { now } = Date;
  t.teardown(() => {
    Date.now = now;
  });
  Date.now = () => now() + 31_000;
  t.equal(await codeFor(t, broker, two), 0);
  t.equal(await codeFor(t, broker, one), 0x86);
  t.equal(await codeFor(t, broker, one), 0x86);
  t.equal(asked, 2, 'nor is it again and again');
});
