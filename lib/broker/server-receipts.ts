import { CountersignError } from '../base/errors.js';
import type { Receipt, Tally } from '../receipts/packets.js';
import { receiptBody } from '../receipts/receipt-message.js';
import type { Row, TrackedRecord } from '../receipts/record.js';
import type { ReceiptKind } from '../receipts/reference.js';
import type { Requested } from '../receipts/request.js';
import type { ReceiptState } from '../receipts/states.js';
import { ReceiptStream } from '../receipts/tracked-message.js';
import type { Context } from './context.js';

/** Messages of the embedding program that are followed at a time; past it the oldest is given up. */
export const followedMax = 100_000;

/** A receipt or tally of the message with this sequence. */
interface Told {
  readonly sequence: number;
  readonly stream: ReceiptStream;
  readonly packet: Receipt | Tally;
}

/** Receipts for the embedding program: each is handed over once the change that it tells is committed. */
export class ServerReceipts {
  private readonly context: Context;
  private readonly followed = new Map<number, ReceiptStream>();
  /** What the turn under way will hand over, and that turn's number. */
  private pending: Told[] = [];
  private turn = 0;

  constructor(context: Context) {
    this.context = context;
  }

  /** Messages that are followed now. */
  get size(): number {
    return this.followed.size;
  }

  /** Begins to follow a message that is about to be published. */
  follow(sequence: number, requested: Requested): ReceiptStream {
    const oldest = this.followed.size >= followedMax ? this.followed.keys().next().value : undefined;
    if (oldest !== undefined) this.giveUp(oldest);
    const stream = new ReceiptStream(this.context.tracker.id(sequence), requested, () =>
      this.followed.delete(sequence),
    );
    this.followed.set(sequence, stream);
    return stream;
  }

  /** A record of the embedding program's changed. Those of an earlier process are followed by nobody. */
  emit(record: TrackedRecord, kind: ReceiptKind, state: ReceiptState, row: Row | null): void {
    const stream = this.followed.get(record.sequence);
    if (stream === undefined) return;
    const { turns, tracker } = this.context;
    if (this.turn !== turns.number) {
      this.turn = turns.number;
      const batch: Told[] = [];
      this.pending = batch;
      turns.afterCommit(() => this.handOver(batch));
    }
    // The row goes on changing, so what it says now is written down now.
    const packet: Receipt | Tally = JSON.parse(
      receiptBody({ kind, state, brief: false }, tracker.idBytes(record.sequence), record, row),
    );
    this.pending.push({ sequence: record.sequence, stream, packet });
  }

  /** The broker stops: nothing more will come. */
  close(error: CountersignError): void {
    for (const stream of this.followed.values()) stream.fail(error);
    this.followed.clear();
  }

  private handOver(batch: readonly Told[]): void {
    for (const { sequence, stream, packet } of batch) {
      stream.push(packet);
      if (stream.isEnded) this.followed.delete(sequence);
    }
  }

  private giveUp(sequence: number): void {
    const message = `more than ${followedMax} tracked messages are followed: the oldest is not any more`;
    this.followed.get(sequence)?.fail(new CountersignError('ERR_COUNTERSIGN_LIMIT', message));
    this.followed.delete(sequence);
  }
}
