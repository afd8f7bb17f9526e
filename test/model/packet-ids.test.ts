import fc from 'fast-check';
import t from 'tap';
import { PacketIds } from '../../lib/delivery/packet-ids.js';
import { DeliveryState } from '../../lib/delivery/table.js';

interface Slot {
  state: DeliveryState;
  readonly sequence: number;
  readonly detail: string | null;
}

const open = [DeliveryState.awaitPuback, DeliveryState.awaitPubrec, DeliveryState.awaitPubcomp] as const;

/** The identifiers as a plain map. */
class Model {
  readonly slots = new Map<number, Slot>();

  check(ids: PacketIds<string>): void {
    const inOrder = [...this.slots].sort(([, one], [, other]) => one.sequence - other.sequence).map(([id]) => id);
    const same =
      ids.size === this.slots.size &&
      ids.inOrder().join() === inOrder.join() &&
      inOrder.every((id) => this.matches(ids, id));
    if (!same) throw new Error(`differs: ${JSON.stringify([...this.slots])} and ${ids.inOrder()}`);
  }

  private matches(ids: PacketIds<string>, id: number): boolean {
    const slot = this.slots.get(id);
    const { state, sequence, detail } = slot ?? { state: 0, sequence: 0, detail: null };
    return ids.state(id) === state && ids.sequence(id) === sequence && ids.detail(id) === detail;
  }
}

type Command =
  | { readonly kind: 'take' | 'set'; readonly state: DeliveryState; readonly pick: number }
  | { readonly kind: 'release'; readonly pick: number };

const state = fc.constantFrom(...open);
const commands: fc.Arbitrary<Command[]> = fc.array(
  fc.oneof(
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('take' as const), state, pick: fc.nat() }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('set' as const), state, pick: fc.nat() }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('release' as const), pick: fc.nat() }) },
  ),
  { maxLength: 120 },
);

function run(ids: PacketIds<string>, model: Model, list: readonly Command[]): void {
  let sequence = 1_000_000;
  for (const command of list) {
    const taken = [...model.slots.keys()];
    const id = taken[command.pick % Math.max(1, taken.length)];
    if (command.kind === 'take') {
      const detail = command.pick % 2 === 0 ? null : `d${sequence}`;
      const given = ids.take(command.state, sequence, detail);
      if (given === 0 || model.slots.has(given)) throw new Error(`${given} was given while in use`);
      model.slots.set(given, { state: command.state, sequence: sequence++, detail });
    } else if (id === undefined) continue;
    else if (command.kind === 'set') {
      ids.setState(id, command.state);
      (model.slots.get(id) as Slot).state = command.state;
    } else {
      ids.release(id);
      model.slots.delete(id);
    }
    model.check(ids);
  }
}

t.test(
  '[MQTT-2.2.1-3] packet identifiers behave like a map: never one in use, never 0, order of acceptance',
  async (t) => {
    fc.assert(fc.property(commands, (list) => run(new PacketIds<string>(), new Model(), list)));
    t.pass();
  },
);

t.test('identifiers restored from the store in any order go on as if they had been taken', async (t) => {
  const ids = fc.uniqueArray(fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 65_535 })), {
    maxLength: 20,
  });
  fc.assert(
    fc.property(ids, commands, (restored, list) => {
      const packetIds = new PacketIds<string>();
      const model = new Model();
      restored.forEach((id, at) => {
        packetIds.restore(id, DeliveryState.awaitPubrec, 1000 - at, `r${id}`);
        model.slots.set(id, { state: DeliveryState.awaitPubrec, sequence: 1000 - at, detail: `r${id}` });
      });
      model.check(packetIds);
      run(packetIds, model, list);
    }),
    { numRuns: 60 },
  );
  t.pass();
});

t.test('[MQTT-2.2.1-4] all 65 535 identifiers are given, then none, and each again once it is free', async (t) => {
  const ids = new PacketIds<string>();
  const given = new Set<number>();
  for (let at = 0; at < 65_535; at++) given.add(ids.take(DeliveryState.awaitPuback, at, null));
  t.equal(given.size, 65_535);
  t.notOk(given.has(0));
  t.equal(Math.max(...[...given].slice(-1)), 65_535);
  t.equal(ids.take(DeliveryState.awaitPuback, 70_000, null), 0, 'none is left');
  for (const id of [1, 300, 65_535]) ids.release(id);
  const again = [70_001, 70_002, 70_003].map((sequence) => ids.take(DeliveryState.awaitPubrec, sequence, 'again'));
  t.same(
    again.sort((a, b) => a - b),
    [1, 300, 65_535],
  );
  t.equal(ids.take(DeliveryState.awaitPuback, 70_004, null), 0);
  t.equal(ids.inOrder().length, 65_535);
});

t.test('an identifier that is not in use has the state new', async (t) => {
  const ids = new PacketIds<string>();
  t.equal(ids.state(1), DeliveryState.new);
  t.equal(ids.state(65_535), DeliveryState.new);
  const id = ids.take(DeliveryState.awaitPuback, 1, null);
  ids.release(id);
  t.equal(ids.state(id), DeliveryState.new);
});
