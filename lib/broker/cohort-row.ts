import type { Message } from '../base/message.js';
import { messageKey } from '../store/records-keys.js';
import { Table } from '../store/store.js';
import { type Cohort, CohortWriter } from './cohort-value.js';
import type { Context } from './context.js';

/** A cohort on its way to the store. */
interface NewCohort extends Cohort {
  readonly message: Message;
  /** True until its row is put. */
  isWriting: boolean;
}

/**
 * Puts a cohort's row, with the open turn: encoding it takes as many turns as do not stall the event loop, and until it
 * is done nothing is committed, for what refers to the cohort is in the same turn.
 * @param atOnce recipients in a turn at most
 * @param onDone called unless it is done within this call
 */
export function putCohort(context: Context, cohort: NewCohort, atOnce: number, onDone: () => void): void {
  const { turns, clock, persistence } = context;
  const { targets, message } = cohort;
  const writer = new CohortWriter(cohort);
  const finish = (): void => {
    writer.write(targets.length);
    persistence.store.put(Table.fanOuts, messageKey(message.sequence), writer.finish());
    cohort.isWriting = false;
    turns.letGo(finish);
  };
  const goOn = (): void => {
    // The broker's stop may have done the rest.
    if (!cohort.isWriting) return;
    turns.begin();
    if (!writer.write(atOnce)) {
      clock.endOfTurn(goOn);
      return;
    }
    finish();
    onDone();
  };
  turns.hold(finish);
  // To find so many took its time: they are written from the next turn on.
  if (targets.length > atOnce) clock.endOfTurn(goOn);
  else finish();
}
