import type { Delivery } from '../session/delivery.js';

/** A plain delivery that waits in the queues of many, one object for all of them. */
export class SharedDelivery {
  delivery: Delivery | null = null;
  /** Its row, once one session has it. */
  row: Buffer | null = null;

  /** @param delivery null for none */
  hold(delivery: Delivery | null): void {
    this.delivery = delivery;
    this.row = null;
  }
}
