import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt';

type QoS = 0 | 1 | 2;

/** Clients that are there at the same time. */
const publishers = 6;
const durables = 6;
const transients = 4;
const topicsPerClient = 10;
const messagesPerRound = 150;
const answerTimeoutMs = 30_000;

function options(port: number, clientId: string, more: IClientOptions): IClientOptions {
  return {
    ...{ host: '127.0.0.1', port, clientId, protocolVersion: 5, reconnectPeriod: 0, connectTimeout: answerTimeoutMs },
    ...more,
  };
}

function connectDurable(port: number, clientId: string): Promise<MqttClient> {
  const properties = { sessionExpiryInterval: 3600 };
  return connectAsync(options(port, clientId, { clean: false, properties }));
}

function connectTransient(port: number, clientId: string, willTopic: string): Promise<MqttClient> {
  const will = { topic: willTopic, payload: Buffer.from('gone'), qos: 1 as QoS, retain: false };
  return connectAsync(options(port, clientId, { clean: true, will }));
}

/** Fails if the broker closes the connection before the work is done: MQTT.js would wait for ever. */
async function during(client: MqttClient, work: Promise<void>): Promise<void> {
  const closed = new Promise<never>((_, reject) => {
    client.once('close', () => reject(new Error(`${client.options.clientId}: the connection was closed`)));
  });
  await Promise.race([work, closed]);
}

/** Cuts the connection without DISCONNECT. */
async function cut(client: MqttClient): Promise<void> {
  const closed = new Promise<void>((resolve) => client.once('close', () => resolve()));
  client.stream.destroy();
  await closed;
  client.end(true);
}

/** Publishes all kinds of messages: QoS 0 to 2, some retained or cleared, some tracked. */
async function publishMany(client: MqttClient, number: number, round: number): Promise<void> {
  const sent: Promise<unknown>[] = [];
  for (let at = 0; at < messagesPerRound; at++) {
    const topic = `soak/${number}/${at % topicsPerClient}`;
    const retain = at % 7 === 0;
    const isCleared = retain && round % 3 === 0;
    const payload = isCleared ? '' : 'x'.repeat(16 + ((at * 37) % 2000));
    // MQTT.js can not encode user properties that are none.
    const properties = at % 5 === 0 ? { userProperties: { receipt: 'delivered' } } : {};
    sent.push(client.publishAsync(topic, payload, { qos: (at % 3) as QoS, retain, properties }));
  }
  await Promise.all(sent);
}

async function runPublisher(port: number, number: number, round: number): Promise<void> {
  const client = await connectTransient(port, `publisher-${number}`, `soak/${number}/will`);
  const work = async (): Promise<void> => {
    await client.subscribeAsync('$receipts/~/+/+', { qos: 1 });
    await publishMany(client, number, round);
  };
  await during(client, work());
  if (round % 2 === 0) await cut(client);
  else await client.endAsync();
}

/** Takes what its session kept, and goes again, at times without a word. */
async function runDurable(port: number, number: number, round: number): Promise<void> {
  const client = await connectDurable(port, `durable-${number}`);
  const work = async (): Promise<void> => {
    await client.subscribeAsync([`soak/${number}/#`, `soak/+/${number}`], { qos: ((number % 2) + 1) as QoS });
    if (round % 4 === 0) await client.unsubscribeAsync(`soak/+/${number}`);
    // Without room in its window nothing more would come: two round trips let most of the queue through.
    await client.publishAsync(`soak/away/${number}`, '', { qos: 1 });
  };
  await during(client, work());
  if ((round + number) % 2 === 0) await cut(client);
  else await client.endAsync();
}

/** New client identifiers all the time: their sessions must go with their connections. */
async function runTransient(port: number, number: number, round: number): Promise<void> {
  const client = await connectTransient(port, `transient-${number}-${round}`, `soak/${number}/will`);
  const work = async (): Promise<void> => {
    await client.subscribeAsync(['soak/#', `$share/group-${round % 5}/soak/${number}/+`], { qos: 1 });
    await client.publishAsync(`soak/${number}/ping`, 'ping', { qos: 1 });
  };
  await during(client, work());
  if (round % 2 === 0) await cut(client);
  else await client.endAsync();
}

function each(count: number, run: (number: number) => Promise<void>): Promise<void>[] {
  return Array.from({ length: count }, (_, number) => run(number));
}

/** All clients come, do their part at the same time, and go; afterwards the durable ones take what they are owed. */
export async function runRound(port: number, round: number): Promise<void> {
  await Promise.all([
    ...each(durables, (number) => runDurable(port, number, round)),
    ...each(publishers, (number) => runPublisher(port, number, round)),
    ...each(transients, (number) => runTransient(port, number, round)),
  ]);
  await Promise.all(each(durables, (number) => drain(port, number)));
}

/** Stays until nothing has come for a moment: what is left would be no queue at rest but chance. */
async function drain(port: number, number: number): Promise<void> {
  const client = await connectDurable(port, `durable-${number}`);
  let came = 0;
  client.on('message', () => came++);
  for (let before = -1; before !== came; ) {
    before = came;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  await client.endAsync();
}
