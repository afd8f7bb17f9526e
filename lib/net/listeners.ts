import type { ConnectionParts } from './connection-parts.js';
import { Connections } from './connections.js';
import { type Address, Listener, type ListenerAddress } from './listener.js';

/** All listeners of a broker. They share the bound on connections. */
export class Listeners {
  private readonly connections: Connections;
  private readonly list: Listener[] = [];

  constructor(parts: Omit<ConnectionParts, 'onClosed'>) {
    this.connections = new Connections(parts, parts.core.context.settings.maximumConnections);
  }

  /**
   * Begins to listen at each configured address in turn, or for TCP at the given one where none is configured.
   * @returns the addresses in the order of the configuration
   * @throws CountersignError at the first that is not possible: ERR_COUNTERSIGN_LISTEN, or ERR_COUNTERSIGN_CONFIG if a
   * file can not be used
   */
  async listen({ host, port }: Address): Promise<ListenerAddress[]> {
    const { listeners } = this.connections.parts.core.context.settings;
    const usual = { type: 'tcp', host, port } as const;
    const addresses: ListenerAddress[] = [];
    for (const [index, settings] of (listeners.length > 0 ? listeners : [usual]).entries()) {
      const listener = new Listener(settings, `listeners[${index}]`, this.connections);
      this.list.push(listener);
      addresses.push(await listener.listen());
    }
    return addresses;
  }

  /** Reads all certificates again, and returns what puts them in force. @throws CountersignError as `Listener` does */
  prepareReload(): () => void {
    const prepared = this.list.map((listener) => listener.prepareReload());
    return () => {
      for (const apply of prepared) apply();
    };
  }

  /** Stops accepting and sends every client away. */
  async close(): Promise<void> {
    const stopped = this.list.map((listener) => listener.stop());
    this.connections.close();
    await Promise.all(stopped);
  }
}
