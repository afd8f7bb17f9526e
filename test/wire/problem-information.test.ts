import t from 'tap';
import { startBroker } from '../helpers/broker.js';
import { expectAck, received, subscribed } from '../helpers/client.js';
import { property, publish, subscribe, unsubscribe } from '../helpers/packets.js';
import { parseSuback } from '../helpers/parse.js';
import { join } from '../helpers/scenes.js';

for (const [title, properties, hasText] of [
  ['[MQTT-3.1.2-29] edge case 35: with Request Problem Information 0 no answer has text', [0], false],
  ['edge case 35: with Request Problem Information 1, or none, answers may have text', [1], true],
  ['edge case 35: without Request Problem Information answers may have text', [], true],
] as const) {
  t.test(title, async (t) => {
    const broker = await startBroker(t, { maximumTopicLevels: 2 });
    const client = await join(t, broker, { properties: properties.map(property.requestProblemInformation) });
    client.send(publish({ topic: '$SYS/x', qos: 1, packetId: 9 }));
    t.equal((await expectAck(client, 'puback', 9, 0x87)).length > 6, hasText, 'PUBACK');
    client.send(publish({ topic: '$SYS/x', qos: 2, packetId: 9 }));
    t.equal((await expectAck(client, 'pubrec', 9, 0x87)).length > 6, hasText, 'PUBREC');
    client.send(
      publish({ topic: 'a', qos: 1, packetId: 9, properties: [property.userProperty('receipt', 'no such')] }),
    );
    t.equal((await expectAck(client, 'puback', 9, 0x83)).length > 6, hasText, 'PUBACK of a wrong receipt request');
    client.send(
      publish({ topic: 'a', qos: 1, packetId: 9, properties: [property.userProperty('receipt', 'delivered')] }),
    );
    t.equal((await expectAck(client, 'puback', 9, 0x10)).length > 6, hasText, 'PUBACK of a tracked message');
    client.send(subscribe({ filters: [['a/b/c', 0]] }));
    t.equal(parseSuback(await client.packet()).properties.length > 0, hasText, 'SUBACK');
    client.send(unsubscribe({ filters: ['a/b/c'] }));
    const unsuback = parseSuback(await client.packet());
    t.match(unsuback, { codes: [0x11], properties: [] });
    client.send('62 02 00 63');
    await client.expect('70 03 00 63 92');
    client.send('50 02 00 63');
    await client.expect('62 03 00 63 92');
  });
}

t.test('[MQTT-3.1.2-29] PUBLISH keeps its User Properties with Request Problem Information 0', async (t) => {
  const broker = await startBroker(t);
  const client = await join(t, broker, { properties: [property.requestProblemInformation(0)] });
  await subscribed(client, { filters: [['a', 0]] });
  const list = [property.userProperty('b', '1'), property.userProperty('a', '2'), property.userProperty('b', '3')];
  client.send(publish({ topic: 'a', properties: list }));
  t.same((await received(client)).properties, list);
});
