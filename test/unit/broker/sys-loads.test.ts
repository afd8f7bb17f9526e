import t from 'tap';
import { Metrics } from '../../../lib/broker/metrics.js';
import { SysLoads } from '../../../lib/broker/sys-loads.js';

t.test('loads come to the rate per minute, the short one first', async (t) => {
  const metrics = new Metrics();
  const loads = new SysLoads();
  const at = (values: [string, string][], name: string) => Number(new Map(values).get(`load/${name}`));
  t.equal(at(loads.update(metrics, 0), 'bytes/received/1min'), 0);
  let values: [string, string][] = [];
  for (let round = 0; round < 6; round++) {
    metrics.bytesReceived += 100;
    values = loads.update(metrics, 10);
  }
  t.equal(at(values, 'bytes/received/1min'), 379.27, '600 × (1 − 1/e)');
  t.ok(
    at(values, 'bytes/received/5min') < 379 && at(values, 'bytes/received/15min') < at(values, 'bytes/received/5min'),
  );
  t.equal(at(values, 'bytes/sent/1min'), 0);
  for (let round = 0; round < 600; round++) values = loads.update(metrics, 10);
  t.equal(at(values, 'bytes/received/1min'), 0, 'and go again');
});

t.test('packets are counted with publishes among those sent', async (t) => {
  const metrics = new Metrics();
  metrics.countReceived(3);
  metrics.countReceived(14);
  metrics.countReason(14, 4);
  metrics.countSent(4, 0x87);
  metrics.publishesSent = 2;
  t.equal(metrics.packetsReceived, 2);
  t.equal(metrics.packetsSent, 3);
});
