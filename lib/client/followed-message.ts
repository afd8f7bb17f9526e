import { isTally, type Receipt, type Tally } from '../receipts/packets.js';
import type { ReceiptStream } from '../receipts/tracked-message.js';

/** How far a message has been told: all before `at`, and of that millisecond the packets with these keys. */
interface Told {
  at: number;
  readonly keys: Set<string>;
}

/**
 * A message whose receipts come over MQTT, each handed on once. Live ones come in the order of their times, so what
 * comes again after a connection was lost is told by its time; a replay has no order of its own, and is compared with
 * what had been told when it began.
 */
export class FollowedMessage {
  readonly stream: ReceiptStream;
  private readonly told: Told = { at: 0, keys: new Set() };
  private beforeReplay: Told | null = null;

  constructor(stream: ReceiptStream) {
    this.stream = stream;
  }

  /** The broker is about to replay what it recorded. */
  replayBegins(): void {
    // A replay that was cut short began with what its own beginning knew.
    this.beforeReplay ??= { at: this.told.at, keys: new Set(this.told.keys) };
  }

  /** Hands on what has not been told. @param retain set on replays @param dup set on what is sent again */
  take(packet: Receipt | Tally, retain: boolean, dup: boolean): void {
    // A replay that others asked for over the same connection.
    if (retain && this.beforeReplay === null) return;
    const key = keyOf(packet);
    let known = dup ? this.told : null;
    if (retain) known = this.beforeReplay;
    const isRepeat = known !== null && (packet.at < known.at || (packet.at === known.at && known.keys.has(key)));
    // A replay tells a message's tally after its receipts.
    if (retain && isTally(packet)) this.beforeReplay = null;
    if (isRepeat) return;
    this.note(packet.at, key);
    this.stream.push(packet);
  }

  private note(at: number, key: string): void {
    const { told } = this;
    if (at < told.at) return;
    if (at > told.at) told.keys.clear();
    told.at = at;
    told.keys.add(key);
  }
}

function keyOf(packet: Receipt | Tally): string {
  if (isTally(packet)) return `${packet.final} ${packet.overdue}`;
  return JSON.stringify([packet.group, packet.group === undefined ? packet.to : '', packet.state]);
}
