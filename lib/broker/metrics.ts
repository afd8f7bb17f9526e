const reasonCodes = 256;

/** What the broker counts. Plain numbers, read by `$SYS`, by the embedding program and by tests. */
export class Metrics {
  connectionsAccepted = 0;
  connectionsRefused = 0;
  connectionsOpen = 0;
  /** Bytes of packets begun and not complete, of connections with more than a few of them. */
  incompleteBytes = 0;
  /** Connections closed because such bytes were too many. */
  incompleteRefused = 0;
  /** Unsent bytes of connections that are behind. */
  outboxBytes = 0;
  /** Bytes of what waits in memory for sessions that are not stored. */
  queuedBytesInMemory = 0;
  /** CONNECTs refused for their credentials, or because these could not be checked. */
  authenticationsFailed = 0;
  /** Those of them whose credentials were not looked at: the address failed too often, or too many waited. */
  authenticationsNotChecked = 0;
  protocolErrors = 0;
  bytesReceived = 0;
  bytesSent = 0;
  /** Packets by type × 256 + reason code, 0 for those that have none; PUBLISH to clients is in `publishesSent`. */
  readonly received = new Float64Array(16 * reasonCodes);
  readonly sent = new Float64Array(16 * reasonCodes);
  /** What was answered for each filter of SUBSCRIBE and UNSUBSCRIBE, by reason code. */
  readonly subscribed = new Float64Array(reasonCodes);
  readonly unsubscribed = new Float64Array(reasonCodes);
  publishesReceived = 0;
  publishesSent = 0;
  /** Publishes refused with a reason code or, at QoS 0, discarded. */
  publishesRefused = 0;
  /** Publishes among them that the client had no right to; wills too. */
  publishesNotAuthorized = 0;
  /** Filters of SUBSCRIBE that were refused for any reason. */
  subscriptionsRefused = 0;
  /** Filters of SUBSCRIBE that the client had no right to. */
  subscriptionsNotAuthorized = 0;
  /** Waiting messages and receipts that were not sent because the client has lost the right to them. */
  droppedNotAuthorized = 0;
  droppedOffline = 0;
  droppedSlow = 0;
  droppedQueueFull = 0;
  droppedTooLarge = 0;
  expired = 0;
  /** Deliveries, untracked ones too, that a session had not confirmed when it ended. */
  droppedSessionEnded = 0;
  sessionsExpired = 0;
  takeovers = 0;
  willsPublished = 0;
  receiptsSent = 0;
  receiptsCollapsed = 0;
  /** Requests for receipts that were refused, or ignored at QoS 0. */
  receiptRequestsRefused = 0;
  /** Messages that a rule would have tracked and that went on untracked because the record store was full. */
  untrackedForWantOfRecords = 0;
  /** Times that the store could record no longer: a full disk, a failing one. */
  storeFailures = 0;
  /** Input pauses because too much waited for the disk or for the client. */
  readPauses = 0;
  /** How often a connection left the rest of its input to a later turn, for the sake of others. */
  turnsYielded = 0;

  get packetsReceived(): number {
    return this.received.reduce((sum, count) => sum + count, 0);
  }

  get packetsSent(): number {
    return this.sent.reduce((sum, count) => sum + count, this.publishesSent);
  }

  /** Deliveries that came to nothing. */
  get publishesDropped(): number {
    return this.droppedOffline + this.droppedQueueFull + this.droppedSlow + this.droppedTooLarge + this.expired;
  }

  /** A packet of this type came. */
  countReceived(packetType: number): void {
    this.received[packetType * reasonCodes]++;
  }

  /** The reason code of a packet that was counted. */
  countReason(packetType: number, reasonCode: number): void {
    this.received[packetType * reasonCodes]--;
    this.received[packetType * reasonCodes + reasonCode]++;
  }

  countSent(packetType: number, reasonCode: number): void {
    this.sent[packetType * reasonCodes + reasonCode]++;
  }
}
