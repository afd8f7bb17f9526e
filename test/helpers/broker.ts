import type { Test } from 'tap';
import type { BrokerOptions } from '../../lib/config/schema.js';
import { Broker } from '../../lib/index.js';
import { cleanEnvironment, type Outcome, programPath, Running } from './command.js';
import { deadlineMs } from './deadline.js';

/** A broker in this process and where it listens. */
export interface StartedBroker {
  readonly broker: Broker;
  readonly port: number;
}

/** Starts a broker in this process, on a free port and in memory unless told otherwise; closed when the test ends. */
export async function startBroker(t: Test, options: BrokerOptions = {}): Promise<StartedBroker> {
  const broker = new Broker({ port: 0, memory: options.data === undefined, ...options });
  t.teardown(() => broker.close());
  const { port } = await broker.listen();
  return { broker, port };
}

const readyLine = /^countersign \S+ ready on \w+:\/\/(.+):(\d+)[^:\s]*, data in .+\n/m;

/** A broker in a process of its own. */
export class BrokerChild {
  readonly port: number;
  readonly running: Running;
  private readonly t: Test;
  private readonly args: readonly string[];

  constructor(t: Test, args: readonly string[], running: Running, port: number) {
    this.t = t;
    this.args = args;
    this.running = running;
    this.port = port;
  }

  /** Ends the process as a crash would: no handler of it runs. */
  async kill9(): Promise<void> {
    await this.running.kill('SIGKILL');
  }

  /** Stops in order. */
  async stop(): Promise<Outcome> {
    return this.running.kill('SIGTERM');
  }

  /** Starts it again and kills it after so many milliseconds, ready or not; resolves when it has ended. */
  async startAndDie(environment: Readonly<Record<string, string>>, afterMs: number): Promise<void> {
    const commandLine = [programPath, 'start', ...this.args, '--port', String(this.port)];
    const running = new Running(this.t, process.execPath, commandLine, cleanEnvironment(environment));
    const timer = setTimeout(() => running.child.kill('SIGKILL'), afterMs);
    await running.ended;
    clearTimeout(timer);
  }

  /** Starts it again with the same flags, on the port it had, after it has ended. */
  async restart(environment: Readonly<Record<string, string>> = {}, limitMs = deadlineMs): Promise<BrokerChild> {
    return startChild(this.t, [...this.args, '--port', String(this.port)], environment, limitMs);
  }
}

/**
 * Starts `countersign start --port 0` with more flags (a later `--port` wins) in a process of its own, killed when the
 * test ends; resolves when it is ready.
 */
export async function startChild(
  t: Test,
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
  limitMs = deadlineMs,
): Promise<BrokerChild> {
  const commandLine = [programPath, 'start', '--port', '0', ...args];
  const running = new Running(t, process.execPath, commandLine, cleanEnvironment(environment));
  const [, , port] = await running.output(readyLine, limitMs);
  return new BrokerChild(t, args, running, Number(port));
}
