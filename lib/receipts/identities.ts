import type { Session } from '../session/session.js';
import { clientIdentityKey, groupIdentityKey, serverIdentityKey } from './names.js';
import type { Owner } from './record.js';

/** The recipient's or publisher's key of a session, computed once. */
export function identityKeyOf(session: Session): Buffer {
  session.identityKey ??= clientIdentityKey(session.clientId, session.userName);
  return session.identityKey;
}

/** Who the records of a session's messages belong to, the same object for as long as it lives. */
export function ownerOf(session: Session): Owner {
  session.owner ??= { clientId: session.clientId, userName: session.userName, byServer: false };
  return session.owner;
}

/** The key of a recipient: of its shared group, else its own. @param session null for a group without members */
export function recipientKeyOf(session: Session | null, group: string | null): Buffer {
  return group === null && session !== null ? identityKeyOf(session) : groupIdentityKey(group ?? '');
}

/** What the row of a tracked delivery to a session that is not stored refers to: record and recipient. */
export function transientReference(publisherKey: Buffer, session: Session, group: string | null): Buffer {
  return Buffer.concat([publisherKey, recipientKeyOf(session, group)]);
}

/** The key under which the records of an owner are kept. */
export function ownerKeyOf({ clientId, userName, byServer }: Owner): Buffer {
  return byServer ? serverIdentityKey : clientIdentityKey(clientId, userName);
}
