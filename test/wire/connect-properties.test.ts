import t from 'tap';
import { startBroker } from '../helpers/broker.js';
import { connect, property } from '../helpers/packets.js';
import { dialAndSend, expectRefused, join } from '../helpers/scenes.js';
import { hex } from '../helpers/wire-client.js';

const wrongValues = [
  ['Receive Maximum 0', property.receiveMaximum(0)],
  ['Maximum Packet Size 0', property.maximumPacketSize(0)],
  ['Request Response Information 2', property.requestResponseInformation(2)],
  ['Request Problem Information 2', property.requestProblemInformation(2)],
  ['Request Problem Information 255', property.requestProblemInformation(255)],
  ['Authentication Data without Authentication Method', property.authenticationData('x')],
] as const;
for (const [name, one] of wrongValues) {
  t.test(`protocol error: ${name} in CONNECT`, async (t) => {
    const broker = await startBroker(t);
    await expectRefused(await dialAndSend(t, broker, connect({ properties: [one] })), 0x82);
  });
}

const twice = [
  ['Session Expiry Interval', property.sessionExpiryInterval(0)],
  ['Receive Maximum', property.receiveMaximum(1)],
  ['Maximum Packet Size', property.maximumPacketSize(1000)],
  ['Topic Alias Maximum', property.topicAliasMaximum(0)],
  ['Request Response Information', property.requestResponseInformation(0)],
  ['Request Problem Information', property.requestProblemInformation(0)],
  ['Authentication Method', property.authenticationMethod('m')],
  ['Authentication Data', property.authenticationData('')],
] as const;
for (const [name, one] of twice) {
  t.test(`protocol error: edge case 5: ${name} twice in CONNECT`, async (t) => {
    const broker = await startBroker(t);
    const before = name === 'Authentication Data' ? [property.authenticationMethod('m')] : [];
    const properties = [...before, one, property.userProperty('a', 'b'), one];
    await expectRefused(await dialAndSend(t, broker, connect({ properties })), 0x82);
  });
}

t.test('edge case 5: User Property may repeat in CONNECT', async (t) => {
  const broker = await startBroker(t);
  const one = property.userProperty('a', 'b');
  await join(t, broker, { properties: [one, one, property.userProperty('a', 'c'), one] });
});

t.test('protocol error: edge case 5: a property that CONNECT does not have, or that there is not', async (t) => {
  const broker = await startBroker(t);
  for (const one of [
    property.payloadFormatIndicator(0),
    property.messageExpiryInterval(1),
    property.contentType('a'),
    property.responseTopic('a'),
    property.correlationData('a'),
    property.subscriptionIdentifier(1),
    property.assignedClientIdentifier('a'),
    property.serverKeepAlive(1),
    property.willDelayInterval(1),
    property.reasonString('a'),
    property.topicAlias(1),
    property.maximumQos(1),
    property.retainAvailable(1),
    hex('28 01'),
    hex('29 01'),
    hex('2a 01'),
    hex('1a 00 01 61'),
    hex('1c 00 01 61'),
    hex('00'),
    hex('04 00'),
    hex('7f 00'),
    hex('a6 00 00 01 61 00 01 62'),
  ]) {
    await expectRefused(await dialAndSend(t, broker, connect({ properties: [one] })), 0x81);
  }
});

t.test('protocol error: a property of CONNECT that is cut off', async (t) => {
  const broker = await startBroker(t);
  for (const bytes of [
    '11 00 00 00',
    '21 00',
    '27 00 00 00',
    '17',
    '26 00 01 61',
    '26 00 01 61 00 02 62',
    '15 00 05 61',
  ]) {
    await expectRefused(await dialAndSend(t, broker, connect({ properties: [hex(bytes)] })), 0x81);
  }
});

t.test('properties of every kind together are taken', async (t) => {
  const broker = await startBroker(t);
  await join(t, broker, {
    properties: [
      property.sessionExpiryInterval(0),
      property.receiveMaximum(65_535),
      property.maximumPacketSize(0xffffffff),
      property.topicAliasMaximum(65_535),
      property.requestResponseInformation(1),
      property.requestProblemInformation(1),
      property.userProperty('', ''),
    ],
  });
});
