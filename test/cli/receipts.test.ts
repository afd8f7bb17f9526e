import t, { type Test } from 'tap';
import { Broker, type ClientIdentity } from '../../lib/index.js';
import { startBroker } from '../helpers/broker.js';
import { cleanEnvironment, type Outcome, programPath, Running, runProgram } from '../helpers/command.js';
import { JsClient } from '../interop/mqttjs-client.js';

interface AuditedBroker {
  readonly broker: Broker;
  readonly port: number;
  /** Resolves when the access of the one who may see all is asked for next: it subscribes. */
  readonly asked: () => Promise<void>;
}

/** A broker in which the client `audit`, and nobody else, may see all receipts. */
async function auditedBroker(t: Test): Promise<AuditedBroker> {
  let onAsked: () => void = () => undefined;
  const receiptAccess = ({ clientId }: ClientIdentity): 'all' | 'own' => {
    if (clientId !== 'audit') return 'own';
    onAsked();
    return 'all';
  };
  const broker = new Broker({ port: 0, memory: true, hooks: { receiptAccess } });
  t.teardown(() => broker.close());
  const { port } = await broker.listen();
  const asked = (): Promise<void> =>
    new Promise((resolve) => {
      onAsked = resolve;
    });
  return { broker, port, asked };
}

/** Publishes tracked messages as a client that then goes away; the ids, in their order. */
async function publishAs(t: Test, port: number, clientId: string, count: number): Promise<string[]> {
  const publisher = await JsClient.connect(t, port, { clientId });
  const ids: string[] = [];
  for (let n = 0; n < count; n++) {
    publisher.mqtt.publish('cmd/7', String(n), { qos: 1, properties: { userProperties: { receipt: 'delivered' } } });
    const { properties } = await publisher.packet('puback');
    ids.push(String(properties?.userProperties?.['receipt-id']));
  }
  await publisher.end();
  return ids;
}

function list(t: Test, port: number, ...args: readonly string[]): Promise<Outcome> {
  return runProgram(t, ['receipts', '--port', String(port), ...args]);
}

/** `id state` or `id tally` of each line. */
function linesOf(stdout: string): string[] {
  const lines = stdout.split('\n').filter((line) => line !== '');
  return lines.map((line) => {
    const { id, state, to } = JSON.parse(line) as { id: string; state?: string; to?: string };
    return state === undefined ? `${id} tally` : `${id} ${to} ${state}`;
  });
}

t.test('receipts lists the own records of a publisher, oldest first, and ends', async (t) => {
  const { port } = await startBroker(t);
  const device = await JsClient.connect(t, port, { clientId: 'device-7' });
  await device.mqtt.subscribeAsync('cmd/#', { qos: 1 });
  const [one = '', two = '', three = ''] = await publishAs(t, port, 'console', 3);
  const all = await list(t, port, '--client-id', 'console');
  t.match(all, { code: 0, stderr: '' });
  const expected = [one, two, three].flatMap((id) => [`${id} device-7 delivered`, `${id} tally`]);
  t.same(linesOf(all.stdout), expected);
  const since = await list(t, port, '--client-id', 'console', '--since', two);
  t.same(linesOf(since.stdout), expected.slice(4));
  const single = await list(t, port, '--client-id', 'console', '--id', two, '--json');
  t.same(linesOf(single.stdout), expected.slice(2, 4));
});

t.test('receipts of an id without a record say so with exit code 3; of a publisher without any, nothing', async (t) => {
  const { port } = await startBroker(t);
  const none = await list(t, port, '--client-id', 'console', '--id', '0T3Z1F1JC0000');
  t.match(none, { code: 3, stdout: '', stderr: 'countersign: there is no record of 0T3Z1F1JC0000\n' });
  t.match(await list(t, port, '--client-id', 'console'), { code: 0, stdout: '', stderr: '' });
});

t.test('receipts --publisher lists those of another to a client that may see them', async (t) => {
  const { broker, port } = await auditedBroker(t);
  const [id = ''] = await publishAs(t, port, 'plant/7', 1);
  const others = await list(t, port, '--client-id', 'audit', '--publisher', 'plant/7');
  t.match(others, { code: 0, stdout: /^{"publisher":"plant%2F7","id":/ });
  t.same(linesOf(others.stdout), [`${id} tally`]);
  const own = await broker.publish({ topic: 'a', payload: '', receipt: 'delivered' });
  const server = await list(t, port, '--client-id', 'audit', '--publisher', '$server');
  t.same(linesOf(server.stdout), [`${own.id} tally`]);
  const refused = await list(t, port, '--publisher', 'plant/7');
  t.match(refused, { code: 1, stdout: '', stderr: /^countersign: the broker does not let this client see[^\n]+\n$/ });
});

t.test('receipts --follow goes on with what comes, until it is stopped', async (t) => {
  const { broker, port, asked } = await auditedBroker(t);
  const [before = ''] = await publishAs(t, port, 'console', 1);
  const start = (...args: string[]): Running => {
    const commandLine = [programPath, 'receipts', '--port', String(port), '--client-id', 'audit', '--follow', ...args];
    return new Running(t, process.execPath, commandLine, cleanEnvironment());
  };
  const one = start('--publisher', 'console');
  await one.output(new RegExp(before));
  const [after = ''] = await publishAs(t, port, 'console', 1);
  await one.output(new RegExp(after));
  await one.kill('SIGINT');
  t.same(linesOf(one.stdout), [`${before} tally`, `${after} tally`]);

  // All publishers are followed live only: the message comes after the subscription.
  const subscribing = asked();
  const every = start('--all');
  await subscribing;
  await broker.publish({ topic: 'a', payload: '', receipt: 'delivered' });
  await every.output(/"publisher":"\$server"/);
  await broker.close();
  t.match(await every.finish(), { code: 1, stderr: /connection to the broker was lost/ });
});

t.test('receipts without a publisher to list is wrong usage', async (t) => {
  t.match(await runProgram(t, ['receipts']), {
    code: 2,
    stdout: '',
    stderr: /^countersign: give --client-id [^\n]+\n$/,
  });
  const wrongId = await runProgram(t, ['receipts', '--client-id', 'c', '--id', 'x']);
  t.match(wrongId, { code: 2, stderr: /--id x is no id/ });
  const wrongSince = await runProgram(t, ['receipts', '--client-id', 'c', '--since', 'OLDOLDOLDOLDO']);
  t.match(wrongSince, { code: 2, stdout: '', stderr: /^countersign: --since OLDOLDOLDOLDO is no id: [^\n]+\n$/ });
  t.match(await runProgram(t, ['receipts', '--all']), { code: 2, stderr: /--all needs --follow/ });
  t.match(await runProgram(t, ['receipts', '--all', '--follow', '--port', '1']), {
    code: 1,
    stderr: /connection refused/,
  });
});
