import t from 'tap';
import { startBroker } from '../helpers/broker.js';
import { temporaryDirectory } from '../helpers/command.js';
import { JsClient } from '../interop/mqttjs-client.js';

t.test('two brokers in one process share no sessions, messages or counters', async (t) => {
  const first = await startBroker(t, { data: await temporaryDirectory(t) });
  const second = await startBroker(t, { data: await temporaryDirectory(t) });
  t.not(first.port, second.port);
  const options = { clientId: 'same', clean: false, properties: { sessionExpiryInterval: 600 } };
  const one = await JsClient.connect(t, first.port, options);
  await one.mqtt.subscribeAsync('#', { qos: 1 });
  await one.mqtt.publishAsync('kept', 'of the first', { qos: 1, retain: true });
  t.equal((await one.message()).text, 'of the first');

  const two = await JsClient.connect(t, second.port, options);
  t.notOk(two.sessionPresent, 'the session of the first is none of the second');
  t.ok(one.mqtt.connected, 'and is not taken over');
  await two.mqtt.subscribeAsync('#', { qos: 1 });
  await two.mqtt.publishAsync('other', 'of the second', { qos: 1 });
  t.equal((await two.message()).text, 'of the second', 'what the first retains is not in the second');
  await one.mqtt.publishAsync('fence', '', { qos: 1 });
  t.equal((await one.message()).topic, 'fence', 'the first got nothing of the second');
  t.equal(first.broker.metrics.publishesReceived, 2);
  t.equal(second.broker.metrics.publishesReceived, 1);
});

t.test('a broker that closes leaves another in the same process alone', async (t) => {
  const first = await startBroker(t);
  const second = await startBroker(t);
  const one = await JsClient.connect(t, first.port);
  const two = await JsClient.connect(t, second.port);
  await two.mqtt.subscribeAsync('a', { qos: 1 });
  await first.broker.close();
  t.equal((await one.packet('disconnect')).reasonCode, 0x8b, 'its clients are told');
  await two.mqtt.publishAsync('a', 'still here', { qos: 1 });
  t.equal((await two.message()).text, 'still here');
});

t.test('brokers with different options keep their own', async (t) => {
  const receipts = await startBroker(t);
  const plain = await startBroker(t, { receipts: { enabled: false } });
  const publish = async (port: number): Promise<number | undefined> => {
    const client = await JsClient.connect(t, port);
    client.mqtt.publish('t', '', { qos: 1, properties: { userProperties: { receipt: 'delivered' } } });
    return (await client.packet('puback')).reasonCode;
  };
  t.equal(await publish(receipts.port), 0x10, 'asked for receipts, nobody there');
  t.equal(await publish(plain.port), 0, 'the property means nothing here');
});
