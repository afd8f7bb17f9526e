import t from 'tap';
import { SequenceVerifier, SetVerifier, type Verifier } from '../../../bench/load/verifier.js';

function feed(verifier: Verifier, publisher: number, sequences: readonly number[]): void {
  for (const sequence of sequences) verifier.accept(publisher, sequence);
}

function findingsOf(verifier: Verifier, sent: number) {
  const { doubled, reordered, misrouted } = verifier;
  return { lost: verifier.countLost(() => sent), doubled, reordered, misrouted };
}

const sound = { lost: 0, doubled: 0, reordered: 0, misrouted: 0 };

t.test('messages in order are sound', async (t) => {
  const verifier = new SequenceVerifier(0, 1);
  feed(verifier, 0, [0, 1, 2, 3]);
  t.same(findingsOf(verifier, 4), sound);
});

t.test('a message that is missing in the middle or at the end is lost', async (t) => {
  const verifier = new SequenceVerifier(0, 1);
  feed(verifier, 0, [0, 2, 3, 6]);
  t.same(findingsOf(verifier, 9), { ...sound, lost: 5 });
});

t.test('a message that comes again is doubled and does not count as delivered', async (t) => {
  const verifier = new SequenceVerifier(0, 1);
  feed(verifier, 0, [0, 1]);
  t.equal(verifier.accept(0, 1), false);
  t.equal(verifier.accept(0, 0), false);
  t.same(findingsOf(verifier, 2), { ...sound, doubled: 2 });
});

t.test('a message that comes late is reordered, not lost; a second time it is doubled', async (t) => {
  const verifier = new SequenceVerifier(0, 1);
  feed(verifier, 0, [0, 2]);
  t.equal(verifier.accept(0, 1), true);
  t.same(findingsOf(verifier, 3), { ...sound, reordered: 1 });
  t.equal(verifier.accept(0, 1), false);
  t.same(findingsOf(verifier, 3), { ...sound, reordered: 1, doubled: 1 });
});

t.test('publishers are counted apart, and those of others are misrouted', async (t) => {
  const verifier = new SequenceVerifier(5, 2);
  feed(verifier, 5, [0, 1]);
  feed(verifier, 6, [0, 1]);
  feed(verifier, 4, [0]);
  feed(verifier, 7, [0]);
  t.same(findingsOf(verifier, 2), { ...sound, misrouted: 2 });
});

t.test('a set takes any order and finds what is lost, doubled and foreign', async (t) => {
  const verifier = new SetVerifier(2, 3);
  feed(verifier, 0, [2, 0, 1]);
  feed(verifier, 1, [1, 0]);
  t.same(findingsOf(verifier, 3), { ...sound, lost: 1 });
  t.equal(verifier.accept(1, 0), false);
  t.equal(verifier.accept(2, 0), false);
  t.equal(verifier.accept(0, 3), false);
  t.same(findingsOf(verifier, 3), { ...sound, lost: 1, doubled: 1, misrouted: 2 });
});
