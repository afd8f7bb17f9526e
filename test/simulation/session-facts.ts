import type { Environment } from './environment.js';
import type { Wire } from './wire.js';

const never = 0xffffffff;
/** A timer of the broker, the turn it is in and the way of a packet may take so long. */
const slackMs = 2000;

const durationMs = (seconds: number): number => (seconds === never ? Number.POSITIVE_INFINITY : seconds * 1000);

/** Whether the broker must, may, or must not have a client's session when it connects. */
export class SessionFacts {
  /** In force for the connection that was accepted last, seconds. */
  expirySeconds = 0;
  wire: Wire | null = null;
  /** The connection whose CONNECT the broker has taken last: before that, an older one may hold the session. */
  private taken: Wire | null = null;
  private readonly env: Environment;
  private readonly clientId: string;
  /** True if a CONNACK came for a session that outlives its connection. */
  private isEstablished = false;
  /** Until when it surely lives. */
  private aliveUntilMs = 0;
  /** When it is surely over, if nothing happens. */
  private overAtMs = Number.POSITIVE_INFINITY;
  /** True if a CONNACK came for a session that ended with its connection, and no CONNECT was sent since. */
  private isEnded = false;
  private connecting = { clean: false, expirySeconds: 0, expectsNone: false, sentAtMs: 0, overAtMs: 0 };
  private longestSeconds = 0;
  /** Longest expiry of a CONNECT since the last CONNACK: the broker may have taken any of them. */
  private attemptedSeconds = 0;

  constructor(env: Environment, clientId: string) {
    this.env = env;
    this.clientId = clientId;
  }

  /** True if the session is surely there, now and when what is sent now comes. */
  get isAlive(): boolean {
    return this.isEstablished && this.env.time.nowMs + slackMs < this.aliveUntilMs;
  }

  onConnecting(clean: boolean, expirySeconds: number): void {
    const { nowMs } = this.env.time;
    const { overAtMs } = this;
    this.connecting = { clean, expirySeconds, expectsNone: this.isEnded, sentAtMs: nowMs, overAtMs };
    this.isEnded = false;
    this.overAtMs = Number.POSITIVE_INFINITY;
    this.attemptedSeconds = Math.max(this.attemptedSeconds, expirySeconds);
    if (clean || expirySeconds === 0) this.isEstablished = false;
    // The CONNECT may be taken and its CONNACK not come.
    this.aliveUntilMs = Math.min(this.aliveUntilMs, nowMs + durationMs(expirySeconds));
  }

  onConnack(sessionPresent: boolean): void {
    const { clean, expirySeconds, expectsNone, sentAtMs, overAtMs } = this.connecting;
    const { verdicts, time } = this.env;
    if (this.isEstablished && !sessionPresent && time.nowMs < this.aliveUntilMs) {
      verdicts.broken('no session lost', `the session of ${this.clientId} is gone`);
    }
    const none = clean || expectsNone || sentAtMs > overAtMs;
    if (none && sessionPresent) {
      const why = clean ? 'a clean start' : expectsNone ? 'its end' : 'its expiry';
      verdicts.broken('no session resurrected', `${this.clientId} has a session after ${why}`);
    }
    this.expirySeconds = this.longestSeconds = this.attemptedSeconds = expirySeconds;
    this.isEstablished = expirySeconds > 0;
    this.isEnded = expirySeconds === 0;
    this.aliveUntilMs = Number.POSITIVE_INFINITY;
  }

  /** DISCONNECT changes the expiry, if the broker gets it. */
  onExpiryChanging(expirySeconds: number): void {
    this.longestSeconds = Math.max(this.expirySeconds, expirySeconds);
    this.expirySeconds = Math.min(this.expirySeconds, expirySeconds);
    if (expirySeconds === 0) this.isEstablished = false;
  }

  /** The connection is over for the client. */
  onClosed(): void {
    const ms = Math.min(durationMs(this.expirySeconds), durationMs(this.connecting.expirySeconds));
    this.aliveUntilMs = Math.min(this.aliveUntilMs, this.env.time.nowMs + ms);
  }

  /** The broker takes the CONNECT of a connection. */
  onConnectTaken(wire: Wire): void {
    this.taken = wire;
  }

  /** The broker knows that the connection is over. */
  onBrokerClosed(wire: Wire): void {
    // Its client, which may read nothing, hears of it later.
    if (this.wire === wire) this.onClosed();
    // A connection that may have been refused says nothing about the session.
    if (this.wire !== wire || this.taken !== wire || !this.env.isWell()) return;
    const longest = Math.max(this.longestSeconds, this.connecting.expirySeconds);
    this.overAtMs = this.env.time.nowMs + durationMs(longest) + slackMs;
  }

  /**
   * The broker died: when it noticed is forgotten with it, and every connection is over, seen or not; time counts from
   * its next start at the latest.
   * @param downMs until that
   */
  onCrash(downMs: number): void {
    this.onClosed();
    const longest = Math.max(this.longestSeconds, this.attemptedSeconds);
    const overAtMs = this.env.time.nowMs + downMs + durationMs(longest) + slackMs;
    this.overAtMs = this.env.isWell() ? overAtMs : Number.POSITIVE_INFINITY;
    this.connecting = { ...this.connecting, overAtMs: Number.POSITIVE_INFINITY };
  }

  /** Committed batches are lost: nothing is certain. */
  blur(): void {
    this.onClosed();
    this.overAtMs = Number.POSITIVE_INFINITY;
    this.connecting = { ...this.connecting, overAtMs: Number.POSITIVE_INFINITY };
    this.isEstablished = false;
    this.isEnded = false;
    this.connecting = { ...this.connecting, expectsNone: false };
  }
}
