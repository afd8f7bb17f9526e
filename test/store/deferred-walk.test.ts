import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import type { Message } from '../../lib/base/message.js';
import { DeferredDelivery, DeferredMessage } from '../../lib/broker/deferred-deliveries.js';
import { DeliveryState } from '../../lib/delivery/table.js';
import type { Delivery } from '../../lib/session/delivery.js';
import { LmdbStore } from '../../lib/store/lmdb-store.js';
import { MessageReferences } from '../../lib/store/message-references.js';
import { decodeDelivery, decodeNumber, encodeDelivery } from '../../lib/store/records.js';
import { deliveryKey, readDeliveryKey, readMessageKey } from '../../lib/store/records-keys.js';
import { Table } from '../../lib/store/store.js';
import { wallClock } from './wall-clock.js';

const parent = mkdtempSync(join(tmpdir(), 'countersign-walk-'));
t.teardown(() => rmSync(parent, { recursive: true, force: true }));
let directories = 0;

const everything = Buffer.alloc(0);
const { awaitPubrec, awaitPubcomp } = DeliveryState;

interface Step {
  readonly kind: 'message' | 'advance' | 'settle' | 'read' | 'turn' | 'merge' | 'death';
  /** Which delivery, or how many sessions. */
  readonly which: number;
  readonly isLarge: boolean;
}

const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.oneof(
    { weight: 5, arbitrary: fc.constantFrom('message' as const, 'advance' as const) },
    { weight: 6, arbitrary: fc.constant('settle' as const) },
    // A turn leaves the log with the ninth that follows it: most of what can go wrong happens then.
    { weight: 16, arbitrary: fc.constant('turn' as const) },
    { weight: 3, arbitrary: fc.constantFrom('read' as const, 'merge' as const, 'death' as const) },
  ),
  which: fc.nat(7),
  isLarge: fc.oneof({ weight: 9, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
});

/** A delivery that is not at its end, as its session has it. */
interface Open {
  readonly session: number;
  readonly delivery: Delivery;
  state: DeliveryState;
}

/** Deliveries at QoS 2 over a store that dies now and then, and what the store must hold of them. */
class Walk {
  private directory: string;
  private store: LmdbStore;
  private references: MessageReferences;
  private open: Open[] = [];
  private sequence = 0;
  private told = Promise.resolve();
  /** What was open when the last batch was sealed. */
  private sealed: string[] = [];
  deaths = 0;

  private constructor(store: LmdbStore, directory: string) {
    this.store = store;
    this.directory = directory;
    this.references = new MessageReferences(store);
  }

  static async begin(): Promise<Walk> {
    const directory = join(parent, String(++directories));
    return new Walk(await openStore(directory), directory);
  }

  async take({ kind, which, isLarge }: Step): Promise<void> {
    const chosen = this.open.length === 0 ? undefined : this.open[which % this.open.length];
    if (kind === 'message') this.publish(1 + (which % 2), isLarge ? 5000 : 10);
    else if (kind === 'advance' && chosen !== undefined) this.advance(chosen);
    else if (kind === 'settle' && chosen !== undefined) this.settle(chosen);
    else if (kind === 'read') this.check('read');
    else if (kind === 'merge') this.seal();
    else if (kind === 'turn') {
      this.seal();
      await this.told;
    } else if (kind === 'death') await this.die();
  }

  /** The end: what was told, after a death and after a proper close. */
  async finish(): Promise<void> {
    this.seal();
    await this.die();
    this.check('the end');
    await this.store.close();
    this.store = await openStore(this.directory);
    this.check('after a close');
    await this.store.close();
  }

  private publish(sessions: number, bytes: number): void {
    const sequence = ++this.sequence;
    const message: Message = {
      ...{ sequence, topicName: 'a', payload: Buffer.alloc(bytes), properties: everything, qos: 2, retain: false },
      ...{ expiryAtMs: 0, publisherId: 'p', tracked: false },
    };
    let first: DeferredDelivery | null = null;
    for (let session = 1; session <= sessions; session++) {
      first = new DeferredDelivery(session, sequence, awaitPubrec, false, null, null, null, first);
      this.open.push({ session, delivery: first, state: awaitPubrec });
    }
    if (first !== null) this.store.putDeferred(new DeferredMessage(message, first, this.references, this.store));
  }

  private advance(open: Open): void {
    const { session, delivery } = open;
    open.state = awaitPubcomp;
    if (delivery instanceof DeferredDelivery && delivery.advance(awaitPubcomp)) return;
    this.store.put(
      Table.deliveries,
      deliveryKey(session, delivery.sequence),
      encodeDelivery(delivery, awaitPubcomp, 0),
    );
  }

  private settle(open: Open): void {
    const { session, delivery } = open;
    this.open.splice(this.open.indexOf(open), 1);
    if (delivery instanceof DeferredDelivery && delivery.settle()) return;
    this.store.delete(Table.deliveries, deliveryKey(session, delivery.sequence));
    this.references.release(delivery.sequence);
  }

  /** Every batch has something in it: one without is no turn of the log. */
  private seal(): void {
    this.store.put(Table.answers, Buffer.from([1]), Buffer.from([1]));
    this.sealed = this.open.map(nameOf);
    this.told = new Promise((resolve) => this.store.commit(resolve));
  }

  /** The process dies once everything sealed is told; another finds that, and goes on with it. */
  private async die(): Promise<void> {
    await this.told;
    this.deaths++;
    const image = join(parent, String(++directories));
    mkdirSync(image);
    copyFileSync(join(this.directory, 'data.mdb'), join(image, 'data.mdb'));
    await this.store.close();
    this.directory = image;
    this.store = await openStore(image);
    this.references = new MessageReferences(this.store);
    const found = this.store.range(Table.deliveries, everything, null, 10_000).map(({ key, value }) => {
      const { session, sequence } = readDeliveryKey(key);
      const { state, ...facts } = decodeDelivery(sequence, value);
      return { session, delivery: { ...facts, message: null } as Delivery, state: state as DeliveryState };
    });
    // What a recipient did since then may be known already: it was so when the batch was written.
    const later = new Set(this.open.map(nameOf));
    const wanted = this.sealed.filter((row) => later.has(row));
    const names = found.map(nameOf);
    compare(names, wanted, [...this.sealed, ...later], 'after a death');
    this.open = found;
    this.check('after a death');
  }

  /** The store holds the rows that open deliveries need, and no other. */
  private check(when: string): void {
    const rows = (table: Table) => this.store.range(table, everything, null, 10_000);
    const counts = new Map<number, number>();
    for (const { delivery } of this.open) counts.set(delivery.sequence, (counts.get(delivery.sequence) ?? 0) + 1);
    const expected = [
      ...this.open.map(nameOf),
      ...[...counts.keys()].map((sequence) => `message ${sequence}`),
      ...[...counts].filter(([, count]) => count > 1).map(([sequence, count]) => `references ${sequence} ${count}`),
    ];
    const found = [
      ...rows(Table.deliveries).map(({ key, value }) => {
        const { session, sequence } = readDeliveryKey(key);
        return `delivery ${session} ${sequence} ${decodeDelivery(sequence, value).state}`;
      }),
      ...rows(Table.messages).map(({ key }) => `message ${readMessageKey(key)}`),
      ...rows(Table.references).map(({ key, value }) => `references ${readMessageKey(key)} ${decodeNumber(value)}`),
    ];
    compare(found, expected, expected, when);
  }
}

const nameOf = ({ session, delivery, state }: Open): string => `delivery ${session} ${delivery.sequence} ${state}`;

/** What is found must have all that is wanted, and nothing but what is allowed. */
function compare(found: readonly string[], wanted: readonly string[], allowed: readonly string[], when: string): void {
  const missing = wanted.filter((row) => !found.includes(row));
  const tooMany = found.filter((row) => !allowed.includes(row));
  if (missing.length + tooMany.length === 0) return;
  throw new Error(`${when}: missing: ${missing.join(', ')}; too many: ${tooMany.join(', ')}`);
}

function openStore(directory: string): Promise<LmdbStore> {
  return LmdbStore.open({ directory, durability: 'committed', clock: wallClock });
}

t.test('deliveries that settle at any time are in the store exactly as long as they are open', async (t) => {
  let deaths = 0;
  const steps = fc.array(step, { minLength: 100, maxLength: 400, size: 'max' });
  await fc.assert(
    fc.asyncProperty(steps, async (walk) => {
      const walker = await Walk.begin();
      for (const next of walk) await walker.take(next);
      await walker.finish();
      deaths += walker.deaths;
    }),
    // A walk can be played again by its seed; to shorten it would take minutes.
    { numRuns: 60, endOnFailure: true },
  );
  t.ok(deaths > 60, `${deaths} deaths`);
});
