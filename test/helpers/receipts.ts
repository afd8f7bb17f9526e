import assert from 'node:assert/strict';
import type { Test } from 'tap';
import type { Message, Peer, PublishOptions } from './peer.js';
import { Peer as Client } from './peer.js';

/** Body of a receipt or tally, with what its packet said. */
export interface Receipt {
  readonly [name: string]: unknown;
  readonly id: string;
  readonly retain: boolean;
  readonly segments: readonly string[];
  readonly isTally: boolean;
}

/** A receipt taken apart. */
export function receiptOf(message: Message): Receipt {
  assert.ok(message.topic.startsWith('$receipts/'), `a receipt was expected: ${message.topic}`);
  const segments = message.topic.split('/').slice(1);
  return { ...JSON.parse(message.text), retain: message.retain, segments, isTally: segments.length === 2 };
}

/** The next receipt. */
export async function takeReceipt(peer: Peer): Promise<Receipt> {
  return receiptOf(await peer.take());
}

/** The next receipts up to the first that is a final tally. */
export async function untilFinal(peer: Peer): Promise<Receipt[]> {
  const all: Receipt[] = [];
  for (;;) {
    const receipt = await takeReceipt(peer);
    all.push(receipt);
    if (receipt.isTally && receipt.final === true) return all;
  }
}

/** Only these fields of a body. */
export function pick(receipt: Receipt, ...names: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(names.filter((name) => name in receipt).map((name) => [name, receipt[name]]));
}

/** `matched processed delivered sent failed pending`, and `final` or `overdue`. */
export function counts(tally: Receipt | undefined): string {
  assert.ok(tally?.isTally, `a tally was expected: ${JSON.stringify(tally)}`);
  const { matched, processed, delivered, sent, failed, pending } = tally;
  const marks = [tally.final === true ? 'final' : '', tally.overdue === true ? 'overdue' : ''];
  return [matched, processed, delivered, sent, failed, pending, ...marks].join(' ').replace(/ +/g, ' ').trim();
}

/** Nothing more has come to a client after everybody's packets were dealt with. */
export async function nothingMore(peer: Peer, ...others: readonly Peer[]): Promise<void> {
  for (const other of others) await other.settle();
  await peer.settle();
  assert.deepEqual(
    peer.inbox.map(({ topic, text }) => `${topic} ${text}`),
    [],
    'nothing more came',
  );
}

interface Port {
  readonly port: number;
}

/** A publisher whose session lasts, subscribed to all of its receipts at QoS 1. */
export async function publisher(t: Test, broker: Port, clientId = 'pub', filter = '$receipts/~/#'): Promise<Peer> {
  const peer = await Client.join(t, broker, clientId, { expiry: 0xffffffff });
  assert.equal(await peer.subscribe(filter, { qos: 1 }), 1);
  return peer;
}

/** Publishes at QoS 1 with a request for receipts, `delivered` unless told. */
export async function track(peer: Peer, topic: string, options: PublishOptions = {}) {
  const answer = await peer.publish(topic, { ...options, ask: { receipt: 'delivered', ...options.ask } });
  assert.ok(answer.code < 0x80, `refused: 0x${answer.code.toString(16)} ${answer.reason}`);
  return answer;
}

/** A session subscribed to a topic whose client is away. */
export async function away(t: Test, broker: Port, clientId: string, filter: string, qos: 0 | 1 | 2 = 1): Promise<void> {
  const peer = await Client.join(t, broker, clientId, { expiry: 1000 });
  await peer.subscribe(filter, { qos });
  await peer.leave();
}
