import type { Row, TrackedRecord } from '../../lib/receipts/record.js';
import { ReceiptState, stateNames } from '../../lib/receipts/states.js';
import { recordsOf, type Whole } from './audit.js';
import type { SimulatedClient } from './client.js';
import type { Said, Told } from './receipts.js';
import type { World } from './world.js';

/** Sessions that last until everything is over. */
const restExpirySeconds = 1_000_000;
const maxPendingMs = 3_600_000;
/** Longer than any hold or deadline. */
const restMs = 400_000;
/** How long a PUBACK is held where no deadline is given. */
const defaultHoldSeconds = 30;

/** Ends all faults, brings everybody back, lets what is open be finished, and checks what must be so in the end. */
export function judge(world: World): void {
  calmDown(world);
  settle(world);
  const { verdicts } = world;
  if (verdicts.found.length > 0) return;
  world.deliveries.checkPaid(world.drops);
  checkWaiting(world);
  world.probe();
  // What waits for applications that never answer ends as lost.
  world.pass(maxPendingMs + 2_000_000);
  settle(world);
  world.inspect();
  if (verdicts.found.length > 0) return;
  checkRecords(world);
  // What a restart finds is the same.
  world.crash(false, 0);
  world.pass(1000);
  world.probe();
}

function calmDown(world: World): void {
  world.disk.isFull = false;
  world.act(() => {
    for (const client of world.clients) {
      client.inbox.setStalled(false);
      client.setDeaf(false);
    }
  });
}

/** Everybody connects and finishes. */
function settle(world: World): void {
  const { clients, time, verdicts } = world;
  const untilMs = time.nowMs + restMs;
  const isAtRest = (): boolean => clients.every((client) => unrest(world, client) === null);
  for (let quiet = 0; quiet < 3 && time.nowMs < untilMs && verdicts.found.length === 0; ) {
    world.act(() => {
      for (const client of clients) {
        if (!client.isConnected) client.connect({ clean: false, expirySeconds: restExpirySeconds, will: null });
      }
    });
    world.pass(1500);
    quiet = isAtRest() && world.deliveries.isPaid(world.drops) ? quiet + 1 : 0;
  }
  if (verdicts.found.length > 0 || isAtRest()) return;
  const busy = clients.map((client) => unrest(world, client)).filter((text) => text !== null);
  verdicts.broken('everything comes to rest', busy.join('; '));
}

/** What is under way between a client and the broker, as either sees it; null if nothing is. */
function unrest({ core }: World, client: SimulatedClient): string | null {
  const { role, account } = client;
  const session = core?.context.sessions.get(role.clientId);
  if (session === undefined || !client.isAtRest) return client.describe();
  const { inflightCount, queueLength, inboundCount, sendQuota, sendQuotaMax } = session;
  // A client that is not certain of its session has given up what it had open.
  const open = account.isBlurred ? 0 : inboundCount;
  if (inflightCount + queueLength + open === 0 && sendQuota === sendQuotaMax) return null;
  const counts = `${inflightCount} in flight, ${queueLength} waiting, ${inboundCount} inbound`;
  return `${role.clientId}: the broker has ${counts}, quota ${sendQuota} of ${sendQuotaMax}`;
}

/** At rest, all that tracked deliveries may wait for is the word of an application. */
function checkWaiting({ core, verdicts }: World): void {
  if (core === null) return;
  for (const { record, rows } of recordsOf(core)) {
    for (const { final, state, qos, to } of rows) {
      const hasCome = state === ReceiptState.delivered || (state === ReceiptState.sent && qos === 0);
      if (final || (record.requested === 'processed' && hasCome)) continue;
      verdicts.broken(
        'exactly one outcome',
        `${record.topicName} to ${to} is ${stateNames[state]}, and all is at rest`,
      );
    }
  }
}

function checkRecords(world: World): void {
  const { core, verdicts, receipts } = world;
  if (core === null) return;
  const wholes = recordsOf(core);
  if (!receipts.isBlurred && world.isWell()) checkHolds(world, wholes);
  for (const whole of wholes) {
    const { record, rows } = whole;
    for (const { state, cause } of rows) world.countOutcome(`${stateNames[state]} ${cause ?? ''}`.trim());
    if (record.counts.pending > 0) {
      verdicts.broken('exactly one outcome', `${record.topicName}: ${record.counts.pending} without`);
      continue;
    }
    const name = receipts.names.get(whole.id);
    // After a crash that lost what had been told, nobody can say.
    if (receipts.isBlurred) continue;
    if (name !== undefined) checkTruth(world, name, whole);
    checkTold(world, name ?? whole.id, whole);
  }
}

/** What rows say is what recipients did. */
function checkTruth(world: World, name: string, { rows, id }: Whole): void {
  const { receipts, deliveries, verdicts } = world;
  const publication = deliveries.find(name);
  const isOf = (said: Said): boolean => (said.id === null ? said.name === name : said.id === id);
  const acknowledged = (row: Row, ok: boolean): boolean =>
    receipts.acknowledged.some(
      (said) =>
        isOf(said) && said.clientId === row.to && said.ok === ok && (said.id === null || said.group === row.group),
    );
  // Of several copies an application's word is for the first that waits for it.
  const answered = ({ to }: Row, ok: boolean): boolean =>
    receipts.answered.some((said) => isOf(said) && said.clientId === to && said.ok === ok);
  const need = (isSo: boolean, what: string): void => {
    if (!isSo) verdicts.broken('outcomes are what happened', what);
  };
  for (const clientId of publication?.recipients ?? []) {
    const isThere = rows.some(({ to, group }) => group === null && to === clientId);
    need(isThere, `${name}: ${clientId} had subscribed, and is not among the recipients`);
  }
  for (const row of rows) {
    const { to, group, state, cause, sentAtMs, deliveredAtMs, qos } = row;
    const text = `${name} to ${to}: ${stateNames[state]} ${cause ?? ''}`;
    if (deliveredAtMs > 0) need(acknowledged(row, true), `${text}: not acknowledged`);
    if (deliveredAtMs > 0 && state === ReceiptState.lost) need(cause === 'unanswered', text);
    if (state === ReceiptState.rejected && cause === null) {
      need(acknowledged(row, false), `${text}: not refused`);
    }
    if (state === ReceiptState.processed) need(answered(row, true), `${text}: not answered`);
    if (cause === 'application') need(answered(row, false), `${text}: not answered`);
    if (state === ReceiptState.sent) need(qos === 0, `${text} at QoS ${qos}`);
    const { maximumPacketSize = 0 } = world.clients.find(({ role }) => role.clientId === to)?.role ?? {};
    if (cause === 'queue-full') need(deliveries.mayDrop, text);
    if (cause === 'too-large') need(maximumPacketSize > 0, text);
    if (state === ReceiptState.expired) need((publication?.expiry ?? 1) > 0, `${text}: could not expire`);
    if (state >= ReceiptState.expired && sentAtMs === 0 && group === null) {
      const hasCome = receipts.arrived.has(`${to} ${id}`);
      need(!hasCome, `${text}: it has it, and nothing says it was sent`);
    }
  }
  for (const { clientId, group, ok, batch } of receipts.acknowledged.filter((said) => said.id === id)) {
    const row = rows.find((one) => one.group === group && one.to === clientId);
    if (!ok || batch === Number.POSITIVE_INFINITY || row === undefined) continue;
    const isKept = row.deliveredAtMs > 0 || row.state === ReceiptState.processed || row.cause === 'application';
    need(
      isKept || row.qos === 0 || row.cause === 'gave-up' || row.cause === 'unanswered',
      `${name}: ${clientId} acknowledged, yet it is ${stateNames[row.state]} ${row.cause ?? ''}`,
    );
  }
}

/** A publisher that takes its receipts has been told everything, once. */
function checkTold(world: World, name: string, { record, rows, id }: Whole): void {
  const { clientId } = record.owner;
  const publisher = world.clients.find(({ role }) => role.clientId === clientId);
  if (publisher === undefined || !publisher.isFollowing) return;
  const { verdicts, receipts } = world;
  const told = receipts.toldOf(clientId).filter((one) => one.id === id);
  const text = `${clientId} about ${name} (${id})`;
  if (!publisher.role.followsTallies) {
    // Where too many waited, some were left out, and nothing says so.
    if (!record.collapsed) for (const row of rows) checkRowTold(world, text, row, told);
    return;
  }
  const finals = told.filter(({ to, body }) => to === null && body.final === true);
  const final = finals[0];
  if (finals.length !== 1) {
    verdicts.broken('the final tally comes last, once', `${text}: ${finals.length} final of ${JSON.stringify(told)}`);
    return;
  }
  const { processed, delivered, sent, failed, pending } = final.body;
  const counts = { processed, delivered, sent, failed, pending };
  if (JSON.stringify({ ...counts, ...record.counts }) !== JSON.stringify(counts)) {
    verdicts.broken('every tally adds up', `${text}: ${JSON.stringify(final)} of ${JSON.stringify(record.counts)}`);
  }
  // Where too many waited, what is left of them is the final tally.
  if (final.body.collapsed === true) return;
  for (const row of rows) checkRowTold(world, text, row, told);
}

/** A held message that its publisher sent again before it was answered is no new message. */
function checkHolds({ deliveries, receipts, verdicts }: World, wholes: readonly Whole[]): void {
  const former = new Map<string, TrackedRecord>();
  for (const { record, id } of wholes.toSorted((one, other) => one.record.sequence - other.record.sequence)) {
    const name = receipts.names.get(id) ?? '';
    const publication = deliveries.find(name);
    if (publication?.hold !== true) continue;
    const before = former.get(name);
    former.set(name, record);
    if (before === undefined) continue;
    const heldUntilMs = before.acceptedAtMs + (publication.deadline || defaultHoldSeconds) * 1000;
    const isAnswered = before.finalAtMs > 0 && before.finalAtMs <= record.acceptedAtMs;
    if (isAnswered || record.acceptedAtMs >= heldUntilMs) continue;
    verdicts.broken('a held message is published once', `${name} is ${id} too, before its hold was over`);
  }
}

function checkRowTold({ verdicts }: World, text: string, row: Row, told: readonly Told[]): void {
  const segment = row.group === null ? row.to : groupSegment(row.group);
  const states = told.filter(({ to }) => to === segment).map(({ body }) => body.state);
  if (states.at(-1) === stateNames[row.state]) return;
  verdicts.broken('each receipt exactly once', `${text}: ${segment} is ${stateNames[row.state]}, told were ${states}`);
}

/** As the receipts contract encodes a shared group's name. */
function groupSegment(group: string): string {
  const hex = [...group.slice(0, 4)].map((char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
  return hex.join('') + encodeURIComponent(group.slice(4)).replaceAll('%2B', '%2B');
}
