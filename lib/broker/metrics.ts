/** What the broker counts. Plain numbers, read by `$SYS`, by the embedding program and by tests. */
export class Metrics {
  connectionsAccepted = 0;
  connectionsRefused = 0;
  connectionsOpen = 0;
  /** CONNECTs refused for their credentials, or because these could not be checked. */
  authenticationsFailed = 0;
  /** Those of them whose credentials were not looked at: the address failed too often, or too many waited. */
  authenticationsNotChecked = 0;
  protocolErrors = 0;
  bytesReceived = 0;
  bytesSent = 0;
  packetsReceived = 0;
  packetsSent = 0;
  publishesReceived = 0;
  publishesSent = 0;
  /** Publishes refused with a reason code or, at QoS 0, discarded. */
  publishesRefused = 0;
  /** Publishes among them that the client had no right to; wills too. */
  publishesNotAuthorized = 0;
  /** Filters of SUBSCRIBE that the client had no right to. */
  subscriptionsNotAuthorized = 0;
  /** Waiting messages and receipts that were not sent because the client has lost the right to them. */
  droppedNotAuthorized = 0;
  droppedOffline = 0;
  droppedSlow = 0;
  droppedQueueFull = 0;
  droppedTooLarge = 0;
  expired = 0;
  sessionsExpired = 0;
  takeovers = 0;
  willsPublished = 0;
  receiptsSent = 0;
  receiptsCollapsed = 0;
  /** Requests for receipts that were refused, or ignored at QoS 0. */
  receiptRequestsRefused = 0;
  /** Messages that a rule would have tracked and that went on untracked because the record store was full. */
  untrackedForWantOfRecords = 0;
  /** Input pauses because too much waited for the disk or for the client. */
  readPauses = 0;
}
