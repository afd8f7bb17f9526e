import { createSecretKey, generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { exportJWK, type JWTPayload, SignJWT, UnsecuredJWT } from 'jose';
import t, { type Test } from 'tap';
import { Access } from '../../lib/access/access.js';
import { formatPasswordHash, hashPassword } from '../../lib/access/password-hash.js';
import { ClientIdTemplate } from '../../lib/broker/client-id-template.js';
import { parseOptions } from '../../lib/config/schema.js';
import { Broker, type BrokerOptions } from '../../lib/index.js';
import { startBroker } from '../helpers/broker.js';
import { expectDisconnect } from '../helpers/client.js';
import { temporaryDirectory } from '../helpers/command.js';
import { type ConnectFields, connect } from '../helpers/packets.js';
import { parseConnack, textOf } from '../helpers/parse.js';
import { dialAndSend, expectRefused, join as joinBroker } from '../helpers/scenes.js';
import { TimedBroker } from '../helpers/timed-broker.js';

const secret = randomBytes(32).toString('hex');
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const ed = generateKeyPairSync('ed25519');
const otherRsa = generateKeyPairSync('rsa', { modulusLength: 2048 });

interface Kind {
  readonly key: KeyObject;
  readonly alg: string;
  readonly kid?: string;
}

function sign({ key, alg, kid }: Kind, claims: JWTPayload = {}, expires: number | string = '1h'): Promise<string> {
  const header = kid === undefined ? { alg } : { alg, kid };
  return new SignJWT({ sub: 'alice', ...claims }).setProtectedHeader(header).setExpirationTime(expires).sign(key);
}

const hmac: Kind = { key: createSecretKey(Buffer.from(secret)), alg: 'HS256' };

async function fileWith(t: Test, text: string | Buffer): Promise<string> {
  const file = join(await temporaryDirectory(t), 'key');
  await writeFile(file, text);
  return file;
}

async function brokerWithSecret(t: Test, options: Partial<NonNullable<BrokerOptions['jwt']>> = {}) {
  return startBroker(t, { jwt: { secretFile: await fileWith(t, `${secret}\n`), ...options } });
}

/** The reason code of CONNACK, and the reason. */
async function connackOf(
  t: Test,
  broker: { port: number },
  fields: ConnectFields,
): Promise<[number, string | undefined]> {
  const client = await dialAndSend(t, broker, connect(fields));
  const { code, properties } = parseConnack(await client.packet());
  client.end();
  return [code, textOf(properties, 0x1f)];
}

function pem({ publicKey }: { publicKey: KeyObject }): string {
  return publicKey.export({ type: 'spki', format: 'pem' }).toString();
}

function privatePem({ privateKey }: { privateKey: KeyObject }): string {
  return privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
}

t.test('tokens signed with a secret, RSA, ECDSA or EdDSA let in; another key or algorithm does not', async (t) => {
  const kinds: [NonNullable<BrokerOptions['jwt']>, Kind[]][] = [
    [{ secretFile: await fileWith(t, secret) }, ['HS256', 'HS384', 'HS512'].map((alg) => ({ key: hmac.key, alg }))],
    [
      { publicKeyFile: await fileWith(t, pem(rsa)) },
      ['RS256', 'RS512', 'PS256'].map((alg) => ({ key: rsa.privateKey, alg })),
    ],
    [{ publicKeyFile: await fileWith(t, pem(ec)) }, [{ key: ec.privateKey, alg: 'ES256' }]],
    [{ publicKeyFile: await fileWith(t, pem(ed)) }, [{ key: ed.privateKey, alg: 'EdDSA' }]],
  ];
  const all = kinds.flatMap(([, list]) => list);
  for (const [jwt, right] of kinds) {
    for (const kind of right) {
      const broker = await startBroker(t, { jwt });
      t.same(await connackOf(t, broker, { userName: '', password: await sign(kind) }), [0, undefined], kind.alg);
    }
    const broker = await startBroker(t, { jwt });
    const others = all.filter((kind) => !right.includes(kind)).slice(0, 3);
    for (const kind of others) {
      t.match(await connackOf(t, broker, { password: await sign(kind) }), [0x86], kind.alg);
    }
  }
});

t.test('a public key is not taken for a secret, and an unsigned token for none', async (t) => {
  const broker = await startBroker(t, { jwt: { publicKeyFile: await fileWith(t, pem(rsa)) } });
  const confused = await sign({ key: createSecretKey(Buffer.from(pem(rsa))), alg: 'HS256' });
  t.match(await connackOf(t, broker, { password: confused }), [0x86]);
  const unsigned = new UnsecuredJWT({ sub: 'alice' }).setExpirationTime('1h').encode();
  t.match(await connackOf(t, broker, { password: unsigned }), [0x86]);
  const other = await sign({ key: otherRsa.privateKey, alg: 'RS256' });
  t.match(await connackOf(t, broker, { password: other }), [0x86]);
});

t.test('the user is whom the token names; CONNECT may leave it out but not say otherwise', async (t) => {
  const broker = await brokerWithSecret(t);
  const password = await sign(hmac);
  t.same(await connackOf(t, broker, { password }), [0, undefined]);
  t.same(await connackOf(t, broker, { userName: '', password }), [0, undefined]);
  t.same(await connackOf(t, broker, { userName: 'alice', password }), [0, undefined]);
  t.match(await connackOf(t, broker, { userName: 'bob', password }), [0x86]);
  t.match(await connackOf(t, broker, { password: await sign(hmac, { sub: '' }) }), [0x86]);
  const number = { sub: 7 as never };
  t.match(await connackOf(t, broker, { password: await sign(hmac, number) }), [0x86]);
  t.match(await connackOf(t, await brokerWithSecret(t), {}), [0x87], 'nobody comes in without');
});

t.test('issuer, audience, expiry and not-before must be right', async (t) => {
  const right = { iss: 'me', aud: ['mqtt', 'other'] };
  for (const [claims, expires, expected] of [
    [right, '1h', 0],
    [{ ...right, iss: 'you' }, '1h', 0x86],
    [{ iss: 'me' }, '1h', 0x86],
    [{ ...right, aud: 'other' }, '1h', 0x86],
    [right, '-3s', 0],
    [right, '-100s', 0x87],
    [{ ...right, nbf: Math.floor(Date.now() / 1000) + 100 }, '1h', 0x86],
  ] as const) {
    const broker = await brokerWithSecret(t, { issuer: 'me', audience: 'mqtt', clockTolerance: 60 });
    const [code] = await connackOf(t, broker, { password: await sign(hmac, claims as JWTPayload, expires) });
    t.equal(code, expected, JSON.stringify([claims, expires]));
  }
  const endless = await new SignJWT({ sub: 'alice', ...right }).setProtectedHeader({ alg: 'HS256' }).sign(hmac.key);
  t.match(await connackOf(t, await brokerWithSecret(t), { password: endless }), [0x86], 'one that never ends');
});

t.test('other claims can name the user and bind the client identifier', async (t) => {
  const broker = await brokerWithSecret(t, { userClaim: 'device', clientIdClaim: 'client' });
  const password = await sign(hmac, { device: 'd7', client: 'd7-main' });
  t.match(await connackOf(t, broker, { clientId: 'd7-main', userName: 'd7', password }), [0]);
  t.match(await connackOf(t, broker, { clientId: 'd7-other', userName: 'd7', password }), [0x86]);
  t.match(await connackOf(t, broker, { clientId: '', userName: 'd7', password }), [0x86]);
  t.match(await connackOf(t, broker, { clientId: 'alice', password: await sign(hmac) }), [0x86], 'without the claims');
});

t.test('the connection ends with the token: DISCONNECT 0x87, for MQTT 3 the close', async (t) => {
  const jwt = { secretFile: await fileWith(t, secret), clockTolerance: 0 };
  const broker = new TimedBroker({}, { authenticate: (request) => access.hooks.authenticate?.(request) ?? false });
  const access = await Access.open(parseOptions({ jwt }, ''), {}, broker.clock);
  await broker.start();
  t.teardown(() => broker.stop());
  const password = await sign(hmac, {}, broker.clock.now() / 1000 + 60);
  const five = await joinBroker(t, broker, { clientId: 'five', userName: 'alice', password });
  const four = await joinBroker(t, broker, { version: 4, clientId: 'four', userName: 'alice', password });
  broker.clock.advance(59_999);
  for (const client of [five, four]) await client.expectNothing();
  broker.clock.advance(1);
  await expectDisconnect(five, 0x87);
  await four.expectClose();
  await expectRefused(await dialAndSend(t, broker, connect({ password })), 0x87);
});

t.test('keys come from a key set in a file, by kid, and are read again', async (t) => {
  const setOf = async (...pairs: (readonly [string, { publicKey: KeyObject }])[]): Promise<string> =>
    JSON.stringify({
      keys: await Promise.all(pairs.map(async ([kid, { publicKey }]) => ({ ...(await exportJWK(publicKey)), kid }))),
    });
  const jwksFile = await fileWith(t, await setOf(['one', rsa], ['two', ec]));
  const { broker, port } = await startBroker(t, { jwt: { jwksFile } });
  const one = await sign({ key: rsa.privateKey, alg: 'RS256', kid: 'one' });
  const two = await sign({ key: ec.privateKey, alg: 'ES256', kid: 'two' });
  const three = await sign({ key: otherRsa.privateKey, alg: 'RS256', kid: 'three' });
  const client = await joinBroker(t, { port }, { password: one });
  t.match(await connackOf(t, { port }, { password: two }), [0]);
  t.match(await connackOf(t, { port }, { password: three }), [0x86]);
  await writeFile(jwksFile, await setOf(['three', otherRsa]));
  await broker.reload();
  t.match(await connackOf(t, { port }, { password: three }), [0]);
  t.match(await connackOf(t, { port }, { password: one }), [0x86]);
  await client.expectNothing();
  await writeFile(jwksFile, 'nonsense');
  await t.rejects(broker.reload(), { message: /^jwt\.jwksFile: .*: there is no JSON Web Key Set in it$/ });
  t.match(await connackOf(t, { port }, { password: three }), [0]);
});

t.test('a token names nobody that CONNECT could not name', async (t) => {
  const broker = await brokerWithSecret(t);
  for (const sub of ['a\nb', 'a\0', '\u0085', 'a\ud800', '\udc00b']) {
    t.match(await connackOf(t, broker, { password: await sign(hmac, { sub }) }), [0x86], JSON.stringify(sub));
  }
  t.match(await connackOf(t, broker, { password: await sign(hmac, { sub: 'Jürgen 😀' }) }), [0]);
});

t.test('tokens and a password file go together', async (t) => {
  const hash = formatPasswordHash(await hashPassword(Buffer.from('secret'), 101));
  const options = { passwordFile: await fileWith(t, `bob:${hash}\n`), jwt: { secretFile: await fileWith(t, secret) } };
  const broker = await startBroker(t, options);
  t.match(await connackOf(t, broker, { userName: 'bob', password: 'secret' }), [0]);
  t.match(await connackOf(t, broker, { userName: 'alice', password: await sign(hmac) }), [0]);
  t.match(await connackOf(t, broker, { userName: 'bob', password: await sign(hmac) }), [0x86]);
});

t.test('what is wrong with the options is said', async (t) => {
  const problem = (jwt: object): string => {
    try {
      return String(new Broker({ jwt } as BrokerOptions).settings.port);
    } catch (error) {
      return String(error);
    }
  };
  t.match(problem({}), /jwt: .*give exactly one of secretFile, publicKeyFile, jwksFile and jwksUrl/);
  t.match(problem({ secretFile: 'a', jwksFile: 'b' }), /give exactly one/);
  t.match(problem({ jwksUrl: 'http://issuer.example/keys' }), /jwt\.jwksUrl: .*must begin with https/);
  t.match(problem({ jwksUrl: 'keys' }), /must begin with https/);
  t.equal(problem({ jwksUrl: 'http://localhost:8080/keys' }), '1883');
  t.match(problem({ secretFile: 'a', algorithms: ['none'] }), /jwt\.algorithms\[0\]: "none" is not allowed/);
  t.match(problem({ secretFile: 'a', algorithms: ['HS256', 'RS256'] }), /jwt\.algorithms\[1\]: .*with a secret/);
  t.match(problem({ jwksFile: 'a', algorithms: ['HS256'] }), /jwt\.algorithms\[0\]: .*with public keys these are/);
  const weak = generateKeyPairSync('rsa', { modulusLength: 1024 });
  const exchange = generateKeyPairSync('x25519');
  const bitcoin = generateKeyPairSync('ec', { namedCurve: 'secp256k1' });
  const jwkOf = ({ publicKey }: { publicKey: KeyObject }) => publicKey.export({ format: 'jwk' });
  const setWith = (...keys: object[]) => fileWith(t, JSON.stringify({ keys }));
  const wrong: [Record<string, string>, RegExp][] = [
    [{ secretFile: await fileWith(t, 'short') }, /a secret must have 32 bytes or more/],
    [{ publicKeyFile: await fileWith(t, 'nonsense') }, /there is no public key or certificate in PEM in it/],
    [
      { publicKeyFile: await fileWith(t, privatePem(rsa)) },
      /publicKeyFile: .*: a private key is in it: give the public/,
    ],
    [{ publicKeyFile: await fileWith(t, pem(weak)) }, /publicKeyFile: .*: an RSA key must have 2048 bits or more/],
    [{ publicKeyFile: await fileWith(t, pem(exchange)) }, /publicKeyFile: .*: tokens are verified with keys of/],
    [{ publicKeyFile: await fileWith(t, pem(bitcoin)) }, /publicKeyFile: .*: tokens are verified with keys of/],
    [{ secretFile: await fileWith(t, Buffer.alloc(40, 0xfe)) }, /jwt\.secretFile: .*: line 1 is not in UTF-8/],
    [{ jwksFile: '/nowhere' }, /jwt\.jwksFile: \/nowhere: there is no such file/],
    [{ jwksFile: await setWith() }, /jwt\.jwksFile: .*: no key in it is for tokens: these are of type RSA, EC or OKP/],
    [{ jwksFile: await setWith({ kty: 'oct', k: 'c2VjcmV0' }) }, /jwksFile: .*: no key in it is for tokens/],
    [{ jwksFile: await setWith({ ...jwkOf(weak), use: 'enc' }) }, /jwksFile: .*: no key in it is for tokens/],
    [{ jwksFile: await setWith(jwkOf(rsa), jwkOf(weak)) }, /keys\[1\]: an RSA key must have 2048 bits or more/],
    [{ jwksFile: await setWith(jwkOf(exchange)) }, /keys\[0\]: tokens are verified with keys of RSA/],
    [{ jwksFile: await setWith(jwkOf(bitcoin)) }, /keys\[0\]: tokens are verified with keys of RSA/],
    [{ jwksFile: await setWith({ ...jwkOf(ec), kid: 'a', y: '' }) }, /keys\[0\] \(a\): it is no whole EC key/],
    [{ jwksFile: await setWith(rsa.privateKey.export({ format: 'jwk' })) }, /keys\[0\]: it is a private key: give/],
  ];
  for (const [jwt, message] of wrong) {
    await t.rejects(new Broker({ port: 0, memory: true, jwt }).listen(), { code: 'ERR_COUNTERSIGN_CONFIG', message });
  }
});

t.test('clientIdTemplate: identifiers of different users have none in common', async (t) => {
  const names = ['a', 'b', 'a-', '-a', 'a-b', 'b-a', 'a-b-', ''];
  const identifiers = names.flatMap((name) => [
    `x${name}`,
    ...names.flatMap((rest) => [`x${name}-${rest}`, `${name}${rest}`]),
  ]);
  for (const text of ['%u', 'x%u', '%u-a', 'x%u-*', '%u-*', 'x%u-a*']) {
    const template = new ClientIdTemplate(text);
    for (const id of identifiers) {
      const owners = names.filter((name) => template.owns(name, id));
      t.ok(owners.length <= 1, `${text}: ${id} is of ${owners}`);
    }
    t.ok(template.owns('a', template.assign('a')), text);
  }
});

t.test('clientIdTemplate: nobody connects with an identifier of another user', async (t) => {
  const broker = await startBroker(t, { clientIdTemplate: '%u-*' });
  const codeOf = async (clientId: string, userName?: string): Promise<number> =>
    (await connackOf(t, broker, { clientId, ...(userName === undefined ? {} : { userName }) }))[0];
  t.same(await Promise.all([codeOf('ann-1', 'ann'), codeOf('ann-', 'ann'), codeOf('ann-1-2', 'ann')]), [0, 0, 0]);
  t.same(await Promise.all([codeOf('ann', 'ann'), codeOf('ann-3', 'bob'), codeOf('ann-3', 'an')]), [0x85, 0x85, 0x85]);
  t.equal(await codeOf('ann-b-1', 'ann-b'), 0x85, 'a name with what separates it has no identifiers');
  t.equal(await codeOf('ann-4'), 0x85, 'nor has who has no name');
  t.equal(await codeOf(''), 0, 'but what the broker gives it');
  const client = await dialAndSend(t, broker, connect({ userName: 'bob' }));
  t.match(textOf(parseConnack(await client.packet()).properties, 0x12), /^bob-[0-9a-f-]{36}$/);
  const exact = await startBroker(t, { clientIdTemplate: '%u' });
  t.match(await connackOf(t, exact, { clientId: 'ann', userName: 'ann' }), [0]);
  t.match(await connackOf(t, exact, { clientId: 'bob', userName: 'ann' }), [0x85]);
  for (const clientIdTemplate of ['', 'x', '%u%u', '%u*', '*%u', '%u-*x', '%c']) {
    t.throws(() => new Broker({ clientIdTemplate }), { message: /clientIdTemplate/ }, clientIdTemplate);
  }
});
