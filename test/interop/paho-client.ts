import type { Test } from 'tap';
import type { Running } from '../helpers/command.js';
import { withDeadline } from '../helpers/deadline.js';
import { startPython } from '../helpers/real-clients.js';

/** Takes commands as lines of JSON on stdin and tells events likewise on stdout. For Paho's version 1 API. */
const program = `
import json, sys
import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

setup = json.loads(sys.argv[1])
five = setup['version'] == 5

def tell(**event):
    print(json.dumps(event), flush=True)

def fill(packet_type, values):
    properties = Properties(packet_type)
    for name, value in (values or {}).items():
        if name == 'CorrelationData':
            value = value.encode()
        if name == 'UserProperty':
            value = [tuple(pair) for pair in value]
        setattr(properties, name, value)
    return properties

def on_connect(client, userdata, flags, code, properties=None):
    tell(event='connected', code=code if isinstance(code, int) else code.value, present=flags['session present'])

def on_disconnect(client, userdata, code, properties=None):
    tell(event='disconnected')

def on_message(client, userdata, message):
    properties = message.properties.json() if five and message.properties is not None else {}
    tell(event='message', topic=message.topic, text=message.payload.decode(), qos=message.qos,
         retain=bool(message.retain), properties=properties)

def on_publish(client, userdata, mid):
    tell(event='published')

def on_subscribe(client, userdata, mid, codes, properties=None):
    tell(event='subscribed', codes=[code if isinstance(code, int) else code.value for code in codes])

def on_unsubscribe(client, userdata, mid, properties=None, codes=None):
    tell(event='unsubscribed')

if five:
    client = mqtt.Client(client_id=setup['clientId'], protocol=mqtt.MQTTv5)
else:
    client = mqtt.Client(client_id=setup['clientId'], clean_session=setup['clean'], protocol=mqtt.MQTTv311)
for name in ('connect', 'disconnect', 'message', 'publish', 'subscribe', 'unsubscribe'):
    setattr(client, 'on_' + name, globals()['on_' + name])
tls = setup.get('tls')
if tls:
    client.tls_set(ca_certs=tls['caFile'], certfile=tls['certificateFile'], keyfile=tls['keyFile'])
will = setup.get('will')
if will:
    client.will_set(will['topic'], will['text'], will['qos'], will['retain'])
if five:
    properties = fill(PacketTypes.CONNECT, {'SessionExpiryInterval': 0 if setup['clean'] else 600})
    client.connect('127.0.0.1', setup['port'], 60, clean_start=setup['clean'], properties=properties)
else:
    client.connect('127.0.0.1', setup['port'], 60)
client.loop_start()

for line in sys.stdin:
    command = json.loads(line)
    what = command['do']
    if what == 'subscribe':
        filters = [(name, SubscribeOptions(qos=qos) if five else qos) for name, qos in command['filters']]
        client.subscribe(filters)
    elif what == 'unsubscribe':
        client.unsubscribe(command['filters'])
    elif what == 'publish':
        properties = fill(PacketTypes.PUBLISH, command.get('properties')) if five else None
        client.publish(command['topic'], command['text'], command['qos'], command.get('retain', False), properties)
    elif what == 'end':
        client.disconnect()
`;

/** What a Paho client is set up with. */
export interface PahoSetup {
  readonly version: 4 | 5;
  readonly port: number;
  readonly clientId?: string;
  readonly clean?: boolean;
  /** Speaks TLS: whom to trust, and what to show. */
  readonly tls?: { readonly caFile: string; readonly certificateFile: string; readonly keyFile: string };
  readonly will?: { readonly topic: string; readonly text: string; readonly qos: number; readonly retain: boolean };
}

/** A message as Paho hands it to the application. */
export interface PahoMessage {
  readonly topic: string;
  readonly text: string;
  readonly qos: number;
  readonly retain: boolean;
  readonly properties: Readonly<Record<string, unknown>>;
}

type Event = Readonly<Record<string, unknown>>;

/** A Paho Python client in a process of its own. */
export class PahoClient {
  sessionPresent = false;
  private readonly running: Running;
  private readonly events: Event[] = [];
  private partial = '';
  private wake: () => void = () => undefined;

  private constructor(running: Running) {
    this.running = running;
    running.child.stdout?.on('data', this.onOutput);
  }

  /** Starts it and resolves when it is connected. @param path of the interpreter, from `findClient` */
  static async connect(t: Test, path: string, setup: PahoSetup): Promise<PahoClient> {
    const { version, port, clientId = '', clean = true, tls = null, will = null } = setup;
    const given = JSON.stringify({ version, port, clientId, clean, tls, will });
    const client = new PahoClient(startPython(t, path, program, [given]));
    const { code, present } = await client.event('connected');
    if (code !== 0) throw new Error(`Paho was refused: ${String(code)}`);
    // At version 5 Paho gives the flag as a number.
    client.sessionPresent = Boolean(present);
    return client;
  }

  /** The QoS granted, or the reason code, for each filter. */
  async subscribe(...filters: readonly (readonly [string, number])[]): Promise<unknown> {
    this.command({ do: 'subscribe', filters });
    return (await this.event('subscribed')).codes;
  }

  async unsubscribe(...filters: readonly string[]): Promise<void> {
    this.command({ do: 'unsubscribe', filters });
    await this.event('unsubscribed');
  }

  /** Resolves when Paho takes the message for published: sent, acknowledged or completed, by its QoS. */
  async publish(
    topic: string,
    text: string,
    qos: number,
    more: { readonly retain?: boolean; readonly properties?: Readonly<Record<string, unknown>> } = {},
  ): Promise<void> {
    this.command({ do: 'publish', topic, text, qos, ...more });
    await this.event('published');
  }

  /** The next message, without its properties. */
  async message(): Promise<Omit<PahoMessage, 'properties'>> {
    const { properties: _, ...rest } = await this.whole();
    return rest;
  }

  /** The next message. */
  async whole(): Promise<PahoMessage> {
    const { event: _, ...message } = await this.event('message');
    return message as unknown as PahoMessage;
  }

  async messages(count: number): Promise<Omit<PahoMessage, 'properties'>[]> {
    const found: Omit<PahoMessage, 'properties'>[] = [];
    while (found.length < count) found.push(await this.message());
    return found;
  }

  /** Says DISCONNECT. */
  async end(): Promise<void> {
    this.command({ do: 'end' });
    await this.event('disconnected');
    await this.kill();
  }

  /** Dies without DISCONNECT. */
  async kill(): Promise<void> {
    await this.running.kill('SIGKILL');
  }

  private command(command: object): void {
    this.running.child.stdin?.write(`${JSON.stringify(command)}\n`);
  }

  /** The next event of a kind that has not been asked for. */
  private async event(name: string): Promise<Event> {
    const isWanted = ({ event }: Event): boolean => event === name;
    const search = async (): Promise<Event> => {
      for (;;) {
        const at = this.events.findIndex(isWanted);
        const [event] = at === -1 ? [] : this.events.splice(at, 1);
        if (event !== undefined) return event;
        await new Promise<void>((resolve) => {
          this.wake = resolve;
        });
      }
    };
    return withDeadline(search(), () => `Paho told no '${name}'; it wrote: ${this.running.stderr}`);
  }

  private readonly onOutput = (text: string): void => {
    const lines = (this.partial + text).split('\n');
    this.partial = lines.pop() ?? '';
    for (const line of lines) this.events.push(JSON.parse(line) as Event);
    this.wake();
  };
}
