import type { Packet, UserProperties } from 'mqtt-packet';
import type { Environment } from './environment.js';
import type { InboxPort } from './inbox.js';
import { keepsFewRecords } from './plan.js';
import type { Publication } from './publication.js';
import type { Role } from './role.js';

const quotaExceeded = 0x97;

/** A publish between PUBLISH and its last acknowledgement. */
interface Flow {
  readonly publication: Publication;
  /** True once PUBREC came: what is repeated from then on is PUBREL. */
  isReleased: boolean;
  /** How many answers of this connection are due: none may come beyond them. */
  due: number;
}

/** The publishing half of a client: what it has sent and has not got the last acknowledgement of. */
export class Flows {
  private readonly env: Environment;
  private readonly role: Role;
  private readonly port: InboxPort;
  private readonly open = new Map<number, Flow>();

  constructor(env: Environment, role: Role, port: InboxPort) {
    this.env = env;
    this.role = role;
    this.port = port;
  }

  get size(): number {
    return this.open.size;
  }

  has(packetId: number): boolean {
    return this.open.has(packetId);
  }

  clear(): void {
    this.open.clear();
  }

  /** Names of the messages that are open. */
  describe(): string {
    return [...this.open.values()].map(({ publication }) => publication.name).join(' ');
  }

  /** Publishes for the first time. @param packetId 0 at QoS 0 */
  begin(publication: Publication, packetId: number): void {
    this.env.deliveries.onSent(publication);
    if (publication.retain) this.env.retained.onSent(publication);
    if (packetId > 0) this.open.set(packetId, { publication, isReleased: false, due: 0 });
    this.sendPublish(publication, packetId, false);
  }

  /** The session goes on with a new connection: what is open is sent again, in order. */
  resume(): void {
    for (const [packetId, flow] of this.open) {
      flow.due = 0;
      if (flow.isReleased) {
        flow.due++;
        this.port.send({ cmd: 'pubrel', messageId: packetId, reasonCode: 0 });
      } else this.sendPublish(flow.publication, packetId, true);
    }
  }

  /** The broker has written an acknowledgement. */
  onWritten(packet: Packet): void {
    if (packet.cmd !== 'puback' && packet.cmd !== 'pubrec') return;
    const flow = this.open.get(packet.messageId ?? 0);
    const reasonCode = packet.reasonCode ?? 0;
    if (flow === undefined || flow.isReleased || reasonCode >= 0x80 || flow.publication.hold) return;
    this.env.deliveries.onAcknowledging(flow.publication);
  }

  onTaken(cmd: 'puback' | 'pubrec', messageId: number, reasonCode: number, properties: UserProperties): void {
    const { env } = this;
    const flow = this.open.get(messageId);
    const expected = flow?.publication.qos === 1 ? 'puback' : 'pubrec';
    if (flow === undefined || flow.due === 0 || flow.isReleased || cmd !== expected) {
      this.port.broken(`got ${cmd} ${messageId} for nothing`);
      return;
    }
    flow.due--;
    const { publication } = flow;
    const { 'receipt-id': id } = properties;
    this.checkHeld(publication, reasonCode, properties);
    if (id !== undefined) env.receipts.names.set(id.toString(), publication.name);
    // A hold's failure says that not all have the message; without a hold the broker has not taken it.
    const isTaken = reasonCode < 0x80 || (publication.hold && reasonCode === 0x83);
    const isOneRecordMore = reasonCode === quotaExceeded && publication.receipt !== null && keepsFewRecords(env.plan);
    if (!isTaken && !isOneRecordMore && env.isWell())
      this.port.broken(`${publication.name} was refused with ${reasonCode}`);
    if (cmd === 'puback' || reasonCode >= 0x80) this.open.delete(messageId);
    else {
      flow.isReleased = true;
      flow.due++;
      this.port.send({ cmd: 'pubrel', messageId, reasonCode: 0 });
    }
    if (!isTaken) return;
    if (publication.retain) env.retained.onTaken(publication, env.batch());
    env.deliveries.onTaken(publication, env.time.events, env.batch(), env.time.nowMs);
  }

  /** PUBACK of a held message: it says success only if all who were to get it have it. */
  private checkHeld({ name, hold }: Publication, reasonCode: number, properties: UserProperties): void {
    if (!hold || reasonCode !== 0) return;
    const { 'receipt-delivered': delivered, 'receipt-failed': failed, 'receipt-pending': pending } = properties;
    // They are left out of a PUBACK that would be too large.
    if (delivered === undefined && this.role.maximumPacketSize > 0) return;
    if (Number(delivered) > 0 && failed === '0' && pending === '0') return;
    const text = `delivered ${delivered}, failed ${failed}, pending ${pending}`;
    this.env.verdicts.broken('a hold ends with the outcome', `${name} succeeded with ${text}`);
  }

  onPubcomp(messageId: number): void {
    const flow = this.open.get(messageId);
    if (flow === undefined || !flow.isReleased || flow.due === 0)
      this.port.broken(`got PUBCOMP ${messageId} for nothing`);
    this.open.delete(messageId);
  }

  private sendPublish(publication: Publication, messageId: number, dup: boolean): void {
    const { topic, name, qos, retain, clears, receipt, hold, deadline, expiry } = publication;
    const userProperties = {
      ...(receipt === null ? {} : { receipt }),
      ...(hold ? { 'receipt-hold': 'true' } : {}),
      ...(deadline > 0 ? { 'receipt-deadline': String(deadline) } : {}),
    };
    const properties = {
      ...(receipt === null ? {} : { userProperties }),
      ...(expiry > 0 ? { messageExpiryInterval: expiry } : {}),
    };
    const flow = this.open.get(messageId);
    if (flow !== undefined) flow.due++;
    const packet = {
      cmd: 'publish' as const,
      topic,
      payload: clears ? '' : name,
      qos,
      retain,
      dup,
      ...(qos === 0 ? {} : { messageId }),
    };
    this.port.send(this.role.version === 5 ? { ...packet, properties } : packet);
  }
}
