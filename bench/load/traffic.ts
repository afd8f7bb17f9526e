import type { Sender } from './sender.js';

const readBytes = 256 * 1024;
const idlePollMs = 100;

interface Watch {
  readonly isDone: () => boolean;
  readonly resolve: (isDone: boolean) => void;
}

/**
 * What all connections of the generator share: one read buffer, one buffer of acknowledgements, the senders that are
 * due at the end of the turn, and the counts.
 *
 *     buffer: | headroom: the cut frame of the connection's last chunk | chunk (the kernel reads to here) |
 */
export class Traffic {
  delivered = 0;
  acked = 0;
  /** Messages at QoS 2 that came to a subscriber and that the broker has not released yet (PUBREL). */
  unreleased = 0;
  refused = 0;
  /** Receipts and tallies that publishers got. */
  receipts = 0;
  readonly buffer: Buffer;
  readonly headroomBytes: number;
  readonly readView: Uint8Array;
  /** Acknowledgements of the chunk at hand; an acknowledgement is never longer than what it answers. */
  ackBuffer: Buffer;
  /** Indexed by publisher number. */
  readonly senders: Sender[] = [];
  private due: Sender[] = [];
  private isScheduled = false;
  private watch: Watch | null = null;

  /** @param frameBytesMax the longest frame that the broker will send */
  constructor(frameBytesMax: number) {
    this.headroomBytes = frameBytesMax + 1024;
    this.buffer = Buffer.allocUnsafeSlow(this.headroomBytes + readBytes);
    this.readView = this.buffer.subarray(this.headroomBytes);
    this.ackBuffer = Buffer.allocUnsafeSlow(this.buffer.length);
  }

  /** Pumps the sender at the end of the turn. */
  schedule(sender: Sender): void {
    if (sender.isDue) return;
    sender.isDue = true;
    this.due.push(sender);
    if (this.isScheduled) return;
    this.isScheduled = true;
    setImmediate(this.pumpDue);
  }

  /** Called after each chunk. */
  afterChunk(): void {
    if (this.watch?.isDone()) this.settle(true);
  }

  /** Resolves with true as soon as the condition holds after a chunk, with false when nothing moves for a while. */
  when(isDone: () => boolean, idleSeconds: number): Promise<boolean> {
    if (isDone()) return Promise.resolve(true);
    return new Promise((resolve) => {
      let moved = -1;
      let movedAtMs = performance.now();
      const timer = setInterval(() => {
        const total = this.delivered + this.acked - this.unreleased;
        if (total !== moved) movedAtMs = performance.now();
        moved = total;
        if (performance.now() - movedAtMs > idleSeconds * 1000) this.settle(isDone());
      }, idlePollMs);
      this.watch = {
        isDone,
        resolve: (result) => {
          clearInterval(timer);
          resolve(result);
        },
      };
    });
  }

  private settle(isDone: boolean): void {
    const watch = this.watch;
    this.watch = null;
    watch?.resolve(isDone);
  }

  private readonly pumpDue = (): void => {
    const due = this.due;
    this.due = [];
    this.isScheduled = false;
    for (const sender of due) {
      sender.isDue = false;
      sender.pump();
    }
  };
}
