import type { Word } from './peer.js';
import type { World } from './world.js';

/**
 * What decides how deliveries to a client may end: some outcomes are for sessions that end, or for QoS 0, only.
 */
export interface Recipient {
  readonly clientId: string;
  readonly version: 4 | 5;
  /** True if its session never ends in this run. */
  readonly permanent: boolean;
  readonly qos: number;
}

/** What a recipient said of one message, by receipt-id, or, at version 3.1.1, of all that look alike. */
export interface Said {
  readonly clientId: string;
  readonly name: string;
  /** PUBACKs and PUBRECs with a success code, and with another. */
  taken: number;
  refused: number;
  /** Receipts that rest on these answers. */
  claimed: number;
  /** What its application said: `true` for dealt with. */
  readonly words: Set<boolean>;
  /** The word that the broker has taken, which is the first one; null if none is known to be. */
  verdict: boolean | null;
  /** True if the broker answered to a word that nothing waits for it. */
  unheard: boolean;
}

/** The recipients' own log of what they acknowledged, written as it is handed to their sockets. */
export class RecipientLog {
  private readonly world: World;
  private readonly recipients = new Map<string, Recipient>();
  private readonly log = new Map<string, Said>();

  constructor(world: World) {
    this.world = world;
  }

  know(recipient: Recipient): void {
    this.recipients.set(recipient.clientId, recipient);
  }

  recipient(clientId: string): Recipient | undefined {
    return this.recipients.get(clientId);
  }

  /** The transport's answer to a message. @param name receipt-id, or what the message is known by at version 3.1.1 */
  onAnswered(clientId: string, name: string, reasonCode: number): void {
    const said = this.of(clientId, name);
    if (reasonCode >= 0x80) said.refused++;
    else said.taken++;
  }

  /** The application's acknowledgement is handed to the socket. */
  onWord(clientId: string, { receiptId, ok }: Word): void {
    this.of(clientId, receiptId).words.add(ok);
  }

  /** PUBACK or PUBREC of an application's acknowledgement. */
  onWordTaken(clientId: string, { receiptId, ok }: Word, reasonCode: number): void {
    const said = this.of(clientId, receiptId);
    if (reasonCode === 0) said.verdict ??= ok;
    else if (reasonCode === 0x10) said.unheard = true;
    if (reasonCode === 0 || (reasonCode === 0x10 && this.recipient(clientId)?.permanent === false)) return;
    this.world.violation(`${clientId} acknowledged ${receiptId} in vain: ${reasonCode}`);
  }

  of(clientId: string, name: string): Said {
    const key = `${clientId} ${name}`;
    const known = this.log.get(key);
    if (known !== undefined) return known;
    const said: Said = {
      ...{ clientId, name, taken: 0, refused: 0, claimed: 0, words: new Set<boolean>() },
      ...{ verdict: null, unheard: false },
    };
    this.log.set(key, said);
    return said;
  }

  /** How many clients took a message, by its receipt-id or by what it is known by at version 3.1.1. */
  countTakers(receiptId: string, key: string): number {
    let count = 0;
    for (const { clientId, version } of this.recipients.values()) {
      const said = this.log.get(`${clientId} ${version === 5 ? receiptId : key}`);
      if (said !== undefined && (said.taken > 0 || said.words.has(true))) count++;
    }
    return count;
  }

  /** Everything that clients of version 5 said since everything was settled last. */
  *byReceiptId(): Generator<Said> {
    for (const said of this.log.values()) if (this.recipient(said.clientId)?.version === 5) yield said;
  }

  settle(): void {
    this.log.clear();
  }
}
