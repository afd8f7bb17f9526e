import t from 'tap';
import * as packets from '../../helpers/packets.js';
import { type Pipe, PipeWorld } from '../../helpers/pipes.js';

const { property } = packets;

/** What is written over received bytes once they have been taken. */
const overwritten = 0xee;

interface Case {
  readonly name: string;
  readonly subscriber: packets.ConnectFields;
  readonly qos: 0 | 1 | 2;
  readonly properties: readonly Buffer[];
}

const stored = [property.sessionExpiryInterval(600)];
const aliases = [property.topicAliasMaximum(3)];
const tracked = [property.userProperty('receipt', 'delivered')];
const cases: readonly Case[] = [
  { name: 'at QoS 0', subscriber: {}, qos: 0, properties: [] },
  { name: 'at QoS 1', subscriber: {}, qos: 1, properties: [] },
  { name: 'to version 3.1.1', subscriber: { version: 4 }, qos: 1, properties: [] },
  { name: 'with a topic alias', subscriber: { properties: aliases }, qos: 1, properties: [] },
  { name: 'once it is recorded', subscriber: { properties: stored }, qos: 2, properties: [] },
  { name: 'tracked', subscriber: {}, qos: 1, properties: tracked },
  {
    name: 'with a topic alias once it is recorded',
    subscriber: { properties: [...stored, ...aliases] },
    qos: 2,
    properties: [],
  },
];

function isIn(pipe: Pipe, payload: Buffer): boolean {
  const written = Buffer.concat(pipe.chunks);
  return written.includes(payload) && !written.includes(overwritten);
}

for (const { name, subscriber, qos, properties } of cases) {
  t.test(`received bytes may go once they are taken: what is sent ${name} does not change`, async (t) => {
    // Copied, shared because large, and coming in parts.
    for (const bytes of [10, 1000, 9000, 100_000]) {
      for (const parts of [1, 2]) {
        const world = new PipeWorld();
        const pipe = world.client('subscriber', [['a/topic', qos]], { cleanStart: false, ...subscriber });
        const publisher = world.client('publisher');
        const payload = Buffer.alloc(bytes, 'payload');
        const publish = packets.publish({ topic: 'a/topic', qos, payload, properties });
        const size = Math.ceil(publish.length / parts);
        for (let at = 0; at < publish.length; at += size) publisher.receive(publish.subarray(at, at + size));
        world.clock.settle();
        t.ok(isIn(pipe, payload), `${bytes} bytes in ${parts}`);
      }
    }
  });
}
