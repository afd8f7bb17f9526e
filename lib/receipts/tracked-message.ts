import { CountersignError } from '../base/errors.js';
import { isTally, type Receipt, type Tally } from './packets.js';
import type { Requested } from './request.js';

/**
 * A published message whose receipts are followed.
 *
 * ```ts
 * for await (const receipt of tracked) console.log(receipt.to, receipt.state);
 * const { delivered, failed } = await tracked.tally;
 * ```
 */
export interface TrackedMessage extends AsyncIterable<Receipt> {
  /** The id by which receipts and records name the message. */
  readonly id: string;
  /** How many recipients it has. */
  readonly matched: number;
  /** The state that counts as success. */
  readonly requested: Requested;
  /** The final tally, when every delivery has its outcome. Rejects if that can no longer be learned here. */
  readonly tally: Promise<Tally>;
  /** The same, or the tally at the deadline (`overdue: true`) if deliveries are still pending then. */
  readonly tallyByDeadline: Promise<Tally>;
  /** Receipts and tallies that were discarded because nobody took them: at most 10 000 wait. */
  readonly dropped: number;
  /**
   * Receipts as they come, until the final tally; begins with those that wait. Throws where `tally` rejects. Several
   * loops over one message share its receipts out among them.
   */
  [Symbol.asyncIterator](): AsyncGenerator<Receipt, void, undefined>;
  /** The same with the tallies in their places. */
  events(): AsyncGenerator<Receipt | Tally, void, undefined>;
  /** Stops following: loops end, tallies that have not come reject. Tracking goes on in the broker. */
  close(): void;
}

/** Receipts and tallies that may wait for their reader; past it the oldest go. */
export const waitingReceiptsMax = 10_000;

interface Deferred<Value> {
  readonly promise: Promise<Value>;
  resolve(value: Value): void;
  reject(error: Error): void;
}

function defer<Value>(): Deferred<Value> {
  let settle: { resolve(value: Value): void; reject(error: Error): void } | null = null;
  const promise = new Promise<Value>((resolve, reject) => {
    settle = { resolve, reject };
  });
  // Nobody has to ask for it: then its failure is nobody's business.
  promise.catch(() => undefined);
  return { promise, resolve: (value) => settle?.resolve(value), reject: (error) => settle?.reject(error) };
}

/** Takes the receipts of one message and hands them to whoever loops over them. */
export class ReceiptStream implements TrackedMessage {
  readonly id: string;
  readonly requested: Requested;
  matched = 0;
  dropped = 0;
  private waiting: (Receipt | Tally)[] = [];
  /** Place in `waiting` of the next one to hand out. */
  private head = 0;
  private readonly final = defer<Tally>();
  private readonly byDeadline = defer<Tally>();
  private wakeUps: (() => void)[] = [];
  private ended = false;
  private error: Error | null = null;
  private readonly onClose: (stream: ReceiptStream) => void;

  /** @param onClose called once if the reader stops following before the final tally */
  constructor(id: string, requested: Requested, onClose: (stream: ReceiptStream) => void) {
    this.id = id;
    this.requested = requested;
    this.onClose = onClose;
  }

  get tally(): Promise<Tally> {
    return this.final.promise;
  }

  get tallyByDeadline(): Promise<Tally> {
    return this.byDeadline.promise;
  }

  /** True when nothing more will come. */
  get isEnded(): boolean {
    return this.ended;
  }

  /** Takes one receipt or tally; the final one ends the stream. */
  push(packet: Receipt | Tally): void {
    if (this.ended) return;
    this.waiting.push(packet);
    if (this.waiting.length - this.head > waitingReceiptsMax) {
      this.head++;
      this.dropped++;
    }
    this.compact();
    if (isTally(packet)) this.settle(packet);
    this.wake();
  }

  /** Nothing more can be learned. What waits is still handed out. */
  fail(error: Error): void {
    if (this.ended) return;
    this.ended = true;
    this.error = error;
    this.final.reject(error);
    this.byDeadline.reject(error);
    this.wake();
  }

  close(): void {
    if (this.ended) return;
    this.ended = true;
    const message = `receipts of ${this.id} are no longer followed: close() was called`;
    const error = new CountersignError('ERR_COUNTERSIGN_CLOSED', message);
    this.final.reject(error);
    this.byDeadline.reject(error);
    this.wake();
    this.onClose(this);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Receipt, void, undefined> {
    for await (const packet of this.events()) {
      if (!isTally(packet)) yield packet;
    }
  }

  async *events(): AsyncGenerator<Receipt | Tally, void, undefined> {
    for (;;) {
      const packet = this.take();
      if (packet !== undefined) {
        yield packet;
      } else if (this.error !== null) {
        throw this.error;
      } else if (this.ended) {
        return;
      } else {
        await new Promise<void>((resolve) => this.wakeUps.push(resolve));
      }
    }
  }

  private settle(tally: Tally): void {
    if (tally.final || tally.overdue) this.byDeadline.resolve(tally);
    if (!tally.final) return;
    this.ended = true;
    this.final.resolve(tally);
  }

  private take(): Receipt | Tally | undefined {
    if (this.head === this.waiting.length) return undefined;
    const packet = this.waiting[this.head++];
    this.compact();
    return packet;
  }

  /** Gives back the places of what was handed out, now and then. */
  private compact(): void {
    if (this.head < this.waiting.length && this.head < waitingReceiptsMax / 10) return;
    this.waiting = this.waiting.slice(this.head);
    this.head = 0;
  }

  private wake(): void {
    const wakeUps = this.wakeUps;
    this.wakeUps = [];
    for (const wakeUp of wakeUps) wakeUp();
  }
}
