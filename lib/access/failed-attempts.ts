import { isIPv6 } from 'node:net';
import type { Clock } from '../base/clock.js';

/** Addresses remembered; past it those that failed longest ago are forgotten. */
const addressesMax = 10_000;
/** Failures that are answered at once: people mistype. */
const freeFailures = 3;
const firstDelayMs = 250;
const longestDelayMs = 5000;
/** Refusals of one address that wait at a time; while they do, further attempts are not even looked at. */
export const waitingMax = 16;
/** Without a failure for this long, an address is like new. */
const forgetMs = 600_000;

interface Failures {
  count: number;
  lastAtMs: number;
  waiting: number;
}

/**
 * Slows down who guesses passwords: refusals to an address that has failed before wait, longer from time to time, and
 * only so many may wait. Who has the right password never waits, so that a device with a wrong one does not hold up
 * others behind the same address.
 */
export class FailedAttempts {
  private readonly clock: Clock;
  private readonly byAddress = new Map<string, Failures>();

  constructor(clock: Clock) {
    this.clock = clock;
  }

  /** Addresses remembered. */
  get size(): number {
    return this.byAddress.size;
  }

  /** False while so many refusals to this address wait that its next attempt must be refused unseen. */
  admits(address: string): boolean {
    return (this.byAddress.get(networkOf(address))?.waiting ?? 0) < waitingMax;
  }

  /** An attempt failed: resolves when it may be answered. */
  async failed(address: string): Promise<void> {
    const failures = this.count(networkOf(address));
    const delays = failures.count - freeFailures;
    if (delays <= 0) return;
    failures.waiting++;
    const delayMs = Math.min(longestDelayMs, firstDelayMs * 2 ** Math.min(delays - 1, 20));
    await new Promise<void>((resolve) => void this.clock.after(delayMs, resolve));
    failures.waiting--;
  }

  private count(network: string): Failures {
    const now = this.clock.now();
    const known = this.byAddress.get(network);
    const isStale = known === undefined || (known.waiting === 0 && now - known.lastAtMs > forgetMs);
    const failures = isStale ? { count: 0, lastAtMs: now, waiting: 0 } : known;
    failures.count++;
    failures.lastAtMs = now;
    // The last to fail is the last to be forgotten.
    this.byAddress.delete(network);
    this.byAddress.set(network, failures);
    if (this.byAddress.size > addressesMax) this.forgetOne();
    return failures;
  }

  private forgetOne(): void {
    const [oldest] = this.byAddress.keys();
    if (oldest !== undefined) this.byAddress.delete(oldest);
  }
}

/** The address without its port; of IPv6 the network, all of which one customer has. */
function networkOf(address: string): string {
  const host = address.slice(0, Math.max(0, address.lastIndexOf(':'))) || address;
  const plain = host.replace(/^\[|\]$/g, '').replace(/^::ffff:(?=\d+\.)/i, '');
  if (!isIPv6(plain)) return plain;
  const [head = '', tail] = plain.split('::');
  const first = head === '' ? [] : head.split(':');
  const missing = tail === undefined ? 0 : 8 - first.length - (tail === '' ? 0 : tail.split(':').length);
  const groups = [...first, ...Array<string>(Math.max(0, missing)).fill('0'), ...(tail ?? '').split(':')];
  return groups.slice(0, 4).join(':');
}
