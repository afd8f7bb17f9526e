import { assert } from '../base/assert.js';
import { encodeAckWithProperties } from '../codec/acks.js';
import { PublishFrame } from '../codec/publish-frame.js';
import { identityKeyOf } from '../receipts/identities.js';
import { receiptId, receiptIdLength, writeReceiptId } from '../receipts/receipt-id.js';
import { hasThirteenDigits, placesIn, ReceiptPackets, type ReceiptPlaces } from '../receipts/receipt-message.js';
import { encodeReceiptAnswer } from '../receipts/receipt-properties.js';
import { ReceiptKind } from '../receipts/reference.js';
import type { SoleRecord } from '../receipts/sole-record.js';
import { ReceiptState } from '../receipts/states.js';
import type { Link } from '../session/link.js';
import type { Session } from '../session/session.js';
import { PacketType } from '../spec/packet-types.js';
import { ReasonCode } from '../spec/reason-codes.js';
import { Outgoing } from './outgoing.js';
import { publishFirstByte } from './send-window.js';
import type { SoleWriter } from './turn-output.js';

/** Receipts of so many recipients by turns are made of the last one of each. */
const templatesMax = 64;

/** A receipt that the next one to the same publisher may be as well, but for id and times. */
interface Template {
  readonly bytes: Buffer;
  readonly places: ReceiptPlaces;
  /** Where topic name and body begin. */
  readonly topicAt: number;
  readonly bodyAt: number;
  readonly publisher: Session;
  readonly recipient: Session;
  readonly topicName: string;
  readonly version5: boolean;
  /** Times in it. */
  sentAtMs: number;
  timeMs: number;
}

/** Encodes what publishers get of their sole records: the answer with the id, and the receipt of the delivery. */
export class SoleOutput implements SoleWriter {
  private readonly nodeNumber: number;
  private readonly packets = new ReceiptPackets();
  private readonly out = new Outgoing();
  private readonly answer: PublishFrame;
  /** Where the id is in the answer. */
  private readonly idInAnswer: number;
  /** By kind, and by the recipients' numbers. */
  private readonly templates: readonly (Template | null)[][] = Object.values(ReceiptKind).map(() =>
    new Array(templatesMax).fill(null),
  );
  private readonly receipt = PublishFrame.ofReceived();

  /** @param nodeNumber of the broker in its deployment */
  constructor(nodeNumber: number) {
    this.nodeNumber = nodeNumber;
    const id = Buffer.from(receiptId(0, nodeNumber));
    const { puback } = PacketType;
    const { bytes, start, end } = encodeAckWithProperties(puback, ReasonCode.success, null, encodeReceiptAnswer(id, 1));
    const packet = Buffer.from(bytes.subarray(start, end));
    this.answer = PublishFrame.ofReceived();
    this.answer.receive(packet, 0, packet.length, 2);
    this.idInAnswer = packet.indexOf(id);
  }

  /** Bytes of an answer. */
  get answerBytes(): number {
    return this.answer.length;
  }

  sendAnswer(link: Link, packetId: number, { sequence }: SoleRecord): void {
    writeReceiptId(sequence, this.nodeNumber, this.answer.bytes, this.idInAnswer);
    link.sendAck(PacketType.puback, packetId, ReasonCode.success, this.answer);
  }

  sendReceipt(link: Link, sole: SoleRecord, kind: ReceiptKind): void {
    const version5 = link.version === 5;
    const template = this.templates[kind]?.[sole.recipient.number % templatesMax] ?? null;
    const isLikeThat = template !== null && fits(template, sole, version5, timeOf(sole, kind));
    const bytes = isLikeThat ? this.rewritten(template, sole, timeOf(sole, kind)) : this.encoded(sole, version5, kind);
    this.receipt.receive(bytes, 0, bytes.length, -1);
    link.sendPublish(this.receipt, publishFirstByte(0, false), 0);
  }

  /** The last one of the recipient with another id and other times. */
  private rewritten(template: Template, { sequence, sentAtMs }: SoleRecord, timeMs: number): Buffer {
    const { bytes, places, topicAt, bodyAt } = template;
    const idAt = topicAt + places.idInTopic;
    const idInBodyAt = bodyAt + places.idInBody;
    writeReceiptId(sequence, this.nodeNumber, bytes, idAt);
    for (let at = 0; at < receiptIdLength; at++) bytes[idInBodyAt + at] = bytes[idAt + at] as number;
    // Of those that come in a turn they are the same.
    if (timeMs !== template.timeMs) {
      template.timeMs = timeMs;
      bytes.write(String(timeMs), bodyAt + places.timeInBody, 'latin1');
    }
    if (sentAtMs !== template.sentAtMs && places.sentTimeInBody >= 0) {
      template.sentAtMs = sentAtMs;
      bytes.write(String(sentAtMs), bodyAt + places.sentTimeInBody, 'latin1');
    }
    return bytes;
  }

  private encoded(sole: SoleRecord, version5: boolean, kind: ReceiptKind): Buffer {
    const { out, packets } = this;
    const { publisher, recipient, topicName, sequence, sentAtMs } = sole;
    const record = sole.toRecord();
    const isReceipt = kind === ReceiptKind.delivery;
    const recipientKey = isReceipt ? identityKeyOf(recipient) : null;
    const state = isReceipt ? ReceiptState.delivered : ReceiptState.accepted;
    const reference = { kind, state, sequence, recipientKey, replay: false, foreign: false, brief: false };
    const packet = packets.packet(
      { ...reference, publisherKey: sole.publisherKey },
      Buffer.from(receiptId(sequence, this.nodeNumber)),
      record,
      recipientKey === null ? null : (record.rows?.get(recipientKey) ?? null),
      false,
      0,
    );
    assert(packet !== null, 'of a delivery there is something to tell');
    out.fromReceipt(packet, 0);
    const frame = out.frame(version5, false, null);
    const bytes = Buffer.from(frame.bytes.subarray(frame.start, frame.end));
    const { topicEnd, end } = packet;
    const timeMs = timeOf(sole, kind);
    if (hasThirteenDigits(sentAtMs) && hasThirteenDigits(timeMs)) {
      const bodyAt = bytes.length - (end - topicEnd);
      const topicAt = bytes.indexOf(packet.bytes.subarray(0, topicEnd));
      const places = placesIn(packet.bytes.subarray(0, end), topicEnd);
      const facts = { publisher, recipient, topicName, version5, sentAtMs, timeMs };
      (this.templates[kind] as Template[])[recipient.number % templatesMax] = {
        bytes,
        places,
        topicAt,
        bodyAt,
        ...facts,
      };
    }
    return bytes;
  }
}

/** The time that it tells first: of the first tally, of acceptance. */
function timeOf({ sentAtMs, deliveredAtMs }: SoleRecord, kind: ReceiptKind): number {
  return kind === ReceiptKind.firstTally ? sentAtMs : deliveredAtMs;
}

function fits(template: Template, sole: SoleRecord, version5: boolean, timeMs: number): boolean {
  return (
    template.recipient === sole.recipient &&
    template.publisher === sole.publisher &&
    template.topicName === sole.topicName &&
    template.version5 === version5 &&
    hasThirteenDigits(sole.sentAtMs) &&
    hasThirteenDigits(timeMs)
  );
}
