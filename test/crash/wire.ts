import { connect, type Socket } from 'node:net';
import { generate, parser as newParser, type Packet } from 'mqtt-packet';

/** What happens on a connection. */
export interface WireEvents {
  onPacket(packet: Packet): void;
  onClosed(): void;
}

/** One connection of a light client: packets in, packets out, by a codec that is not the broker's own. */
export class Wire {
  private readonly socket: Socket;
  private readonly options: { readonly protocolVersion: 4 | 5 };
  private isOpen = true;

  constructor(port: number, version: 4 | 5, events: WireEvents) {
    this.options = { protocolVersion: version };
    const parser = newParser(this.options);
    parser.on('packet', (packet) => {
      // What is still in the buffer when the client has gone away was not received.
      if (this.isOpen) events.onPacket(packet);
    });
    parser.on('error', () => this.cut());
    this.socket = connect({ port, host: '127.0.0.1', noDelay: true });
    this.socket.on('data', (chunk: Buffer) => parser.parse(chunk));
    // A reset by a killed broker is a close like another.
    this.socket.on('error', () => undefined);
    this.socket.on('close', () => {
      this.isOpen = false;
      events.onClosed();
    });
  }

  send(packet: Packet): void {
    if (this.isOpen) this.socket.write(generate(packet, this.options));
  }

  /** Closes without order. */
  cut(): void {
    this.isOpen = false;
    this.socket.resetAndDestroy();
  }

  /** Closes in order, after what was sent. */
  end(): void {
    this.isOpen = false;
    this.socket.end();
  }
}
