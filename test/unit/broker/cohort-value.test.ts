import fc from 'fast-check';
import t from 'tap';
import { type Cohort, CohortWriter, decodeCohort } from '../../../lib/broker/cohort-value.js';
import { Session, transientSessionBase } from '../../../lib/session/session.js';
import { DerivedTarget } from '../../../lib/session/subscription.js';

const number = fc.oneof(
  fc.integer({ min: 1, max: transientSessionBase - 1 }),
  fc.integer({ min: transientSessionBase, max: 0xffffffff }),
);
const target = fc
  .record({
    number,
    clientId: fc.string({ unit: 'grapheme' }),
    userName: fc.option(fc.string()),
    qos: fc.constantFrom(0, 1, 2),
    retainAsPublished: fc.boolean(),
    ids: fc.option(fc.array(fc.integer({ min: 1, max: 268_435_455 }), { minLength: 1, maxLength: 3 })),
  })
  .map(({ number, clientId, userName, qos, retainAsPublished, ids }) => {
    const session = new Session(number, clientId, userName, number < transientSessionBase, 5, 0);
    return new DerivedTarget(session, qos as 0 | 1 | 2, retainAsPublished, ids);
  });
const cohort = fc.record({
  record: fc.option(fc.uint8Array({ minLength: 1, maxLength: 40 }).map((bytes) => Buffer.from(bytes))),
  groups: fc.array(fc.string(), { maxLength: 3 }),
  targets: fc.array(target, { maxLength: 50 }),
});

/** @param parts how many recipients are written at a time */
function written(cohort: Cohort, parts: number): Buffer {
  const writer = new CohortWriter(cohort);
  while (!writer.write(parts));
  return writer.finish();
}

t.test('a cohort is read as it was written', async (t) => {
  fc.assert(
    fc.property(cohort, fc.integer({ min: 1, max: 60 }), (meant, parts) => {
      const stored = new Map(meant.targets.map(({ session }) => [session.number, session]));
      const read = decodeCohort(written(meant, parts), (number) => stored.get(number) as Session);
      t.same(read.record, meant.record);
      t.same(read.groups, meant.groups);
      t.equal(read.targets.length, meant.targets.length);
      for (const [at, { session, qos, retainAsPublished, subscriptionIds }] of read.targets.entries()) {
        const target = meant.targets[at] as DerivedTarget;
        const asked = { qos: target.qos, retainAsPublished: target.retainAsPublished };
        t.same({ qos, retainAsPublished, subscriptionIds }, { ...asked, subscriptionIds: target.subscriptionIds });
        const { number, clientId, userName } = target.session;
        t.equal(session.number, number);
        if (number < transientSessionBase) t.equal(session, stored.get(number));
        else t.match(session, { clientId, userName, ended: true });
      }
    }),
    { numRuns: 100 },
  );
});
