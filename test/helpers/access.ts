import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Test } from 'tap';
import type { BrokerOptions } from '../../lib/config/schema.js';
import type { Broker } from '../../lib/index.js';
import { startBroker } from './broker.js';
import { temporaryDirectory } from './command.js';

/** A broker with an access file that can be changed. */
export interface GuardedBroker {
  readonly broker: Broker;
  readonly port: number;
  /** Writes the file anew and has it read again. */
  change(rules: string): Promise<void>;
}

/** Starts a broker whose access file has this text. */
export async function guard(t: Test, rules: string, options: BrokerOptions = {}): Promise<GuardedBroker> {
  const accessFile = join(await temporaryDirectory(t), 'access');
  await writeFile(accessFile, rules);
  const { broker, port } = await startBroker(t, { accessFile, ...options });
  return {
    broker,
    port,
    async change(text: string): Promise<void> {
      await writeFile(accessFile, text);
      await broker.reload();
    },
  };
}
