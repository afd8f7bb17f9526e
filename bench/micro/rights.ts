import { parseAccessFile } from '../../lib/access/access-file.js';
import { Rights } from '../../lib/broker/rights.js';
import { Session } from '../../lib/session/session.js';
import type { MicroCase } from './hot-path.js';

/** Results go here, so that nothing is optimized away. */
const kept = { allowed: 0 };

const accessFile = ['user device', 'topic read news/#', 'pattern write site/+/%c/#', 'pattern read cmd/%c/#'].join(
  '\n',
);
/** Fewer than a session remembers, and more. */
const steadyTopics = 16;
const manyTopics = 1000;

function session(): Session {
  return new Session(1, 'client-7', 'device', false, 5, 0);
}

function topics(count: number): string[] {
  return Array.from({ length: count }, (_, at) => `site/${at}/client-7/temperature`);
}

function asking(rights: Rights, count: number): () => void {
  const client = session();
  const topicNames = topics(count);
  return () => {
    for (const topicName of topicNames) if (rights.mayPublish(client, topicName)) kept.allowed++;
  };
}

function guarded(): Rights {
  const rules = parseAccessFile('access', accessFile);
  return new Rights({ authorize: (client, action, topic) => rules.allows(client, action, topic) });
}

/** What access rules cost a PUBLISH: nothing without them, a look-up as a rule, a decision the first time. */
export const rightsCases: readonly (() => MicroCase)[] = [
  () => ({
    name: 'right to publish, no rules',
    bytesMax: 1,
    operations: 16,
    run: asking(new Rights({}), steadyTopics),
  }),
  () => ({
    name: 'right to publish, remembered',
    bytesMax: 1,
    operations: steadyTopics,
    run: asking(guarded(), steadyTopics),
  }),
  () => ({
    name: 'right to publish, decided by patterns',
    bytesMax: 1000,
    operations: manyTopics,
    run: asking(guarded(), manyTopics),
  }),
];
