import type { UserProperties } from 'mqtt-packet';
import type { JsClient, PacketOf } from './mqttjs-client.js';

/** A receipt or a tally as its JSON says it, with the topic it came on. */
export interface Receipt {
  readonly on: string;
  readonly id: string;
  readonly topic: string;
  readonly to?: string;
  readonly state?: string;
  readonly qos?: number;
  readonly reason?: number;
  readonly at: number;
  readonly sentAt?: number;
  readonly cause?: string;
  readonly matched: number;
  readonly processed?: number;
  readonly delivered?: number;
  readonly sent?: number;
  readonly failed?: number;
  readonly pending?: number;
  readonly final?: boolean;
  readonly failures?: readonly object[];
}

/** The next receipt or tally. */
export async function nextReceipt(client: JsClient): Promise<Receipt> {
  const { topic, text } = await client.message('$receipts/');
  return { on: topic, ...(JSON.parse(text) as Omit<Receipt, 'on'>) };
}

/** Receipts and tallies up to the final tally, which is the last of them. */
export async function receiptsToTheEnd(client: JsClient): Promise<Receipt[]> {
  const found: Receipt[] = [];
  while (found[found.length - 1]?.final !== true) found.push(await nextReceipt(client));
  return found;
}

/** One line for each: the state and recipient of a receipt; the counts of a tally. */
export function inWords(receipts: readonly Receipt[]): string[] {
  return receipts.map((receipt) => {
    if (receipt.final === undefined) return `${receipt.state} ${receipt.to}`;
    const { matched, processed, delivered, sent, failed, pending, final } = receipt;
    return `${final ? 'final' : 'first'} ${matched}: ${processed} ${delivered} ${sent} ${failed} ${pending}`;
  });
}

/** Publishes, and returns the broker's own answer: MQTT.js hands none of its properties to the publisher. */
export async function publishTracked(
  client: JsClient,
  topic: string,
  text: string,
  qos: 1 | 2,
  userProperties: UserProperties = { receipt: 'delivered' },
): Promise<PacketOf<'puback'> | PacketOf<'pubrec'>> {
  const properties = Object.keys(userProperties).length === 0 ? {} : { properties: { userProperties } };
  client.mqtt.publish(topic, text, { qos, ...properties });
  return qos === 1 ? client.packet('puback') : client.packet('pubrec');
}
