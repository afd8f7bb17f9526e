import type { Deliveries, Lossy } from './deliveries.js';
import type { Publication } from './publication.js';
import type { Verdicts } from './verdicts.js';

/** The broker's time stands still for a turn, so that what it sets a timer for may be due a little earlier. */
const turnMs = 10;

/** The will of one connection, as its client and the broker's end of the connection know it. */
export interface WillFact {
  readonly publication: Publication;
  readonly delayMs: number;
  /** Its delay, or the session's expiry where that is shorter. */
  dueAfterMs: number;
  /** True once CONNACK came to a durable session: the will is on the disk. */
  isSure: boolean;
  /** Batch in which the broker took DISCONNECT; 0 before. */
  droppedIn: number;
  /** When the broker lost the connection; 0 before. */
  lostAtMs: number;
  /** True once it may have been published. */
  mayCome: boolean;
  /** True if the client was back in time. */
  isCancelled: boolean;
  /** Batch that was open then. */
  cancelledIn: number;
}

/** Wills come once for a connection that is lost, after their delay, and never after a goodbye. */
export class Wills implements Lossy {
  private readonly verdicts: Verdicts;
  private readonly deliveries: Deliveries;
  private readonly facts = new Map<string, WillFact>();

  constructor(verdicts: Verdicts, deliveries: Deliveries) {
    this.verdicts = verdicts;
    this.deliveries = deliveries;
  }

  /** A client connects with a will. */
  add(publication: Publication, delayMs: number, expirySeconds: number): WillFact {
    this.deliveries.onSent(publication);
    const dueAfterMs = Math.min(delayMs, expirySeconds * 1000);
    const fact: WillFact = {
      ...{ publication, delayMs, dueAfterMs, isSure: false, droppedIn: 0, lostAtMs: 0 },
      ...{ mayCome: false, isCancelled: false, cancelledIn: 0 },
    };
    this.facts.set(publication.name, fact);
    return fact;
  }

  /** The broker has lost a connection with this will. @param batch the batch that is open */
  onLost(fact: WillFact, nowMs: number, event: number, batch: number): void {
    if (fact.droppedIn > 0 || fact.lostAtMs > 0) return;
    fact.lostAtMs = nowMs;
    if (fact.dueAfterMs > 0) return;
    fact.mayCome = true;
    // The will is owed to those who had subscribed before the connection was lost.
    fact.publication.sentAt = event;
    if (fact.isSure && fact.delayMs === 0) this.deliveries.owe(fact.publication, batch);
  }

  /** The client is back, or its session is over: a will that has not come by now comes at once, or not at all. */
  onReturn(fact: WillFact, nowMs: number, sessionGoesOn: boolean, batch: number): void {
    if (fact.lostAtMs > 0 && (!sessionGoesOn || nowMs + turnMs >= fact.lostAtMs + fact.dueAfterMs)) fact.mayCome = true;
    else {
      fact.isCancelled = true;
      fact.cancelledIn = batch;
    }
  }

  onArrived(name: string, nowMs: number): void {
    const fact = this.facts.get(name);
    if (fact === undefined) return;
    const isDue = fact.lostAtMs > 0 && nowMs + turnMs >= fact.lostAtMs + fact.dueAfterMs && !fact.isCancelled;
    if (fact.mayCome || isDue) return;
    const why = fact.droppedIn > 0 ? 'although its client said goodbye' : 'though its connection was not lost';
    this.verdicts.broken('wills only for lost connections', `${name} came ${why}, or before its delay`);
  }

  /** The broker died: a goodbye in a batch that is lost was never said, and every connection is lost. */
  onCrash(batch: number, nowMs: number): void {
    for (const fact of this.facts.values()) {
      if (fact.droppedIn > 0 && fact.droppedIn <= batch) continue;
      fact.droppedIn = 0;
      if (fact.lostAtMs === 0) fact.lostAtMs = nowMs;
      if (fact.dueAfterMs === 0) fact.mayCome = true;
      // A return in a batch that is lost did not happen: the next one may end the session, and that the delay.
      if (fact.isCancelled && fact.cancelledIn > batch) fact.mayCome = true;
      fact.isCancelled = false;
    }
  }

  forgetAfter(): void {
    for (const fact of this.facts.values()) fact.mayCome = true;
  }
}
