import t from 'tap';
import { startBroker } from '../helpers/broker.js';
import { connect, disconnect } from '../helpers/packets.js';
import { textOf } from '../helpers/parse.js';
import { dialAndSend, expectRefused, forVersions, greet, join, lasting } from '../helpers/scenes.js';

forVersions(t, [3, 4, 5], '[MQTT-3.1.3-5] 1 to 23 digits and ASCII letters are accepted', async (t, version) => {
  const broker = await startBroker(t);
  for (const clientId of ['a', 'Z', '0', '0123456789abcdefghijklm', 'nopqrstuvwxyzABCDEFGHIJ', 'KLMNOPQRSTUVWXYZ']) {
    await join(t, broker, { version, clientId });
  }
});

t.test('[MQTT-3.1.3-6] [MQTT-3.1.3-7] [MQTT-3.2.2-16] edge case 23: an empty identifier gets one', async (t) => {
  const broker = await startBroker(t);
  await join(t, broker, lasting(5, 'mine'));
  const clients = await Promise.all(
    Array.from({ length: 50 }, (_, at) => greet(t, broker, { ...lasting(5, ''), cleanStart: at % 2 === 0 })),
  );
  const ids = clients.map(([, { code, properties }]) => {
    t.equal(code, 0);
    return textOf(properties, 0x12) ?? t.fail('no Assigned Client Identifier');
  });
  t.equal(new Set([...ids, 'mine']).size, 51, 'all different');
  const [first] = clients[0];
  first.send(disconnect());
  await first.expectClose();
  await join(t, broker, lasting(5, String(ids[0])), true);
  const [, { properties }] = await greet(t, broker, { clientId: 'given' });
  t.equal(textOf(properties, 0x12), undefined, 'none where the client has one');
});

t.test('[MQTT-3.1.3-6] [MQTT-3.1.3-8] edge case 23: an empty identifier may be forbidden', async (t) => {
  const broker = await startBroker(t, { allowEmptyClientId: false });
  for (const cleanStart of [true, false]) {
    await expectRefused(await dialAndSend(t, broker, connect({ cleanStart })), 0x85);
    const older = await dialAndSend(t, broker, connect({ version: 4, cleanStart }));
    await older.expect('20 02 00 02');
    await older.expectClose();
  }
});

t.test('edge case 23: an empty identifier before MQTT 5', async (t) => {
  const broker = await startBroker(t);
  const client = await dialAndSend(t, broker, connect({ version: 4 }));
  await client.expect('20 02 00 00');
  const other = await dialAndSend(t, broker, connect({ version: 4 }));
  await other.expect('20 02 00 00');
  await client.expectNothing();
  for (const packet of [connect({ version: 4, cleanStart: false }), connect({ version: 3 })]) {
    const refused = await dialAndSend(t, broker, packet);
    await refused.expect('20 02 00 02');
    await refused.expectClose();
  }
});

t.test('[MQTT-3.1.3-8] an identifier that is too long is refused', async (t) => {
  const broker = await startBroker(t, { maximumClientIdLength: 23 });
  await join(t, broker, { clientId: 'x'.repeat(23) });
  await expectRefused(await dialAndSend(t, broker, connect({ clientId: 'x'.repeat(24) })), 0x85);
  await expectRefused(await dialAndSend(t, broker, connect({ clientId: 'é'.repeat(12) })), 0x85);
  const older = await dialAndSend(t, broker, connect({ version: 4, clientId: 'x'.repeat(24) }));
  await older.expect('20 02 00 02');
  await older.expectClose();
});
