import type { Duplex } from 'node:stream';
import { shareReads } from './shared-reads.js';

/** Takes the events of one stream. An error is none of them: the close follows. */
export interface StreamSink {
  /** Bytes have come; they are good for this call. */
  onData(chunk: Buffer): void;
  /** The stream takes more. */
  onDrain(): void;
  /** The peer has ended its side. */
  onEnd(): void;
  onStreamClosed(): void;
}

/** Where a stream keeps its sink. */
const sinkKey = Symbol('sink');

interface OwnedStream extends Duplex {
  [sinkKey]: StreamSink;
}

// One function for all streams, called on its stream: closures for each would be half a kilobyte a connection.

function onData(this: OwnedStream, chunk: Buffer): void {
  this[sinkKey].onData(chunk);
}

function onRead(this: OwnedStream, count: number, memory: Buffer): boolean {
  this[sinkKey].onData(memory.subarray(0, count));
  return true;
}

function onDrain(this: OwnedStream): void {
  this[sinkKey].onDrain();
}

function onEnd(this: OwnedStream): void {
  this[sinkKey].onEnd();
}

function onClose(this: OwnedStream): void {
  this[sinkKey].onStreamClosed();
}

function onError(): void {
  // 'close' follows.
}

/** Calls the sink for the stream's events. A stream has one sink. */
export function listenTo(stream: Duplex, sink: StreamSink): void {
  const owned = stream as OwnedStream;
  owned[sinkKey] = sink;
  if (!shareReads(stream, onRead)) owned.on('data', onData);
  owned.on('drain', onDrain);
  owned.on('error', onError);
  owned.on('close', onClose);
  owned.on('end', onEnd);
}
