import { chmodSync } from 'node:fs';
import { lstat, unlink } from 'node:fs/promises';
import { connect, type Server } from 'node:net';

const ownerOnly = 0o600;

/**
 * Begins to listen on a Unix socket. Only its owner may open it until it has its mode.
 * @param mode who may open it, such as 0o660
 */
export function listenAtPath(server: Server, path: string, mode: number, onListening: () => void): void {
  const whenListening = (): void => {
    if (mode !== ownerOnly) chmodSync(path, mode);
    onListening();
  };
  // The file is made within `listen`.
  const before = process.umask(0o777 & ~ownerOnly);
  try {
    server.listen({ path, backlog: 4096 }, whenListening);
  } finally {
    process.umask(before);
  }
}

/** Removes the socket that a killed process left; one that somebody listens on stays, and so does any other file. */
export async function removeStaleSocket(path: string): Promise<void> {
  const found = await lstat(path).catch(() => null);
  if (found === null || !found.isSocket()) return;
  const isStale = await new Promise<boolean>((resolve) => {
    const probe = connect({ path }, () => resolve(false));
    probe.on('error', ({ code }: NodeJS.ErrnoException) => resolve(code === 'ECONNREFUSED'));
    probe.on('connect', () => probe.destroy());
  });
  if (isStale) await unlink(path);
}
