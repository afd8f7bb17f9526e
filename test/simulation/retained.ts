import type { Lossy } from './deliveries.js';
import type { Publication } from './publication.js';
import type { Verdicts } from './verdicts.js';

/** One topic that one client publishes retained messages to. */
interface Topic {
  /** In the order in which they were first sent. */
  readonly sent: Publication[];
  /** Place of the last one acknowledged, and the batch that was open then; `[-1, 0]` before. */
  taken: (readonly [place: number, batch: number])[];
}

/** What must be retained: nothing older than the last message acknowledged. */
export class RetainedFacts implements Lossy {
  private readonly verdicts: Verdicts;
  private readonly topics = new Map<string, Topic>();

  constructor(verdicts: Verdicts) {
    this.verdicts = verdicts;
  }

  onSent(publication: Publication): void {
    const known = this.topics.get(publication.topic);
    if (known === undefined) this.topics.set(publication.topic, { sent: [publication], taken: [[-1, 0]] });
    else known.sent.push(publication);
  }

  onTaken(publication: Publication, batch: number): void {
    const topic = this.topics.get(publication.topic);
    topic?.taken.push([topic.sent.indexOf(publication), batch]);
  }

  /** @param found payloads by topic, as a new subscriber is sent them */
  check(found: ReadonlyMap<string, string>, nowMs: number): void {
    for (const [name, { sent, taken }] of this.topics) {
      const payload = found.get(name);
      const from = Math.max(...taken.map(([place]) => place));
      // Any state from the last one acknowledged to the last one sent.
      const may = sent.slice(Math.max(0, from));
      const expires = sent.some(({ expiry }) => expiry > 0);
      const isRight =
        payload === undefined
          ? from < 0 || expires || may.some(({ clears }) => clears)
          : may.some((publication) => !publication.clears && publication.name === payload);
      if (isRight) continue;
      const allowed = may.map((publication) => (publication.clears ? 'nothing' : publication.name)).join(', ');
      this.verdicts.broken(
        'retained not older than the last acknowledged',
        `at ${nowMs} ${name} retains ${payload ?? 'nothing'}, which should be one of ${allowed}`,
      );
    }
  }

  forgetAfter(batch: number): void {
    for (const topic of this.topics.values()) topic.taken = topic.taken.filter(([, takenIn]) => takenIn <= batch);
  }
}
