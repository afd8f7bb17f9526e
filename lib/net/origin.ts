import type { Socket } from 'node:net';

/** Where a connection comes from, as far as it is known before its first packet. */
export interface Origin {
  /** `HOST:PORT` of the client; `unix:PATH` of a client that came by a Unix socket. */
  readonly address: string;
  /** The user that the client's certificate names; null where none is taken from one. */
  readonly certificateUser: string | null;
}

/** The far end of a TCP socket, in the form that logs and hooks have. */
export function addressOf({ remoteAddress = 'unknown', remotePort = 0 }: Socket): string {
  return `${remoteAddress}:${remotePort}`;
}
