import fc from 'fast-check';
import t from 'tap';
import { type Awaited, nothing, Operation, TurnOutput, theCommit } from '../../../lib/broker/turn-output.js';
import { FakeLink } from '../../helpers/core-world.js';

interface Step {
  readonly kind: 'answer' | 'follow' | 'settle' | 'sweep' | 'mark' | 'seal' | 'release';
  readonly link: number;
  readonly which: number;
}

const steps = fc.array(
  fc.record<Step>({
    kind: fc.constantFrom(
      'answer',
      'answer',
      'answer',
      'follow',
      'settle',
      'settle',
      'sweep',
      'mark',
      'seal',
      'release',
    ),
    link: fc.nat(2),
    which: fc.nat(1000),
  }),
  { maxLength: 120 },
);

/** A turn's output as `Turns` uses it: answers wait for their messages, or for the commit of their turn. */
class Scene {
  readonly links = [new FakeLink(), new FakeLink(), new FakeLink()];
  /** Numbers given out by each link, and those that came out again. */
  readonly given: number[][] = [[], [], []];
  readonly sent: number[][] = [[], [], []];
  readonly waiting: { isSettled: boolean; number: number }[] = [];
  /** Turns that are sealed and not released, with their output. */
  readonly sealed: { number: number; output: TurnOutput }[] = [];
  /** Answers up to this one are old. */
  oldUntil = 0;
  open = new TurnOutput();
  number = 1;
  released = 0;
  sweeps = 0;
  private last = 0;

  answer(at: number, awaits: (number: number) => Awaited): void {
    const link = this.links[at] as FakeLink;
    const number = ++this.last;
    if (link.answerGate !== this.number) {
      link.earlierAnswerGate = link.answerGate;
      link.answerGate = this.number;
    }
    this.given[at]?.push(number);
    this.open.add(Operation.ack, link, null, number, awaits(number));
  }

  sweep(): number[] {
    const ready = new TurnOutput();
    this.open.takeReady(ready, this.released, ++this.sweeps);
    return this.send(ready);
  }

  mark(): void {
    this.open.markOld();
    this.oldUntil = this.last;
  }

  /** @returns false if an answer goes along that is not old, and whose message nobody has acknowledged */
  seal(): boolean {
    const next = new TurnOutput();
    this.open.moveYoung(next, this.number, ++this.sweeps);
    this.sealed.push({ number: this.number++, output: this.open });
    const numbers = [...this.open.notes.subarray(0, this.open.length)].map((note) => note & 0xffff);
    this.open = next;
    return numbers.every((number) => number <= this.oldUntil);
  }

  release(): void {
    const turn = this.sealed.shift();
    if (turn === undefined) return;
    this.released = turn.number;
    this.send(turn.output);
  }

  private send({ notes, links, length }: TurnOutput): number[] {
    return [...notes.subarray(0, length)].map((note, at) => {
      const number = note & 0xffff;
      this.sent[this.links.indexOf(links[at] as FakeLink)]?.push(number);
      return number;
    });
  }
}

t.test('each link gets its answers in order, early only what is settled, and all in the end', async (t) => {
  fc.assert(
    fc.property(steps, (all) => {
      const scene = new Scene();
      for (const { kind, link, which } of all) {
        if (kind === 'answer') {
          scene.answer(link, (number) => {
            const message = { isSettled: false, number };
            scene.waiting.push(message);
            return message;
          });
        }
        if (kind === 'follow') scene.answer(link, () => nothing);
        if (kind === 'settle' && scene.waiting.length > 0) {
          scene.waiting.splice(which % scene.waiting.length, 1).forEach((message) => {
            message.isSettled = true;
          });
        }
        if (kind === 'sweep') {
          const early = scene.sweep();
          if (early.some((number) => scene.waiting.some((message) => message.number === number))) return false;
        }
        if (kind === 'mark') scene.mark();
        if (kind === 'seal' && !scene.seal()) return false;
        if (kind === 'release') scene.release();
        for (const at of [0, 1, 2]) {
          const sent = scene.sent[at] as number[];
          if (sent.some((number, index) => number !== scene.given[at]?.[index])) return false;
        }
      }
      scene.mark();
      scene.seal();
      while (scene.sealed.length > 0) scene.release();
      return scene.sent.every((sent, at) => sent.length === scene.given[at]?.length);
    }),
    { numRuns: 2000 },
  );
  t.pass('2000 histories');
});

t.test('what is settled and first on its link goes at once', async (t) => {
  const scene = new Scene();
  const message = { isSettled: true };
  scene.answer(0, () => message);
  scene.answer(0, () => theCommit);
  scene.answer(0, () => message);
  scene.answer(1, () => message);
  t.ok(scene.open.needsCommit);
  t.same(scene.sweep(), [1, 4]);
  t.equal(scene.open.length, 2);
  scene.open.clear();
  t.notOk(scene.open.needsCommit);
});
