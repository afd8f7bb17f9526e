import type { Session } from '../session/session.js';
import type { Subscription } from '../session/subscription.js';
import type { Hooks, TopicAction } from './hooks.js';

/** Topics whose decisions one session remembers, and the longest of them in characters. */
const rememberedMax = 64;
const rememberedLength = 256;

const known = { publish: 1, receive: 2 } as const;
const allowed = { publish: 4, receive: 8 } as const;

/** Asks the hook `authorize` what sessions may do with topics, and remembers its answers for each until they change. */
export class Rights {
  /** False if there is no such hook and no mount point: then everything is allowed, and need not be asked. */
  readonly isLimited: boolean;
  private readonly hooks: Hooks;
  private generation = 1;

  /** @param hasMountPoints true if some clients see only a part of the topic tree */
  constructor(hooks: Hooks, hasMountPoints = false) {
    this.hooks = hooks;
    this.isLimited = hooks.authorize !== undefined || hasMountPoints;
  }

  /** Whatever was decided is to be asked again. */
  forget(): void {
    this.generation++;
  }

  mayPublish(session: Session, topicName: string): boolean {
    return this.remembered(session, 'publish', topicName);
  }

  mayReceive(session: Session, topicName: string): boolean {
    if (session.mountPoint !== null && !session.mountPoint.sees(topicName)) return false;
    return this.remembered(session, 'receive', topicName);
  }

  /** True if a message may go where a subscription that matches it leads. */
  mayFollow({ session, topicFilter }: Subscription, topicName: string): boolean {
    return session.mountPoint?.hides(topicName, topicFilter) !== true && this.mayReceive(session, topicName);
  }

  /** @param topicFilter without `$share/group/` */
  maySubscribe(session: Session, topicFilter: string): boolean {
    return !this.isLimited || this.ask(session, 'subscribe', topicFilter);
  }

  private remembered(session: Session, action: 'publish' | 'receive', topicName: string): boolean {
    if (!this.isLimited) return true;
    if (session.rightsGeneration !== this.generation) {
      session.rightsGeneration = this.generation;
      session.rights = null;
    }
    const bits = session.rights?.get(topicName) ?? 0;
    if ((bits & known[action]) !== 0) return (bits & allowed[action]) !== 0;
    const isAllowed = this.ask(session, action, topicName);
    if (topicName.length <= rememberedLength) {
      session.rights ??= new Map();
      // A full memory is emptied: cheaper than order of use, and rare.
      if (session.rights.size >= rememberedMax) session.rights.clear();
      session.rights.set(topicName, bits | known[action] | (isAllowed ? allowed[action] : 0));
    }
    return isAllowed;
  }

  /** A hook that fails allows nothing. */
  private ask({ clientId, userName }: Session, action: TopicAction, topic: string): boolean {
    try {
      return this.hooks.authorize === undefined || this.hooks.authorize({ clientId, userName }, action, topic) === true;
    } catch {
      return false;
    }
  }
}
