import type { Log } from '../base/log.js';
import type { SequenceSource } from '../base/sequence.js';
import type { Settings } from '../config/schema.js';
import type { Housekeeping } from '../receipts/housekeeping.js';
import type { RecordStore } from '../receipts/record-store.js';
import type { RequestReader } from '../receipts/request-reader.js';
import type { Tracker } from '../receipts/tracker.js';
import type { Session } from '../session/session.js';
import type { Hooks } from './hooks.js';
import type { Metrics } from './metrics.js';
import type { Persistence } from './persistence.js';
import type { Rights } from './rights.js';
import type { Routes } from './routes.js';
import type { StandingCohorts } from './standing-cohorts.js';
import type { Timers } from './timers.js';
import type { Turns } from './turn.js';
import type { TurnBudget } from './turn-budget.js';
import type { TurnClock } from './turn-clock.js';
import type { UnrecordedSends } from './unrecorded-sends.js';

/** What the parts of one broker share. Made once by `BrokerCore`; nothing in it is global. */
export interface Context {
  /** In force: what a reload may change is read where it is used. */
  settings: Settings;
  readonly clock: TurnClock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly turns: Turns;
  readonly budget: TurnBudget;
  readonly timers: Timers;
  readonly persistence: Persistence;
  readonly unrecorded: UnrecordedSends;
  readonly cohorts: StandingCohorts;
  readonly sequences: SequenceSource;
  readonly routes: Routes;
  /** All sessions by client identifier. [MQTT-3.1.3-2] */
  readonly sessions: Map<string, Session>;
  /** Sessions that are stored, by number. */
  readonly storedSessions: Map<number, Session>;
  readonly tracker: Tracker;
  readonly requests: RequestReader;
  readonly records: RecordStore;
  readonly housekeeping: Housekeeping;
  readonly hooks: Hooks;
  readonly rights: Rights;
}
