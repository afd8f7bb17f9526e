import type { IPublishPacket } from 'mqtt-packet';
import type { Peer, Word } from './peer.js';
import { hashOf } from './random.js';
import type { RecipientLog } from './recipient-log.js';
import type { World } from './world.js';

/** Packets until an application has dealt with a message, where it takes its time. */
const laterMax = 200;

/** The application of a recipient: says of each message that asks for it what became of it, until that is taken. */
export class Answering {
  private readonly world: World;
  private readonly peer: Peer;
  private readonly log: RecipientLog;
  /** What is to be said, by receipt-id; `sent` if that is under way. */
  private readonly open = new Map<string, { readonly word: Word; sent: boolean }>();

  constructor(world: World, peer: Peer, log: RecipientLog) {
    this.world = world;
    this.peer = peer;
    this.log = log;
  }

  get isAtRest(): boolean {
    return this.open.size === 0;
  }

  /** A message that the client does not refuse. */
  onMessage(packet: IPublishPacket): void {
    const { receipt, 'receipt-id': receiptId } = packet.properties?.userProperties ?? {};
    if (receipt !== 'processed' || typeof receiptId !== 'string' || this.open.has(receiptId)) return;
    const { random } = this.world;
    const ok = hashOf(`${receiptId} ${this.peer.setup.clientId}`) % 5 !== 0;
    // What is published at QoS 2 is one message, however often it is sent: its correlation data names it. What is held
    // is published at QoS 1: sent again it may be another, and a word by correlation data means the older one.
    const isUnique = packet.topic.endsWith('/2') && !packet.topic.startsWith('hold/');
    const correlationData = isUnique && random.chance(0.5) ? (packet.properties?.correlationData ?? null) : null;
    this.open.set(receiptId, { word: { receiptId, ok, correlationData }, sent: false });
    if (random.chance(0.5)) this.say(receiptId);
    else this.world.after(random.below(laterMax), () => this.say(receiptId));
  }

  /** Says again what was not taken; in a session that goes on the flows do that. */
  onConnected(sessionPresent: boolean): void {
    for (const [receiptId, entry] of this.open) {
      if (!sessionPresent) entry.sent = false;
      this.say(receiptId);
    }
  }

  onTaken(word: Word, reasonCode: number): void {
    this.log.onWordTaken(this.peer.setup.clientId, word, reasonCode);
    if (!this.open.delete(word.receiptId)) return;
    // Now and then it changes its mind, which is too late.
    if (reasonCode !== 0 || this.world.calm || !this.world.random.chance(0.1)) return;
    this.open.set(word.receiptId, { word: { ...word, ok: !word.ok }, sent: false });
    this.say(word.receiptId);
  }

  private say(receiptId: string): void {
    const entry = this.open.get(receiptId);
    if (entry === undefined || entry.sent || !this.peer.online) return;
    entry.sent = true;
    const { word } = entry;
    this.log.onWord(this.peer.setup.clientId, word);
    // The second level of a topic is its publisher.
    const publisher = String(word.correlationData ?? '')
      .split(' ')[0]
      .split('/')[1];
    this.peer.publish({
      topic: word.correlationData === null ? '$receipts/ack' : `$receipts/ack/${publisher}`,
      ...{ n: 0, payload: 'so it is', retain: false, request: null, expires: false, word },
      qos: this.world.random.chance(0.5) ? 1 : 2,
      sentAt: this.world.now(),
    });
  }
}
