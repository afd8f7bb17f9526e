import type { ProtocolError } from '../base/errors.js';
import type { Log } from '../base/log.js';
import type { Metrics } from '../broker/metrics.js';
import { PacketType } from '../spec/packet-types.js';
import { describeReason } from '../spec/reason-codes.js';
import type { ConnectionParts } from './connection-parts.js';

/**
 * What the log has of one connection: a line when its client is let in or refused, and a line when it goes, each with
 * client, address and reason. Counts what it tells.
 */
export class ConnectionLog {
  /** Empty until CONNECT has come. */
  clientId = '';
  userName: string | null = null;
  private readonly parts: ConnectionParts;
  private readonly address: string;

  constructor(parts: ConnectionParts, address: string) {
    this.parts = parts;
    this.address = address;
  }

  private get log(): Log {
    return this.parts.log;
  }

  private get metrics(): Metrics {
    return this.parts.core.context.metrics;
  }

  connected(clientId: string, userName: string | null, version: number): void {
    this.clientId = clientId;
    this.userName = userName;
    this.log.info({ ...this.who(), version }, 'connected');
  }

  /** The broker answers CONNECT with a failure. */
  refused(reasonCode: number, reason: string): void {
    this.metrics.connectionsRefused++;
    this.metrics.countSent(PacketType.connack, reasonCode);
    const code = describeReason(reasonCode);
    this.log.warn({ ...this.who(), reason, code }, `connection refused: ${code}`);
  }

  /** The connection ends before a CONNECT that could be answered. */
  dropped(reason: string): void {
    this.log.info({ ...this.who(), reason }, 'closed before CONNECT was accepted');
  }

  /** The client said goodbye. */
  left(reasonCode: number): void {
    if (reasonCode !== 0) this.metrics.countReason(PacketType.disconnect, reasonCode);
    this.log.info({ ...this.who(), reason: describeReason(reasonCode) }, 'disconnected');
  }

  /** The broker ends the connection. */
  closed(reasonCode: number, reason: string): void {
    const code = describeReason(reasonCode);
    this.log.info({ ...this.who(), reason, code }, `disconnected by the broker: ${code}`);
  }

  /** The connection ended without a word. */
  lost(): void {
    this.log.info({ ...this.who(), reason: 'the connection was lost' }, 'connection lost');
  }

  protocolError(error: ProtocolError): void {
    this.metrics.protocolErrors++;
    this.log.warn(this.who(), `protocol error: ${error.describe()}`);
  }

  bug(error: unknown): void {
    const detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
    this.log.error({ ...this.who(), error: detail }, 'a bug ended a connection: please report it');
  }

  private who(): object {
    const { clientId, userName, address } = this;
    return userName === null ? { client: clientId, address } : { client: clientId, user: userName, address };
  }
}
