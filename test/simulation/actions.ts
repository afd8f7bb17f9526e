import { Random } from '../crash/random.js';
import { frame, publish, subscribe, uint16 } from '../helpers/packets.js';
import type { SimulatedClient } from './client.js';
import type { Action, ActionName } from './plan.js';
import type { PublishChoice, SubscriptionChoice } from './publication.js';
import type { ConnectChoice } from './role.js';
import type { World } from './world.js';

const filters = [
  ...['t/#', 't/0/+', 't/+/1', 't/+/2', 't/1/2', '#', '+/+/1', 'w/#', 'r/#'],
  ...['$share/g/t/#', '$share/h/t/+/1', '$share/h/t/0/+'],
];

/** What no client may send; the broker closes the connection. */
const violations: readonly Buffer[] = [
  Buffer.from([0x00, 0x00]),
  frame(0x36, uint16(1), Buffer.from('t'), uint16(1)),
  publish({ topic: 't/+/1', payload: 'x', qos: 0 }),
  subscribe({ filters: [['t/#/1', 1]] }),
  subscribe({ filters: [['t/1/1', 3]] }),
  Buffer.from([0x70, 0x01, 0x00]),
  Buffer.from([0x32, 0xff, 0xff, 0xff, 0xff]),
];

type Act = (world: World, client: SimulatedClient, random: Random) => string | null;

function publishChoice({ plan }: World, { role }: SimulatedClient, random: Random): PublishChoice {
  const is5 = role.version === 5;
  const qos = random.pick([0, 1, 1, 2, 2] as const);
  const retain = random.chance(0.15);
  const receipt =
    is5 && !retain && random.chance(plan.tracked) ? random.pick(['delivered', 'processed'] as const) : null;
  return {
    topic: retain ? `r/${role.clientId}/${qos}` : `t/${random.below(2)}/${qos}`,
    ...{ qos, retain, receipt },
    clears: retain && random.chance(0.2),
    hold: receipt !== null && qos === 1 && random.chance(0.2),
    deadline: receipt === null ? 0 : random.pick([0, 0, 5, 60]),
    expiry: is5 ? random.pick([0, 0, 0, 0, 1, 20]) : 0,
  };
}

function describePublish({ topic, qos, retain, clears, receipt, hold, deadline, expiry }: PublishChoice): string {
  const flags = { retain, clears, hold };
  const set = Object.entries(flags).filter(([, isSet]) => isSet);
  const numbers = Object.entries({ deadline, expiry }).filter(([, value]) => value > 0);
  const more = [...set.map(([name]) => name), ...numbers.map(([name, value]) => `${name} ${value} s`)];
  return [`to ${topic} at QoS ${qos}`, ...(receipt === null ? [] : [`receipt ${receipt}`]), ...more].join(', ');
}

function subscriptionChoice({ role }: SimulatedClient, random: Random): SubscriptionChoice {
  const topicFilter = random.pick(role.version === 5 ? filters : filters.slice(0, 9));
  const isShared = topicFilter.startsWith('$share/');
  // A group's copy is known by its identifier, which no other subscription has.
  const subscriptionId = isShared ? 10 + filters.indexOf(topicFilter) : random.pick([0, 0, 1, 2]);
  return {
    ...{ topicFilter, qos: random.pick([0, 1, 1, 2, 2] as const) },
    noLocal: role.version === 5 && !isShared && random.chance(0.2),
    retainAsPublished: role.version === 5 && random.chance(0.3),
    subscriptionId: role.version === 5 ? subscriptionId : 0,
  };
}

export function connectChoice({ role }: SimulatedClient, random: Random): ConnectChoice {
  const will = random.chance(0.3)
    ? {
        qos: random.pick([0, 1, 2] as const),
        expiry: random.pick([0, 0, 20]),
        delaySeconds: random.pick([0, 0, 1, 15]),
        tracked: random.chance(0.3),
      }
    : null;
  const expirySeconds = random.chance(0.85) ? role.expirySeconds : random.pick([0, 5, 600]);
  return { clean: random.chance(0.12), expirySeconds, will };
}

const describeConnect = ({ clean, expirySeconds, will }: ConnectChoice): string => {
  const willText = will === null ? '' : `, will at QoS ${will.qos} after ${will.delaySeconds} s`;
  return `${clean ? 'clean, ' : ''}expiry ${expirySeconds} s${willText}`;
};

function connect(client: SimulatedClient, random: Random): string {
  const choice = connectChoice(client, random);
  client.connect(choice);
  return describeConnect(choice);
}

/** What each action does. @returns details for a trace, or null if there was nothing to do */
const acts: Readonly<Record<ActionName, Act>> = {
  publish: (world, client, random) => {
    const choice = publishChoice(world, client, random);
    client.publish(choice);
    return client.isOnline ? describePublish(choice) : null;
  },
  burst: (world, client, random) => {
    if (!client.isOnline) return null;
    const choice = publishChoice(world, client, random);
    const count = 3 + random.below(10);
    for (let left = count; left > 0; left--) client.publish(choice);
    return `${count} messages ${describePublish(choice)}`;
  },
  backlog: (_world, client, random) => {
    if (!client.isFollowing) return null;
    const choice = { topic: 't/0/0', qos: 0, retain: false, receipt: 'delivered', clears: false, hold: false } as const;
    for (let left = 25; left > 0; left--) client.publish({ ...choice, deadline: 0, expiry: 0 });
    client.cut(false);
    client.connect({ ...connectChoice(client, random), clean: true });
    return 'a new session after 25 tracked messages';
  },
  subscribe: (_world, client, random) => {
    if (!client.isOnline) return null;
    const choice = subscriptionChoice(client, random);
    client.subscribe([choice], random.pick([0, 0, 1, 2] as const));
    return `${choice.topicFilter} at QoS ${choice.qos}${choice.noLocal ? ', no local' : ''}`;
  },
  unsubscribe: (_world, client, random) => {
    const { subscriptions } = client.account;
    const candidates = subscriptions.filter(({ topicFilter }) => !topicFilter.startsWith('$receipts/'));
    if (!client.isOnline || candidates.length === 0) return null;
    const { topicFilter } = random.pick(candidates);
    client.unsubscribe(topicFilter);
    return topicFilter;
  },
  connect: (_world, client, random) => (client.isConnected ? null : connect(client, random)),
  takeOver: (_world, client, random) => (client.isConnected ? connect(client, random) : null),
  cut: (_world, client, random) => {
    if (!client.isConnected) return null;
    const isAbrupt = random.chance(0.5);
    client.cut(isAbrupt);
    return isAbrupt ? 'abruptly' : 'after what was sent';
  },
  disconnect: (_world, client, random) => {
    if (!client.isOnline) return null;
    const reasonCode = random.pick([0, 0, 4] as const);
    const expirySeconds = random.pick([null, null, 0, 5, 600]);
    client.disconnect(reasonCode, expirySeconds);
    const expiry = expirySeconds === null ? '' : `, expiry ${expirySeconds} s`;
    return `${reasonCode === 4 ? 'with will' : 'without will'}${expiry}`;
  },
  stall: (_world, client) => {
    client.inbox.setStalled(true);
    return 'acknowledges nothing';
  },
  goOn: (_world, client) => {
    if (!client.inbox.isStalled) return null;
    client.inbox.setStalled(false);
    return 'acknowledges again';
  },
  stopReading: (_world, client) => {
    client.setDeaf(true);
    return client.isConnected ? 'reads nothing' : null;
  },
  readOn: (_world, client) => {
    client.setDeaf(false);
    return client.isConnected ? 'reads again' : null;
  },
  process: (_world, client, random) => {
    const isOk = random.chance(0.7);
    const name = client.acknowledgeProcessed(random.below(1000), isOk);
    return name === null ? null : `${name} ${isOk ? 'ok' : 'error'}`;
  },
  violate: (_world, client, random) => {
    if (!client.isOnline) return null;
    const bytes = random.pick(violations);
    client.violate(bytes);
    return bytes.toString('hex');
  },
  pass: () => 'time',
  crash: (world, _client, random) => {
    if (world.core === null) return null;
    const losesPower = random.chance(0.4);
    world.crash(losesPower, random.pick([0, 5, 100, 3000]));
    return losesPower ? 'power is lost' : 'the broker dies';
  },
  loseDisk: (world) => {
    world.loseDisk();
    return 'the disk is full';
  },
  healDisk: (world) => {
    if (!world.disk.isFull) return null;
    world.disk.isFull = false;
    return 'the disk has room again';
  },
  probe: (world) => {
    world.probe();
    return 'what is retained';
  },
  audit: (world) => {
    world.inspect();
    return 'what the broker has';
  },
};

/** @returns what happened, for a trace; null if it came to nothing */
export function perform(world: World, { what, who, salt }: Action): string | null {
  const client = world.clients[who % world.clients.length];
  let text: string | null = null;
  world.act(() => {
    text = acts[what](world, client, new Random(salt));
  });
  return text === null ? null : `${client.role.clientId} ${what}: ${text}`;
}
