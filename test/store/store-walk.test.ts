import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { DeferredDelivery, DeferredMessage } from '../../lib/broker/deferred-deliveries.js';
import { HeldIdentifier } from '../../lib/broker/held-identifier.js';
import { DeliveryState } from '../../lib/delivery/table.js';
import { LmdbStore } from '../../lib/store/lmdb-store.js';
import { MessageReferences } from '../../lib/store/message-references.js';
import { encodeDelivery, encodeInbound } from '../../lib/store/records.js';
import { deliveryKey, inboundKey, messageKey } from '../../lib/store/records-keys.js';
import { encodeMessage } from '../../lib/store/records-message.js';
import { type StoreEntry, Table } from '../../lib/store/store.js';
import { decodeTurn } from '../../lib/store/turn-log.js';
import { type FailingCommits, failCommits, stillClock } from './failing-commits.js';
import {
  end,
  examine,
  expected,
  first,
  heldName,
  type Kind,
  limit,
  messageOf,
  nameOf,
  type Open,
  type Plain,
  plainPlace,
  putPlain,
  rowOf,
  type Snapshot,
  same,
  step,
  tables,
  transientBase,
} from './walk-model.js';

const parent = mkdtempSync(join(tmpdir(), 'countersign-walk-'));
t.teardown(() => rmSync(parent, { recursive: true, force: true }));
let directories = 0;

const { awaitPuback, awaitPubrec, awaitPubcomp } = DeliveryState;

/** A store with what makes it fail. */
interface Opened {
  readonly directory: string;
  readonly store: LmdbStore;
  readonly commits: FailingCommits;
  readonly references: MessageReferences;
}

async function openStore(directory: string): Promise<Opened> {
  const clock = stillClock();
  const store = await LmdbStore.open({ directory, durability: 'committed', clock, mapSizeBytes: 2 ** 28 });
  let taken = 0;
  // Now and then a transaction has only the first of the batches that wait, as if there were too many of them.
  const value = () => {
    // biome-ignore lint/complexity/useLiteralKeys: a private member, reached on purpose
    const waiting = store['waiting'];
    return waiting.splice(0, ++taken % 3 === 0 ? 1 : waiting.length);
  };
  Object.defineProperty(store, 'takeBatches', { value });
  return { directory, store, commits: failCommits(store, clock), references: new MessageReferences(store) };
}

/** Deliveries and plain rows in a store that fails and dies now and then, beside what it must hold of them. */
class Walk {
  private opened: Opened;
  private open: Open[] = [];
  private kept = new Map<number, number>();
  private rows = new Map<string, Plain>();
  /** Packet identifiers that are held and have been since the start. */
  private held = new Map<string, HeldIdentifier>();
  private sequence = 0;
  private values = 0;
  private told: Snapshot = { open: new Map(), kept: new Map(), rows: new Map() };
  private committed = Promise.resolve();
  /** Deliveries that may vanish, and ended before a batch with them was told. */
  private early = new Set<string>();
  /** True from the first batch of a transaction that is told until the disk has been looked at. */
  private looks = false;
  private isStopping = false;
  private wrong: unknown = null;
  deaths = 0;
  failures = 0;

  constructor(opened: Opened) {
    this.opened = opened;
  }

  async take({ kind, which }: { readonly kind: Kind; readonly which: number }): Promise<void> {
    const { commits } = this.opened;
    const chosen = this.open[which % Math.max(1, this.open.length)];
    if (kind === 'publish') this.publish(which);
    else if (kind === 'publishRows') this.publishRows(which);
    else if (kind === 'advance' && chosen !== undefined) this.advance(chosen);
    else if (kind === 'settle' && chosen !== undefined) this.settle(chosen);
    else if (kind === 'keep' && this.sequence > 0) this.keep(Math.max(1, this.sequence - (which % 7)), 1 + (which % 2));
    else if (kind === 'release' && this.kept.size > 0) this.release([...this.kept.keys()][which % this.kept.size] ?? 0);
    else if (kind === 'put' || kind === 'putNew' || kind === 'remove') this.change(kind, which);
    else if (kind === 'hold' || kind === 'free') this.changeHeld(kind, which);
    else if (kind === 'peek') this.peek(which);
    else if (kind === 'read') this.check('read');
    else if (kind === 'turn') await this.turn();
    else if (kind === 'seal') this.seal();
    else if (kind === 'fail') {
      commits.isFailing = true;
      this.failures++;
      this.seal();
    } else if (kind === 'retry') {
      if (commits.isFailing) await commits.failed();
      commits.retry();
    } else if (kind === 'death') await this.die();
    else if (kind === 'reopen') await this.reopen();
  }

  async finish(): Promise<void> {
    await this.turn();
    await this.die();
    await this.reopen();
    await this.opened.store.close();
  }

  /** Rows that wait for the log. */
  private publish(which: number): void {
    const { store, references } = this.opened;
    const message = messageOf(++this.sequence);
    const deliveries = this.deliveries(message.sequence, which);
    const [last] = deliveries.slice(-1);
    const source = { sequence: message.sequence, message: () => message, row: () => encodeMessage(message) };
    if (last !== undefined) store.putDeferred(new DeferredMessage(source, last, references, store));
  }

  /** The same as rows from the beginning. */
  private publishRows(which: number): void {
    const { store, references } = this.opened;
    const message = messageOf(++this.sequence);
    const isLasting = which % 3 === 0;
    const deliveries = this.deliveries(message.sequence, which);
    for (const delivery of deliveries) {
      store.putNew(Table.deliveries, deliveryKey(delivery.session, delivery.sequence), delivery.encode(), isLasting);
    }
    const needs = deliveries.filter(({ session }) => session < transientBase).length;
    if (needs > 0 && isLasting) references.putRow(message.sequence, encodeMessage(message), needs, true);
    else if (needs > 0) references.putMessage(message, needs);
  }

  private deliveries(sequence: number, which: number): DeferredDelivery[] {
    const made: DeferredDelivery[] = [];
    // Once they are sealed, rows at QoS 1 may vanish unless they are of a tracked message.
    const mayVanish = sequence % 3 === 0;
    const state = mayVanish ? awaitPuback : awaitPubrec;
    for (let at = 1; at <= 1 + (which % 3); at++) {
      const isTransient = !mayVanish && (which >> at) % 4 === 0;
      const session = isTransient ? transientBase + at : at;
      const reference = isTransient ? Buffer.from('reference') : null;
      const [next] = made.slice(-1);
      const delivery = new DeferredDelivery(
        ...([session, sequence, state, false, null, reference, reference, next ?? null] as const),
      );
      made.push(delivery);
      this.open.push({ session, delivery, state: isTransient ? DeliveryState.queued : state });
    }
    return made;
  }

  private advance(open: Open): void {
    const { session, delivery } = open;
    if (session >= transientBase || open.state === awaitPuback) return;
    open.state = awaitPubcomp;
    if (delivery instanceof DeferredDelivery && delivery.advance(awaitPubcomp)) return;
    const key = deliveryKey(session, delivery.sequence);
    this.opened.store.put(Table.deliveries, key, encodeDelivery(delivery, awaitPubcomp, 0));
  }

  private settle(open: Open): void {
    const { session, delivery } = open;
    this.open.splice(this.open.indexOf(open), 1);
    this.noteEarly(open);
    if (delivery instanceof DeferredDelivery && delivery.settle()) return;
    this.opened.store.delete(Table.deliveries, deliveryKey(session, delivery.sequence));
    if (session < transientBase) this.opened.references.release(delivery.sequence);
  }

  private noteEarly({ session, delivery }: Open): void {
    if (!(delivery instanceof DeferredDelivery) || delivery.rows?.mayVanish !== true) return;
    const name = `${session}/${delivery.sequence}`;
    if (!this.told.open.has(name)) this.early.add(name);
  }

  /** As a broker does for another member of a shared group: the message may be there, or be gone. */
  private keep(sequence: number, count: number): void {
    const { store, references } = this.opened;
    if (store.get(Table.messages, messageKey(sequence)) === null) references.putMessage(messageOf(sequence), count);
    else references.add(sequence, count);
    this.kept.set(sequence, (this.kept.get(sequence) ?? 0) + count);
  }

  private release(sequence: number): void {
    this.opened.references.release(sequence);
    const left = (this.kept.get(sequence) ?? 0) - 1;
    if (left > 0) this.kept.set(sequence, left);
    else this.kept.delete(sequence);
  }

  /** Puts or deletes one of few plain rows. */
  private change(kind: 'put' | 'putNew' | 'remove', which: number): void {
    const { store } = this.opened;
    const { table, key } = plainPlace(which);
    const name = nameOf(table, key);
    const value = `${++this.values}`;
    if (kind === 'remove') {
      store.delete(table, key);
      this.rows.delete(name);
    } else {
      putPlain(store, { table, key, value }, kind === 'putNew' && !this.rows.has(name), which);
      this.rows.set(name, { table, key, value });
    }
  }

  /** Holds one of few packet identifiers, some as rows from the beginning, or lets go of it. */
  private changeHeld(kind: 'hold' | 'free', which: number): void {
    const { store } = this.opened;
    const [session, packetId] = [1 + (which % 2), 1 + ((which >> 1) % 2)];
    const key = inboundKey(session, packetId);
    const name = nameOf(Table.inbound, key);
    const held = this.held.get(name);
    if (kind === 'hold' && !this.rows.has(name)) {
      const answer = { reasonCode: 0, sequence: ++this.values, matched: which % 3 === 0 ? -1 : 5 };
      if (which % 5 === 0) store.put(Table.inbound, key, encodeInbound({ packetId, ...answer, kind: 1 }));
      else {
        const identifier = new HeldIdentifier(store, session, packetId, answer);
        store.putDeferred(identifier);
        this.held.set(name, identifier);
      }
      this.rows.set(name, { table: Table.inbound, key, value: heldName(answer.sequence) });
    } else if (kind === 'free' && this.rows.delete(name)) {
      this.held.delete(name);
      if (held === undefined) store.delete(Table.inbound, key);
      else held.release();
    }
  }

  /** Every batch has something in it: one without is no turn of the log. */
  private seal(): void {
    const plain = { table: Table.publishers, key: Buffer.from([1]), value: `${++this.values}` };
    this.opened.store.put(plain.table, plain.key, Buffer.from(plain.value));
    this.rows.set('sealed', plain);
    const open = new Map(this.open.map(({ session, delivery, state }) => [`${session}/${delivery.sequence}`, state]));
    const sealed: Snapshot = { open, kept: new Map(this.kept), rows: new Map(this.rows) };
    this.committed = new Promise((resolve) =>
      this.opened.store.commit(() => {
        this.told = sealed;
        this.look();
        resolve();
      }),
    );
  }

  /** All that waits is committed, whether or not the store was failing. */
  private async turn(): Promise<void> {
    const { commits } = this.opened;
    this.seal();
    if (commits.isFailing) await commits.failed();
    commits.isFailing = false;
    commits.retry();
    await this.committed;
    if (this.wrong !== null) throw this.wrong;
  }

  /** Examines the disk once all batches of this transaction are told, and before the next is written. */
  private look(): void {
    if (this.looks || this.isStopping) return;
    this.looks = true;
    queueMicrotask(() => {
      this.looks = false;
      try {
        this.examineDisk();
      } catch (error) {
        this.wrong ??= error;
      }
    });
  }

  /** A proper stop, with a batch or more under way. */
  private async reopen(): Promise<void> {
    const { commits, store, directory } = this.opened;
    if (commits.isFailing) await this.turn();
    this.seal();
    this.isStopping = true;
    await store.close();
    this.isStopping = false;
    this.opened = await openStore(directory);
    // biome-ignore lint/complexity/useLiteralKeys: a private member, reached on purpose
    if (this.opened.store['log'].length > 0) throw new Error('a stop left a log');
    this.takeOver(this.told, 'after a stop');
  }

  /** The process dies once everything sealed is told, or cannot be; another finds what was, and goes on with it. */
  private async die(): Promise<void> {
    const { commits, store, directory } = this.opened;
    if (commits.isFailing) await commits.failed();
    else await this.committed;
    this.deaths++;
    const image = join(parent, String(++directories));
    mkdirSync(image);
    copyFileSync(join(directory, 'data.mdb'), join(image, 'data.mdb'));
    const { told } = this;
    await store.close().catch((error: unknown) => {
      if (!commits.isFailing) throw error;
    });
    rmSync(directory, { recursive: true, force: true });
    this.committed = Promise.resolve();
    this.opened = await openStore(image);
    this.takeOver(told, 'after a death');
  }

  private takeOver(told: Snapshot, when: string): void {
    const rowsOf = (table: Table) => this.opened.store.range(table, first, null, limit);
    this.held.clear();
    this.open = examine(told, this.early, rowsOf, when);
    this.early.clear();
    this.kept = new Map(told.kept);
    this.rows = new Map(told.rows);
    this.check(when);
  }

  /** What a start would find if the process died now: the tables, and over them the log. */
  private examineDisk(): void {
    // biome-ignore lint/complexity/useLiteralKeys: a private member, reached on purpose
    const databases = this.opened.store['tables'];
    const found = new Map<Table, Map<string, StoreEntry>>();
    for (const table of tables) {
      const entries = [...(databases[table]?.getRange({}) ?? [])];
      found.set(table, new Map(entries.map((entry) => [entry.key.toString('hex'), entry])));
    }
    for (const { value: turn } of databases[Table.log]?.getRange({}) ?? []) {
      decodeTurn(turn, (table, key, value) => {
        if (value === null) found.get(table)?.delete(key.toString('hex'));
        else found.get(table)?.set(key.toString('hex'), { key, value });
      });
    }
    examine(this.told, this.early, (table) => [...(found.get(table)?.values() ?? [])], 'on the disk');
  }

  /** One look at one table. */
  private peek(which: number): void {
    const { store } = this.opened;
    const table = tables[which % tables.length] ?? Table.messages;
    const rows = expected(this.open, this.kept, this.rows.values()).get(table) ?? [];
    const at = which % Math.max(1, rows.length);
    const start = Buffer.from((rows[at] ?? '').split(' ')[0] ?? '', 'hex');
    const wanted = rows.slice(at);
    const kind = (which >> 4) % 4;
    if (kind === 0) same([String(store.countRange(table, start, null, limit))], [String(wanted.length)], 'count');
    else if (kind === 1) same(store.range(table, start, null, 3).map(rowOf(table)), wanted.slice(0, 3), 'range');
    else if (kind === 2) {
      same(store.rangeReverse(table, start, end, 3).map(rowOf(table)), wanted.reverse().slice(0, 3), 'from behind');
    } else if (wanted.length > 0) {
      const value = store.get(table, start);
      same(value === null ? [] : [rowOf(table)({ key: start, value })], wanted.slice(0, 1), 'get');
    }
  }

  /** The store holds all that it must and nothing else, by every way to look at it. */
  private check(when: string): void {
    const { store } = this.opened;
    for (const [table, rows] of expected(this.open, this.kept, this.rows.values())) {
      same([`${store.countRange(table, first, null, limit)}`], [`${rows.length}`], `${when}: count of table ${table}`);
      const found = store.range(table, first, null, limit);
      same(found.map(rowOf(table)), rows, `${when}: table ${table}`);
      const reversed = store.rangeReverse(table, first, end, limit).reverse();
      same(reversed.map(rowOf(table)), rows, `${when}: table ${table} from behind`);
      for (const { key, value } of found) {
        if (!store.get(table, key)?.equals(value)) throw new Error(`${when}: get of ${key.toString('hex')}`);
      }
    }
  }
}

t.test('a store that fails and dies holds exactly what it was told to', async (t) => {
  let deaths = 0;
  let failures = 0;
  const steps = fc.array(step, { minLength: 200, maxLength: 400, size: 'max' });
  await fc.assert(
    fc.asyncProperty(steps, async (walk) => {
      const directory = join(parent, String(++directories));
      const walker = new Walk(await openStore(directory));
      for (const next of walk) await walker.take(next);
      await walker.finish();
      deaths += walker.deaths;
      failures += walker.failures;
    }),
    // A walk can be played again by its seed; to shorten it would take minutes.
    { numRuns: 60, endOnFailure: true },
  );
  t.ok(deaths > 60, `${deaths} deaths`);
  t.ok(failures > 60, `${failures} failures`);
});
