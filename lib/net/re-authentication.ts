import { ProtocolError } from '../base/errors.js';
import type { AuthPacket } from '../codec/control-packets.js';
import { ReasonCode } from '../spec/reason-codes.js';
import type { Authentication, AuthenticationDecision } from './authentication.js';
import { checkAuth } from './handshake.js';

/** What re-authentication asks of its connection. */
export interface ReAuthenticationPort {
  sendAuth(reasonCode: number, method: string, data: Buffer | null): void;
  close(reasonCode: number, reason: string): void;
  /** Handles what `work` comes to where errors end the connection only; input goes on meanwhile. */
  whenDone<T>(work: Promise<T>, handle: (result: T) => void): void;
}

/** A connected client authenticates again; until the verdict everything goes on as before. @see MQTT 5 §4.12.1 */
export class ReAuthentication {
  private readonly authentication: Authentication;
  private readonly port: ReAuthenticationPort;
  /** True between the client's AUTH 0x19 and the verdict. */
  private isUnderWay = false;
  private waitsForHook = false;

  constructor(authentication: Authentication, port: ReAuthenticationPort) {
    this.authentication = authentication;
    this.port = port;
  }

  /** @throws ProtocolError */
  onAuth(packet: AuthPacket): void {
    const expected = this.isUnderWay ? ReasonCode.continueAuthentication : ReasonCode.reAuthenticate;
    checkAuth(packet.reasonCode, packet.authenticationMethod, this.authentication, expected); // [MQTT-4.12.1-1]
    if (this.waitsForHook) throw new ProtocolError(ReasonCode.protocolError, 'AUTH before the last one was answered');
    this.isUnderWay = true;
    const data = packet.authenticationData === null ? null : Buffer.from(packet.authenticationData);
    const decision = this.authentication.step(data, true);
    if (!(decision instanceof Promise)) {
      this.settle(decision);
      return;
    }
    this.waitsForHook = true;
    this.port.whenDone(decision, (result) => this.settle(result));
  }

  private settle(decision: AuthenticationDecision): void {
    this.waitsForHook = false;
    const method = this.authentication.method ?? '';
    if (decision.kind === 'continue') {
      this.port.sendAuth(ReasonCode.continueAuthentication, method, decision.data);
      return;
    }
    this.isUnderWay = false;
    if (decision.kind === 'accepted') this.port.sendAuth(ReasonCode.success, method, decision.data);
    else this.port.close(decision.reasonCode, decision.reason); // [MQTT-4.12.1-2]
  }
}
