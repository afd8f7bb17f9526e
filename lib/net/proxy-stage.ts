import { BlockList, isIPv6, type Socket } from 'node:net';
import type { Timers } from '../broker/timers.js';
import { parseNetwork } from '../config/networks.js';
import { addressOf } from './origin.js';
import { parseProxyHeader } from './proxy-protocol.js';

/** What comes of waiting for a header. */
export interface ProxyOutcomes {
  /** It has come. @param address of the client; null where the header tells none */
  onHeader(socket: Socket, address: string | null): void;
  /** The connection is not let in. */
  onRefused(address: string, reason: string): void;
}

/** Takes the header of the PROXY protocol from the beginning of each connection of one listener. */
export class ProxyStage {
  private readonly trusted: BlockList | null;
  private readonly timers: Timers;
  private readonly timeoutMs: number;
  private readonly outcomes: ProxyOutcomes;

  /**
   * @param trustedProxies networks that a header is taken from; undefined for all
   * @param timeoutMs how long a header may take
   */
  constructor(
    trustedProxies: readonly string[] | undefined,
    timers: Timers,
    timeoutMs: number,
    outcomes: ProxyOutcomes,
  ) {
    this.trusted = trustedProxies === undefined ? null : listOf(trustedProxies);
    this.timers = timers;
    this.timeoutMs = timeoutMs;
    this.outcomes = outcomes;
  }

  /** Waits for the header. What has come behind it is put back for whoever reads the socket next. */
  take(socket: Socket): void {
    socket.on('error', ignore);
    if (!this.trusts(socket)) {
      this.refuse(socket, 'it is none of trustedProxies');
      return;
    }
    let held: Buffer = Buffer.alloc(0);
    const onReadable = (): void => {
      const chunk = socket.read() as Buffer | null;
      if (chunk === null) return;
      held = held.length === 0 ? chunk : Buffer.concat([held, chunk]);
      const header = parseProxyHeader(held);
      if (header === null) return;
      end();
      if ('problem' in header) {
        this.refuse(socket, header.problem);
        return;
      }
      if (held.length > header.length) socket.unshift(held.subarray(header.length));
      socket.removeListener('error', ignore);
      this.outcomes.onHeader(socket, header.address);
    };
    const timer = this.timers.after(this.timeoutMs, () => {
      end();
      this.refuse(socket, 'no header of the PROXY protocol in time');
    });
    const end = (): void => {
      this.timers.cancel(timer);
      socket.removeListener('readable', onReadable);
      socket.removeListener('close', end);
    };
    socket.on('readable', onReadable);
    socket.on('close', end);
  }

  private trusts({ remoteAddress = '' }: Socket): boolean {
    return this.trusted === null || this.trusted.check(remoteAddress, isIPv6(remoteAddress) ? 'ipv6' : 'ipv4');
  }

  private refuse(socket: Socket, reason: string): void {
    this.outcomes.onRefused(addressOf(socket), reason);
    socket.destroy();
  }
}

function ignore(): void {
  // 'close' follows.
}

function listOf(networks: readonly string[]): BlockList {
  const list = new BlockList();
  for (const network of networks.map(parseNetwork)) {
    if (network !== null) list.addSubnet(network.address, network.prefix, network.family);
  }
  return list;
}
