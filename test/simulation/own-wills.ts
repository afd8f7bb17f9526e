import type { Environment } from './environment.js';
import type { Role, WillChoice } from './role.js';
import type { WillFact } from './wills.js';

/** The wills that one client has left, connection by connection. */
export class OwnWills {
  private readonly env: Environment;
  private readonly role: Role;
  /** Those that are not settled, with the number of their connection. */
  private open: { readonly fact: WillFact; readonly connection: number }[] = [];

  constructor(env: Environment, role: Role) {
    this.env = env;
    this.role = role;
  }

  /** A connection begins with a will. @param expirySeconds of its session */
  begin({ qos, expiry, delaySeconds, tracked }: WillChoice, expirySeconds: number, connection: number): WillFact {
    const { clientId, version } = this.role;
    const is5 = version === 5;
    const fields = { qos, expiry: is5 ? expiry : 0, retain: false, clears: false, hold: false, deadline: 0 };
    const receipt = is5 && tracked ? ('delivered' as const) : null;
    const publication = this.env.name(`will-${clientId}`, clientId, { ...fields, topic: `w/${clientId}`, receipt });
    const fact = this.env.wills.add(publication, (is5 ? delaySeconds : 0) * 1000, expirySeconds);
    this.open.push({ fact, connection });
    return fact;
  }

  /** The broker takes a CONNECT: whatever connection the client had before is over. */
  onReturned(connection: number, clean: boolean): void {
    const { wills, time } = this.env;
    for (const { fact } of this.open.filter((one) => one.connection < connection)) {
      // A broker that can not record may refuse: then nothing has changed.
      if (!this.env.isWell()) fact.mayCome ||= fact.droppedIn === 0;
      else {
        wills.onLost(fact, time.nowMs, time.events, this.env.batch());
        wills.onReturn(fact, time.nowMs, !clean && fact.dueAfterMs > 0, this.env.batch());
      }
    }
    this.open = this.open.filter((one) => one.connection >= connection);
  }
}

/** A will as CONNECT has it. */
export function willPacket({ publication, delayMs }: WillFact, version: 4 | 5) {
  const { topic, name, qos, receipt, expiry } = publication;
  const properties = {
    ...(delayMs > 0 ? { willDelayInterval: delayMs / 1000 } : {}),
    ...(expiry > 0 ? { messageExpiryInterval: expiry } : {}),
    ...(receipt === null ? {} : { userProperties: { receipt } }),
  };
  const will = { topic, payload: Buffer.from(name), qos, retain: false };
  return version === 5 ? { ...will, properties } : will;
}
