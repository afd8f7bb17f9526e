import { CountersignError } from '../base/errors.js';
import type { MqttClientLike, ReceivedPacket } from './mqtt-client.js';

/** What receipts of one's own messages have their topics under. */
export const ownTopics = '$receipts/~/';
const allFilter = `${ownTopics}#`;
const talliesFilter = `${ownTopics}+`;
const refusedFrom = 0x80;

/** The client's subscription to its own receipts: made once, and made good after its session was lost. */
export class OwnSubscription {
  private readonly client: MqttClientLike;
  private filter = allFilter;
  private made: Promise<void> | null = null;
  /** Packet identifier of the SUBSCRIBE that asks for what was missed; 0 before it is sent. */
  private resumeId = 0;
  private missing = false;

  constructor(client: MqttClientLike) {
    this.client = client;
  }

  /**
   * True from a CONNACK without session until the receipts are subscribed to again. What comes in between will come
   * again, in its place, with the replay.
   */
  get isResuming(): boolean {
    return this.missing;
  }

  /** Subscribes once: to receipts and tallies, or to tallies only where the broker grants no more. */
  ready(): Promise<void> {
    this.made ??= this.subscribe(allFilter, 2, null).catch(async () => {
      try {
        await this.subscribe(talliesFilter, 2, null);
      } catch (error) {
        this.made = null;
        throw refused(allFilter, error);
      }
    });
    return this.made;
  }

  /** Looks at every packet that comes. */
  look({ cmd, messageId, sessionPresent }: ReceivedPacket): void {
    if (cmd === 'suback' && messageId === this.resumeId) this.missing = false;
    if (cmd !== 'connack' || this.made === null || sessionPresent) return;
    this.missing = true;
    this.resumeId = 0;
  }

  /** True if the session is gone and the receipts have to be asked for. */
  get mustResume(): boolean {
    return this.missing && this.resumeId === 0;
  }

  /** Subscribes again and has the records replayed. @param since id to begin behind, null for all that are replayed */
  async resume(since: string | null): Promise<void> {
    const made = this.subscribe(this.filter, 0, since);
    this.resumeId = this.client.getLastMessageId();
    this.made = made;
    try {
      await made;
    } catch (error) {
      throw refused(this.filter, error);
    }
  }

  /** The subscription is gone with its connection. */
  forget(): void {
    this.made = null;
    this.missing = false;
  }

  /** Takes it back, if there is one. */
  async end(): Promise<void> {
    if (this.made === null) return;
    this.forget();
    // A client that is not connected has nothing to take back: then the callback gets an error.
    await new Promise<void>((resolve) => this.client.unsubscribe(this.filter, () => resolve()));
  }

  /** @param rh Retain Handling: 2 for no replay of older records, 0 for one */
  private subscribe(filter: string, rh: number, since: string | null): Promise<void> {
    this.filter = filter;
    return new Promise((resolve, reject) => {
      const options = since === null ? {} : { properties: { userProperties: { 'receipt-since': since } } };
      const filters = { [filter]: { qos: 1 as const, rh } };
      this.client.subscribe(Object.assign(filters, { resubscribe: true }), options, (error, granted) => {
        if (error !== null) reject(error);
        else if (granted?.some(({ qos }) => qos >= refusedFrom)) reject(new Error('not authorized'));
        else resolve();
      });
    });
  }
}

function refused(filter: string, cause: unknown): CountersignError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new CountersignError('ERR_COUNTERSIGN_REFUSED', `could not subscribe to ${filter}: ${reason}`, { cause });
}
