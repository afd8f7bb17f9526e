import t from 'tap';
import { connect, property, publish } from '../helpers/packets.js';
import { parseConnack, textOf } from '../helpers/parse.js';
import { dialAndSend, expectRefused, greet, join } from '../helpers/scenes.js';
import { startTimedBroker } from '../helpers/timed-broker.js';

for (const [permanent, code] of [
  [false, 0x9c],
  [true, 0x9d],
] as const) {
  t.test(`clients are sent elsewhere with 0x${code.toString(16)} and a Server Reference`, async (t) => {
    const broker = await startTimedBroker(t, { redirect: { to: 'other.example:1883', permanent } });
    const client = await dialAndSend(t, broker, connect(), publish({ topic: 'a' }));
    const connack = parseConnack(await client.packet());
    t.equal(connack.code, code);
    t.equal(connack.flags, 0);
    t.equal(textOf(connack.properties, 0x1c), 'other.example:1883');
    await client.expectClose();
    for (const version of [3, 4] as const) {
      await expectRefused(await dialAndSend(t, broker, connect({ version, clientId: 'c' })), 3, version);
    }
  });
}

t.test('[MQTT-3.1.2-24] a Server Reference above the Maximum Packet Size is no reason to send too much', async (t) => {
  const broker = await startTimedBroker(t, { redirect: { to: 'x'.repeat(100) } });
  const client = await dialAndSend(t, broker, connect({ properties: [property.maximumPacketSize(50)] }));
  await client.expectClose();
});

t.test('[MQTT-3.1.2-28] Response Information names a topic of the client, if it asks', async (t) => {
  const broker = await startTimedBroker(t, { responseTopicPrefix: 'responses/' });
  const informationFor = async (clientId: string, properties: Buffer[]) => {
    const [, connack] = await greet(t, broker, { clientId, properties });
    return textOf(connack.properties, 0x1a);
  };
  const asks = property.requestResponseInformation(1);
  t.equal(await informationFor('c', [asks]), 'responses/c');
  t.equal(await informationFor('c', []), undefined);
  t.equal(await informationFor('c', [property.requestResponseInformation(0)]), undefined);
  t.notMatch(await informationFor('a/+/#', [asks]), /[+#]|\/.*\//, 'one level, whatever the identifier');
  t.match(await informationFor('', [asks]), /^responses\/auto-[0-9a-f-]{36}$/, 'an assigned identifier too');
  await join(t, broker, { version: 4, clientId: 'd' });
});
