import fc from 'fast-check';
import t from 'tap';
import {
  DeliveryEvent,
  DeliveryState,
  Effect,
  effectsOf,
  nextState,
  Outcome,
  outcomeOf,
  rows,
  step,
} from '../../lib/delivery/table.js';

const states = Object.values(DeliveryState);
const events = Object.values(DeliveryEvent);
const S = DeliveryState;
const E = DeliveryEvent;

const nameOf = (table: Readonly<Record<string, number>>, value: number): string =>
  Object.keys(table).find((name) => table[name] === value) ?? `${value}`;
const pairName = (state: DeliveryState, event: DeliveryEvent): string =>
  `${nameOf(DeliveryState, state)} × ${nameOf(DeliveryEvent, event)}`;

/** States in which the recipient owns the message: what happens after tells the publisher nothing. */
const owned = new Set<DeliveryState>([S.awaitPubcomp]);

t.test(
  'every state × event: the compiled table does what its row says, and an unlisted pair does nothing',
  async (t) => {
    for (const state of states) {
      for (const event of events) {
        const listed = rows.filter((row) => row.event === event && row.from.includes(state));
        t.ok(listed.length <= 1, `${pairName(state, event)}: at most one row`);
        const [row] = listed;
        const transition = step(state, event);
        const expected =
          row === undefined
            ? [state, Effect.none, Outcome.none]
            : [row.next === 'same' ? state : row.next, row.effects, row.outcome];
        t.same([nextState(transition), effectsOf(transition), outcomeOf(transition)], expected, pairName(state, event));
      }
    }
  },
);

t.test('a delivery comes to done with exactly one outcome told, whatever path it took', async (t) => {
  // Every path without a repeated state, by depth first; a move starts a delivery of its own with another member.
  let paths = 0;
  const visit = (state: DeliveryState, outcomes: number, seen: readonly DeliveryState[]): void => {
    for (const event of events) {
      const transition = step(state, event);
      const next = nextState(transition);
      const told = outcomes + (outcomeOf(transition) === Outcome.none ? 0 : 1);
      if (effectsOf(transition) & Effect.move) continue;
      if (next === S.done && state !== S.done) {
        paths++;
        t.equal(told, 1, `${seen.map((one) => nameOf(DeliveryState, one)).join(' → ')}: ${pairName(state, event)}`);
      } else if (next !== state && !seen.includes(next)) visit(next, told, [...seen, next]);
    }
  };
  visit(S.new, 0, [S.new]);
  t.ok(paths > 20, `${paths} paths`);
});

t.test('an outcome is told only on the way out, or where the recipient takes ownership', async (t) => {
  for (const { from, event, next, outcome } of rows) {
    if (outcome === Outcome.none) continue;
    const leaves = next === S.done || owned.has(next as DeliveryState);
    t.ok(leaves, `${from.map((state) => pairName(state, event)).join(', ')} tells ${nameOf(Outcome, outcome)}`);
    t.notOk(
      from.some((state) => owned.has(state) || state === S.done),
      'nothing is told after that',
    );
  }
});

t.test('done is the end: no event leaves it, tells, records or frees anything', async (t) => {
  for (const event of events) {
    const transition = step(S.done, event);
    t.equal(nextState(transition), S.done);
    t.equal(outcomeOf(transition), Outcome.none);
    t.equal(effectsOf(transition) & ~Effect.replyNotFound, 0, nameOf(DeliveryEvent, event));
  }
});

t.test(
  'an identifier is taken by the first send, kept while the flow is open, and freed exactly with its end',
  async (t) => {
    const inFlight = new Set<DeliveryState>([S.awaitPuback, S.awaitPubrec, S.awaitPubcomp]);
    for (const state of states) {
      for (const event of events) {
        const transition = step(state, event);
        const effects = effectsOf(transition);
        const next = nextState(transition);
        const name = pairName(state, event);
        t.equal((effects & Effect.free) !== 0, inFlight.has(state) && next === S.done, `${name}: freed`);
        const takes = (effects & Effect.take) !== 0;
        const resends = event === E.resume && (state === S.awaitPuback || state === S.awaitPubrec);
        t.equal(takes, (!inFlight.has(state) && inFlight.has(next)) || resends, `${name}: quota taken`);
        t.equal((effects & Effect.dup) !== 0, resends, `${name}: a repeat says so`);
        if (effects & Effect.delete) t.equal(next, S.done, `${name}: the row goes with the delivery`);
        if (effects & Effect.pubrel) t.equal(next, S.awaitPubcomp, `${name}: PUBREL only once the message is released`);
      }
    }
  },
);

t.test('[MQTT-4.8.2-5] only what is not yet sent, or sent at QoS 1, moves to another member', async (t) => {
  for (const state of states) {
    const moves = (effectsOf(step(state, E.memberLeft)) & Effect.move) !== 0;
    t.equal(moves, state === S.queued || state === S.awaitPuback, nameOf(DeliveryState, state));
  }
});

/** What a random walk keeps, as simply as it can be said. */
class Walker {
  state: DeliveryState = S.new;
  stored = false;
  idsHeld = 0;
  outcomes: Outcome[] = [];

  take(event: DeliveryEvent): void {
    const before = this.state;
    const transition = step(before, event);
    const effects = effectsOf(transition);
    this.state = nextState(transition);
    if (effects & Effect.put) this.stored = true;
    if (effects & Effect.delete) this.stored = false;
    if (effects & Effect.take && before !== S.awaitPuback && before !== S.awaitPubrec) this.idsHeld++;
    if (effects & Effect.free) this.idsHeld--;
    if (outcomeOf(transition) !== Outcome.none) this.outcomes.push(outcomeOf(transition));
  }
}

t.test('random walks: never a second outcome, an identifier freed twice, or a row left behind', async (t) => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...events), { maxLength: 40 }), (walk) => {
      const walker = new Walker();
      let moved = false;
      for (const event of walk) {
        moved ||= (effectsOf(step(walker.state, event)) & Effect.move) !== 0;
        walker.take(event);
        const isInFlight = walker.state >= S.awaitPuback && walker.state <= S.awaitPubcomp;
        if (walker.idsHeld !== (isInFlight ? 1 : 0)) return false;
        if (walker.outcomes.length > 1) return false;
        if (walker.stored !== (walker.state !== S.new && walker.state !== S.done)) return false;
        if (walker.state === S.done && walker.outcomes.length !== (moved ? 0 : 1)) return false;
      }
      return true;
    }),
    { numRuns: 5000 },
  );
  t.pass('5000 walks');
});
