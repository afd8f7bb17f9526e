import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { startBroker } from '../helpers/broker.js';
import { Authority, type Certificate } from '../helpers/certificates.js';
import { temporaryDirectory } from '../helpers/command.js';
import { findClient, RealClient, startClient } from '../helpers/real-clients.js';
import { listenerOf } from '../helpers/transports.js';
import { JsClient } from './mqttjs-client.js';
import { PahoClient } from './paho-client.js';

const rules = 'user ann\ntopic readwrite #\nuser bob\ntopic read open\ntopic write bob/#\n';

/** A broker that knows users by their certificates, `ann` who may do all and `bob` who may not. */
interface Place {
  readonly port: number;
  /** The port of secure WebSockets. */
  readonly webSocketPort: number;
  readonly caFile: string;
  readonly ann: Certificate;
  readonly bob: Certificate;
}

async function start(t: Test, options: object = {}): Promise<Place | undefined> {
  const authority = await Authority.make(t);
  if (authority === undefined) return undefined;
  const extensions = ['subjectAltName=IP:127.0.0.1,DNS:localhost'];
  const { certificateFile, keyFile } = await authority.issue({ subject: '/CN=localhost', extensions });
  const ann = await authority.issue({ subject: '/O=Example/CN=ann' });
  const bob = await authority.issue({ subject: '/O=Example/CN=bob' });
  const caFile = authority.certificateFile;
  const asking = { clientCertificates: 'required', userFromCertificate: 'commonName', caFile, ...options };
  const files = { certificateFile, keyFile };
  const accessFile = join(await temporaryDirectory(t), 'access');
  await writeFile(accessFile, rules);
  const listeners = [
    await listenerOf(t, 'tls', { ...asking, ...files }),
    await listenerOf(t, 'wss', { ...asking, ...files }),
  ];
  const { broker, port } = await startBroker(t, { accessFile, listeners });
  return { port, webSocketPort: broker.addresses[1].port, caFile, ann, bob };
}

function flagsOf({ port, caFile }: Place, { certificateFile, keyFile }: Certificate): string[] {
  return ['-h', '127.0.0.1', '-p', String(port), '--cafile', caFile, '--cert', certificateFile, '--key', keyFile];
}

for (const version of ['tlsv1.2', 'tlsv1.3']) {
  t.test(`mosquitto_pub and mosquitto_sub at ${version} are who their certificates say`, async (t) => {
    const pub = findClient(t, RealClient.mosquittoPub);
    const sub = findClient(t, RealClient.mosquittoSub);
    const place = await start(t);
    if (pub === undefined || sub === undefined || place === undefined) return;
    const asAnn = [...flagsOf(place, place.ann), '--tls-version', version, '-V', 'mqttv5', '-q', '1'];
    const asBob = [...flagsOf(place, place.bob), '--tls-version', version, '-V', 'mqttv5', '-q', '1'];
    const ready = startClient(t, pub, [...asAnn, '-r', '-t', 'ready', '-m', 'now']);
    t.equal((await ready.finish()).code, 0);
    const watcher = startClient(t, sub, [...asAnn, '-t', '#', '-C', '4', '-F', 'MESSAGE %t %p']);
    await watcher.output(/^MESSAGE ready/m);
    const send = async (flags: string[], topic: string): Promise<string> => {
      const { stdout, stderr } = await startClient(t, pub, [...flags, '-d', '-t', topic, '-m', 'x']).finish();
      return /PUBACK \(Mid: 1, RC:(\d+)\)/.exec(stdout + stderr)?.[1] ?? 'none';
    };
    t.equal(await send(asAnn, 'open'), '0');
    t.equal(await send(asBob, 'open'), '135', 'not authorized');
    t.equal(await send([...asBob, '-u', 'ann'], 'open'), '135', 'whatever name is given');
    t.equal(await send(asBob, 'bob/1'), '0');
    t.equal(await send(asAnn, 'end'), '0');
    const { stdout } = await watcher.finish();
    t.same(stdout.match(/^MESSAGE (?!ready).*$/gm), ['MESSAGE open x', 'MESSAGE bob/1 x', 'MESSAGE end x']);
  });
}

t.test('mosquitto_pub without a certificate is refused', async (t) => {
  const pub = findClient(t, RealClient.mosquittoPub);
  const place = await start(t);
  if (pub === undefined || place === undefined) return;
  const flags = ['-h', '127.0.0.1', '-p', String(place.port), '--cafile', place.caFile, '-t', 'open', '-m', 'x'];
  t.not((await startClient(t, pub, flags).finish()).code, 0);
});

for (const protocol of ['mqtts', 'wss'] as const) {
  t.test(`MQTT.js over ${protocol} is who its certificate says`, async (t) => {
    const place = await start(t);
    if (place === undefined) return;
    const port = protocol === 'wss' ? place.webSocketPort : place.port;
    const ca = await readFile(place.caFile);
    const join = async ({ cert, key }: Certificate, clientId: string): Promise<JsClient> => {
      const tls = protocol === 'wss' ? { path: '/mqtt', wsOptions: { ca, cert, key } } : {};
      return JsClient.connect(t, port, { protocol, ca, cert, key, clientId, ...tls });
    };
    const ann = await join(place.ann, 'a');
    const bob = await join(place.bob, 'b');
    await bob.mqtt.subscribeAsync('open', { qos: 1 });
    await ann.mqtt.publishAsync('open', 'hello', { qos: 1 });
    t.match(await bob.message(), { topic: 'open', text: 'hello' });
    await t.rejects(bob.mqtt.publishAsync('open', 'x', { qos: 1 }), { code: 0x87 });
    await bob.mqtt.publishAsync('bob/1', 'x', { qos: 1 });
  });
}

for (const version of [4, 5] as const) {
  t.test(`Paho at version ${version} over TLS is who its certificate says`, async (t) => {
    const path = findClient(t, RealClient.paho);
    const place = await start(t);
    if (path === undefined || place === undefined) return;
    const { port, caFile } = place;
    const join = (certificate: Certificate): Promise<PahoClient> =>
      PahoClient.connect(t, path, { version, port, tls: { caFile, ...certificate } });
    const ann = await join(place.ann);
    const bob = await join(place.bob);
    t.same(await bob.subscribe(['open', 1]), [1]);
    t.same(await bob.subscribe(['closed', 1]), [version === 5 ? 0x87 : 0x80]);
    await bob.publish('open', 'from bob', 0);
    await ann.publish('open', 'from ann', 1);
    t.equal((await bob.message()).text, 'from ann');
  });
}
