export { CountersignError } from './base/errors.js';
export type { Log } from './base/log.js';
export type { Metrics } from './broker/metrics.js';
export type { BrokerOptions, Settings, TrackingRule } from './config/schema.js';
export type { Address } from './net/listener.js';
export { Broker } from './server.js';
