import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';
import { withDeadline } from './deadline.js';

/** A raw connection to a broker, usually TCP: sends any bytes, and says exactly which bytes must come back. */
export class WireClient {
  private readonly socket: Duplex;
  private received: Buffer = Buffer.alloc(0);
  private isClosed = false;
  private wake: () => void = () => undefined;

  /** @param socket a stream that is open */
  constructor(socket: Duplex) {
    this.socket = socket;
    if (socket instanceof Socket) socket.setNoDelay(true);
    socket.on('data', (chunk: Buffer) => {
      this.received = Buffer.concat([this.received, chunk]);
      this.wake();
    });
    // A reset by the broker is a close like another: 'close' follows.
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.isClosed = true;
      this.wake();
    });
  }

  /** Resolves when the TCP connection stands. */
  static async connect(port: number, host = '127.0.0.1'): Promise<WireClient> {
    const socket = connect({ port, host });
    await withDeadline(once(socket, 'connect'), () => `no connection to port ${port}`);
    return new WireClient(socket);
  }

  /** Sends bytes, given as hex with any spaces (`'c0 00'`) or as buffers, in one write. */
  send(...parts: readonly (string | Buffer)[]): void {
    this.socket.write(toBytes(parts));
  }

  /** The next bytes must be exactly these; bytes after them are left for the next call. */
  async expect(...parts: readonly (string | Buffer)[]): Promise<void> {
    const expected = toBytes(parts);
    const differs = (): boolean => {
      const length = Math.min(expected.length, this.received.length);
      return !expected.subarray(0, length).equals(this.received.subarray(0, length));
    };
    await this.until(() => this.received.length >= expected.length || differs(), `${expected.length} bytes`, expected);
    if (this.received.length < expected.length || differs()) {
      const actual = this.received.subarray(0, Math.max(expected.length, 64));
      assert.fail(describeDifference(expected, actual, this.isClosed));
    }
    this.received = this.received.subarray(expected.length);
  }

  /** The next whole packet, fixed header included. */
  async packet(): Promise<Buffer> {
    await this.until(() => packetLength(this.received) !== undefined, 'a whole packet');
    const length = packetLength(this.received);
    if (length === undefined) {
      assert.fail(`the broker closed before a whole packet came; what came: ${dump(this.received)}`);
    }
    const packet = Buffer.from(this.received.subarray(0, length));
    this.received = this.received.subarray(length);
    return packet;
  }

  /** Proves, with a PINGREQ, that the broker sent nothing else before it answers. Only for a connected client. */
  async expectNothing(): Promise<void> {
    this.send('c0 00');
    await this.expect('d0 00');
  }

  /**
   * Neither bytes nor the close have come so far; give the broker a chance first, with a round trip on another client.
   */
  assertOpen(): void {
    assert.ok(
      !this.isClosed && this.received.length === 0,
      `got ${dump(this.received)}${this.isClosed ? ', the close' : ''}`,
    );
  }

  /** The broker must close, and nothing may have come before. */
  async expectClose(): Promise<void> {
    await this.until(() => this.isClosed || this.received.length > 0, 'the close');
    if (this.received.length > 0) assert.fail(`expected the close, got ${dump(this.received)}`);
  }

  /** Everything that comes until the broker closes. */
  async rest(): Promise<Buffer> {
    await this.until(() => this.isClosed, 'the close');
    const rest = this.received;
    this.received = Buffer.alloc(0);
    return rest;
  }

  /** Stops reading, as a stalled client does, until `resume`. */
  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }

  /** Closes in order (FIN). */
  end(): void {
    this.socket.end();
  }

  /** Closes without order (RST). */
  reset(): void {
    // Where the broker closed first, the socket is being shut down: resetting it would leak it, and Node never exits.
    const { socket } = this;
    const isTcp = socket instanceof Socket && !(socket instanceof TLSSocket) && socket.remoteAddress !== undefined;
    if (isTcp && !socket.writableEnded) socket.resetAndDestroy();
    else socket.destroy();
  }

  private async until(isDone: () => boolean, what: string, expected?: Buffer): Promise<void> {
    const done = (async () => {
      while (!isDone() && !this.isClosed) {
        await new Promise<void>((resolve) => {
          this.wake = resolve;
        });
      }
    })();
    const wanted = expected === undefined ? what : `${what}: ${dump(expected)}`;
    await withDeadline(done, () => `waited for ${wanted}; what came: ${dump(this.received)}`);
  }
}

function toBytes(parts: readonly (string | Buffer)[]): Buffer {
  return Buffer.concat(parts.map((part) => (typeof part === 'string' ? hex(part) : part)));
}

/** Bytes of hex digits, which may be spaced as one likes. */
export function hex(text: string): Buffer {
  const digits = text.replace(/\s+/g, '');
  assert.match(digits, /^([0-9a-f]{2})*$/i, `not hex: ${text}`);
  return Buffer.from(digits, 'hex');
}

/** Length of the packet that the bytes begin with; undefined while it is not whole. */
function packetLength(bytes: Buffer): number | undefined {
  let remaining = 0;
  for (let index = 1; index < Math.min(bytes.length, 5); index++) {
    remaining += (bytes[index] & 0x7f) * 128 ** (index - 1);
    if (bytes[index] < 0x80) {
      const total = index + 1 + remaining;
      return bytes.length >= total ? total : undefined;
    }
  }
  return undefined;
}

function dump(bytes: Buffer): string {
  if (bytes.length === 0) return 'nothing';
  const shown = bytes
    .subarray(0, 64)
    .toString('hex')
    .replace(/(..)(?=.)/g, '$1 ');
  return bytes.length > 64 ? `${shown} … (${bytes.length} bytes)` : shown;
}

/** Both byte strings, sixteen a line, with marks under the bytes that differ. */
function describeDifference(expected: Buffer, actual: Buffer, isClosed: boolean): string {
  const lines = [isClosed ? 'other bytes than expected, then the close' : 'other bytes than expected'];
  for (let offset = 0; offset < Math.max(expected.length, actual.length); offset += 16) {
    const left = expected.subarray(offset, offset + 16);
    const right = actual.subarray(offset, offset + 16);
    lines.push(`${offset.toString(16).padStart(4, '0')} expected ${hexLine(left)}`, `     got      ${hexLine(right)}`);
    const marks = Array.from({ length: Math.max(left.length, right.length) }, (_, at) =>
      left[at] === right[at] ? '  ' : '^^',
    );
    if (!left.equals(right)) lines.push(`              ${marks.join(' ')}`);
  }
  return lines.join('\n');
}

function hexLine(bytes: Buffer): string {
  const ascii = bytes.toString('latin1').replace(/[^\x20-\x7e]/g, '.');
  return `${[...bytes]
    .map((byte) => byte.toString(16).padStart(2, '0'))
    .join(' ')
    .padEnd(47)} ${ascii}`;
}
