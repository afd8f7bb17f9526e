import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';

/** What one read takes at most, as in Node's own code. */
const readBytes = 64 * 1024;

/** What is read from any socket, until it has been dealt with. */
let memory: Buffer | null = null;

/** The parts of a socket that its option `onread` sets. */
interface ReadableSocket {
  [key: symbol]: unknown;
  readonly _handle?: { readonly useUserBuffer?: (buffer: Buffer) => void } | null;
}

/** Under which symbols sockets keep their own memory and who takes what is read. */
interface ReadSymbols {
  readonly buffer: symbol;
  readonly callback: symbol;
}

/** Null where this Node has none. */
let known: ReadSymbols | null | undefined;

function symbolsOf(socket: Duplex): ReadSymbols | null {
  const own = Object.getOwnPropertySymbols(socket);
  const named = (name: string): symbol | undefined => own.find(({ description }) => description === name);
  const buffer = named('kBuffer');
  const callback = named('kBufferCb');
  const isKnown = buffer !== undefined && callback !== undefined && named('kBufferGen') !== undefined;
  return isKnown ? { buffer, callback } : null;
}

/**
 * Has a socket read into memory that all sockets share, where Node would take memory for each read and leave it to the
 * collector. This is Node's option `onread`, which sockets of a server can not be given: it is set as Node would. While
 * it is paused such a socket reads nothing at all, so that a reset of its peer is noticed when it goes on.
 * @param onRead called on the socket with how many bytes have come and where; they are good until it returns
 * @returns false where that can not be done, which is to listen to 'data' then
 */
export function shareReads(stream: Duplex, onRead: (count: number, memory: Buffer) => boolean): boolean {
  // What has been read already waits in the stream. A socket of TLS is no plain one: its bytes are not what is read.
  if (Object.getPrototypeOf(stream) !== Socket.prototype || (stream as Socket).bytesRead > 0) return false;
  const socket = stream as unknown as ReadableSocket;
  if (known === undefined) known = symbolsOf(stream);
  const { _handle: handle } = socket;
  if (known === null || typeof handle?.useUserBuffer !== 'function') return false;
  memory ??= Buffer.allocUnsafeSlow(readBytes);
  socket[known.buffer] = memory;
  socket[known.callback] = onRead;
  handle.useUserBuffer(memory);
  stream.resume();
  return true;
}
