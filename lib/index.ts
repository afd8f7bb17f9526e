export { CountersignError } from './base/errors.js';
export type { Log } from './base/log.js';
export type {
  AuthenticationAdmission,
  AuthenticationRefusal,
  AuthenticationRequest,
  ClientIdentity,
  Hooks,
  TopicAction,
} from './broker/hooks.js';
export type { Metrics } from './broker/metrics.js';
export type { Published, PublishProperties, PublishRequest, TrackedPublishRequest } from './broker/server-publish.js';
export type { BrokerOptions, ListenerSettings, Settings, TrackingRule } from './config/schema.js';
export type { Address, ListenerAddress } from './net/listener.js';
export type { DeliveryStateName, Receipt, Tally, TallyFailure } from './receipts/packets.js';
export { isTally, succeeded } from './receipts/packets.js';
export type { TrackedMessage } from './receipts/tracked-message.js';
export type { Reloaded } from './server.js';
export { Broker } from './server.js';
