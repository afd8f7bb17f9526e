import { connect, type IClientOptions, type MqttClient, type Packet } from 'mqtt';
import type { Test } from 'tap';
import { withDeadline } from '../helpers/deadline.js';

/** The packets of one type, as MQTT.js reports them. */
export type PacketOf<Command extends Packet['cmd']> = Extract<Packet, { cmd: Command }>;

/** What a test looks at in a message that came. */
export interface Arrived {
  readonly topic: string;
  readonly text: string;
  readonly qos: number;
  readonly retain: boolean;
}

/** An MQTT.js client with everything it received, in order; ended by force when the test ends. */
export class JsClient {
  readonly mqtt: MqttClient;
  /** Whether the broker had the session when the client connected. */
  sessionPresent = false;
  private readonly packets: Packet[] = [];
  private wake: () => void = () => undefined;

  private constructor(mqtt: MqttClient) {
    this.mqtt = mqtt;
    mqtt.on('packetreceive', (packet) => {
      this.packets.push(packet);
      this.wake();
    });
    // A connection that the test or the broker cuts is no failure by itself.
    mqtt.on('error', () => undefined);
  }

  /** Connects; clean, MQTT 5 and without reconnecting by itself unless told otherwise. */
  static async connect(t: Test, port: number, options: IClientOptions = {}): Promise<JsClient> {
    const client = JsClient.start(t, port, options);
    const connected = new Promise<void>((resolve) => client.mqtt.once('connect', () => resolve()));
    const { sessionPresent } = await client.packet('connack');
    await connected;
    client.sessionPresent = sessionPresent;
    return client;
  }

  /** Begins to connect: for a CONNECT that the broker is to refuse. `options` may name another protocol than `mqtt`. */
  static start(t: Test, port: number, options: IClientOptions = {}): JsClient {
    const all: IClientOptions = { protocolVersion: 5, reconnectPeriod: 0, connectTimeout: 60_000, ...options };
    // Listeners stand before the first byte: a queued message may come in one chunk with CONNACK.
    const client = new JsClient(connect({ protocol: 'mqtt', host: '127.0.0.1', port, ...all }));
    t.teardown(() => client.mqtt.endAsync(true));
    return client;
  }

  /** The next packet of a type that has come since it was asked for last, and fits. */
  async packet<Command extends Packet['cmd']>(
    command: Command,
    fits: (packet: PacketOf<Command>) => boolean = () => true,
  ): Promise<PacketOf<Command>> {
    const isWanted = (packet: Packet): packet is PacketOf<Command> =>
      packet.cmd === command && fits(packet as PacketOf<Command>);
    const search = async (): Promise<PacketOf<Command>> => {
      for (;;) {
        const at = this.packets.findIndex(isWanted);
        const [packet] = at === -1 ? [] : this.packets.splice(at, 1);
        if (packet !== undefined && isWanted(packet)) return packet;
        await new Promise<void>((resolve) => {
          this.wake = resolve;
        });
      }
    };
    return withDeadline(search(), () => `${this.mqtt.options.clientId} got no ${command}`);
  }

  /** The next message whose topic begins so. */
  async message(topic = ''): Promise<Arrived> {
    return arrivedOf(await this.packet('publish', (packet) => packet.topic.startsWith(topic)));
  }

  /** As many messages as asked for, in the order in which they came. */
  async messages(count: number, topic = ''): Promise<Arrived[]> {
    const found: Arrived[] = [];
    while (found.length < count) found.push(await this.message(topic));
    return found;
  }

  /** Messages that came and have not been asked for. */
  unread(): Arrived[] {
    return this.packets.flatMap((packet) => (packet.cmd === 'publish' ? [arrivedOf(packet)] : []));
  }

  /** Cuts the connection without DISCONNECT. */
  async cut(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.mqtt.once('close', resolve));
    this.mqtt.stream.destroy();
    await closed;
  }

  /** Says DISCONNECT and closes. */
  async end(): Promise<void> {
    await this.mqtt.endAsync();
  }
}

function arrivedOf(packet: PacketOf<'publish'>): Arrived {
  const { topic, payload, qos, retain } = packet;
  return { topic, text: payload.toString(), qos, retain };
}
