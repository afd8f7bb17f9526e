import { CountersignError } from '../base/errors.js';
import {
  bridgeDirectives,
  directiveNotes,
  globalDirectives,
  isUntranslatable,
  listenerDirectives,
  structuralDirectives,
  type Translation,
} from './mosquitto-directives.js';
import { nearestPath } from './problems.js';
import { optionFacts, parseOptions } from './schema.js';

/** Something that did not come over as it was. */
export interface ImportNote extends Place {
  readonly text: string;
}

/** Where something was written. */
export interface Place {
  /** Null for the file that is imported, else one of a directory that it includes. */
  readonly file: string | null;
  /** From 1; 0 for the file as a whole. */
  readonly line: number;
}

/** A file of a directory that is included. */
export interface IncludedFile {
  readonly name: string;
  readonly text: string;
}

/** What became of a `mosquitto.conf`. */
export interface ImportedConfiguration {
  /** Options that `parseOptions` accepts. */
  readonly options: Readonly<Record<string, unknown>>;
  readonly notes: readonly ImportNote[];
}

interface ListenerDraft {
  readonly line: Place;
  port: number;
  host: string;
  /** Path of a Unix socket, in place of host and port. */
  readonly socket: string | null;
  isWebSocket: boolean;
  /** What is said of it alone, with `per_listener_settings`. */
  allowsAnonymous: boolean;
  readonly options: Record<string, unknown>;
}

const asAWhole: Place = { file: null, line: 0 };
const defaultPort = 1883;
const allInterfaces = '0.0.0.0';
/** What a packet has besides its payload. */
const packetOverhead = 128 * 1024;
const levels = ['silent', 'error', 'warn', 'info', 'debug'] as const;
const levelOfType: Readonly<Record<string, (typeof levels)[number]>> = {
  none: 'silent',
  error: 'error',
  warning: 'warn',
  notice: 'info',
  information: 'info',
  subscribe: 'debug',
  unsubscribe: 'debug',
  websockets: 'info',
  debug: 'debug',
  all: 'debug',
};

/**
 * Translates a `mosquitto.conf`: what has an option here becomes one, and everything else is told with its line.
 *
 * ```
 * listener 8883                 listeners: [{ type: tls, host: 0.0.0.0, port: 8883, …
 * certfile server.crt      →                  certificateFile: server.crt }]
 * max_queued_messages 0         maximumQueuedMessages: 0
 * connection cloud              (a note: there are no bridges)
 * ```
 * @param include what reads the files of a directory, in their order; null if they can not be read
 */
export function importMosquitto(
  text: string,
  include: (directory: string) => readonly IncludedFile[] | null = () => null,
): ImportedConfiguration {
  return new Import(include).run(text);
}

class Import {
  private readonly include: (directory: string) => readonly IncludedFile[] | null;
  private readonly options: Record<string, unknown> = {};
  private readonly listeners: ListenerDraft[] = [];
  private readonly notes: ImportNote[] = [];
  private current: ListenerDraft | null = null;
  /** The listener of `port` and `bind_address`, wherever they stand, and of what comes before the first `listener`. */
  private usual: ListenerDraft | null = null;
  private isPerListener = false;
  private isInBridge = false;
  private persistence: { readonly line: Place; readonly location: string } | null = null;
  private logLevel: (typeof levels)[number] | null = null;

  constructor(include: (directory: string) => readonly IncludedFile[] | null) {
    this.include = include;
  }

  run(text: string): ImportedConfiguration {
    this.takeFile(null, text);
    this.finish();
    return { options: this.checked(), notes: this.notes };
  }

  private takeFile(file: string | null, text: string): void {
    let line = 0;
    for (const directive of text.split('\n')) this.takeLine(directive.trim(), { file, line: ++line });
  }

  private takeLine(line: string, place: Place): void {
    // Only a line that begins so is a comment: passwords and topics may hold the character.
    if (line === '' || line.startsWith('#')) return;
    const space = line.search(/\s/);
    const name = space < 0 ? line : line.slice(0, space);
    const value = space < 0 ? '' : line.slice(space).trim();
    try {
      this.take(name, value, place);
    } catch (error) {
      if (!isUntranslatable(error)) throw error;
      this.note(place, `${name}: ${error.message}`);
    }
  }

  private take(name: string, value: string, line: Place): void {
    const global = own(globalDirectives, name);
    const ofListener = own(listenerDirectives, name);
    const why = own(directiveNotes, name);
    if (bridgeDirectives.has(name) || name.startsWith('bridge_')) {
      if (!this.isInBridge) this.note(line, `${name}: not supported: there are no bridges`);
    } else if (name.startsWith('auth_opt_') || name.startsWith('plugin_opt_')) {
      this.note(line, `${name}: ${directiveNotes.plugin}`);
    } else if (structuralDirectives.has(name)) this.takeStructural(name, value, line);
    else if (global !== undefined) this.takeGlobal(name, global, value, line);
    else if (ofListener !== undefined) this.takeOfListener(ofListener, value, line);
    else if (why !== undefined) this.note(line, `${name}: ${why}`);
    else this.note(line, `${name}: unknown; the nearest directive is ${nearestDirective(name)}`);
  }

  private takeStructural(name: string, value: string, line: Place): void {
    switch (name) {
      case 'listener':
        this.beginListener(value, line);
        return;
      case 'port':
        this.isInBridge = false;
        this.usualListener(line).port = Number(value);
        return;
      case 'bind_address':
        this.usualListener(line).host = value;
        return;
      case 'protocol':
        this.takeProtocol(value, line);
        return;
      case 'websockets_origin':
        this.listenerAt(line).options.allowedOrigins = [value];
        return;
      case 'per_listener_settings':
        this.isPerListener = value === 'true';
        return;
      case 'persistence':
        if (value === 'true') this.persistence = { line, location: this.persistence?.location ?? '' };
        else this.options.memory = true;
        return;
      case 'persistence_location':
        this.persistence = { line, location: value };
        return;
      case 'log_type':
        this.takeLogType(value, line);
        return;
      case 'log_dest':
        if (value !== 'stderr')
          this.note(line, `log_dest ${value}: logs go to stderr; let the service manager keep them`);
        return;
      case 'include_dir':
        this.takeDirectory(value, line);
        return;
      default:
        this.isInBridge = true;
        this.note(
          line,
          `connection ${value}: not supported: there are no bridges; the directives of this one are skipped`,
        );
    }
  }

  /** As there, files of an included directory include no others. */
  private takeDirectory(directory: string, line: Place): void {
    const files = line.file === null ? this.include(directory) : null;
    if (files === null) this.note(line, `include_dir ${directory}: not read: import its files one by one`);
    for (const { name, text } of files ?? []) this.takeFile(name, text);
  }

  private beginListener(value: string, line: Place): void {
    const [portText = '', address] = value.split(/\s+/);
    this.isInBridge = false;
    const port = Number(portText);
    const socket = port === 0 && address?.startsWith('/') ? address : null;
    this.current = this.addListener(line, port, address ?? allInterfaces, socket);
  }

  private addListener(line: Place, port: number, host: string, socket: string | null): ListenerDraft {
    const draft = { line, port, host, socket, isWebSocket: false, allowsAnonymous: false, options: {} };
    this.listeners.push(draft);
    return draft;
  }

  private usualListener(line: Place): ListenerDraft {
    this.usual ??= this.addListener(line, defaultPort, allInterfaces, null);
    return this.usual;
  }

  /** The listener that a directive is about: the one that began last, else the usual one. */
  private listenerAt(line: Place): ListenerDraft {
    return this.current ?? this.usualListener(line);
  }

  private takeProtocol(value: string, line: Place): void {
    if (value === 'mqtt') return;
    if (value !== 'websockets') {
      this.note(line, `protocol ${value}: not supported: allowed are mqtt and websockets`);
      return;
    }
    this.listenerAt(line).isWebSocket = true;
    this.note(line, 'protocol websockets: clients must ask for the path /mqtt; see listeners[].path');
  }

  private takeLogType(value: string, line: Place): void {
    const level = own(levelOfType, value);
    if (level === undefined) this.note(line, `log_type ${value}: unknown`);
    else if (this.logLevel === null || levels.indexOf(level) > levels.indexOf(this.logLevel)) this.logLevel = level;
  }

  private takeGlobal(name: string, { option, value }: Translation, text: string, line: Place): void {
    const translated = value(text);
    if (translated === undefined) return;
    if (option === 'allowAnonymous' && this.isPerListener) {
      this.listenerAt(line).allowsAnonymous = translated === true;
      return;
    }
    const before = this.options[option];
    if (before !== undefined && before !== translated) {
      const reason = this.isPerListener ? 'all listeners share it here' : 'it was given before';
      this.note(line, `${name} ${text}: not taken over: ${reason}, as ${String(before)}`);
      return;
    }
    this.options[option] = translated;
  }

  private takeOfListener({ option, value }: Translation, text: string, line: Place): void {
    const translated = value(text);
    if (translated === undefined) return;
    const { options } = this.listenerAt(line);
    // Told to take the user from both, Mosquitto takes the common name.
    if (options[option] !== 'commonName') options[option] = translated;
    if (option === 'proxyProtocol') {
      this.note(
        line,
        'enable_proxy_protocol: any version is taken; name the proxies in trustedProxies of the listener',
      );
    }
    if (option === 'mountPoint' && !text.endsWith('/')) {
      options[option] = `${text}/`;
      this.note(line, `mount_point ${text}: a mount point is whole levels here: ${text}/`);
    }
  }

  private finish(): void {
    const { options, listeners, persistence } = this;
    if (persistence !== null && options.memory !== true) {
      if (persistence.location !== '') options.data = `${persistence.location.replace(/\/+$/, '')}/countersign`;
      this.note(persistence.line, 'persistence: what is in mosquitto.db does not come over; the store begins empty');
    }
    if (this.logLevel !== null) options.logLevel = this.logLevel;
    if (this.isPerListener) this.joinAnonymous();
    // Mosquitto lets nobody in without a name once there is a listener, unless told otherwise.
    if (listeners.length > 0 && options.allowAnonymous === undefined) options.allowAnonymous = false;
    this.raisePacketSize();
    if (listeners.length > 0) {
      const finished = listeners.map((draft) => ({ listener: this.finishListener(draft), place: draft.line }));
      const accepted = finished.filter(({ listener, place }) => this.isAccepted({ listeners: [listener] }, place));
      if (accepted.length > 0) options.listeners = accepted.map(({ listener }) => listener);
    }
    if (this.isPerListener) {
      this.note(
        asAWhole,
        'per_listener_settings: passwords, access rules and allow_anonymous hold for all listeners here',
      );
    }
  }

  /** One answer for all listeners must be that of the strictest. */
  private joinAnonymous(): void {
    const { listeners } = this;
    const open = listeners.filter(({ allowsAnonymous }) => allowsAnonymous);
    if (open.length > 0) this.options.allowAnonymous = open.length === listeners.length;
    if (this.options.allowAnonymous !== false) return;
    for (const { line } of open) {
      this.note(line, 'allow_anonymous true: not taken over: it would hold for the other listeners too');
    }
  }

  private raisePacketSize(): void {
    const { maximumMessageSize, maximumPacketSize } = this.options;
    const usual = optionFacts().find(({ path }) => path === 'maximumPacketSize')?.fallback;
    if (maximumPacketSize !== undefined || typeof maximumMessageSize !== 'number' || typeof usual !== 'number') return;
    const needed = maximumMessageSize + packetOverhead;
    if (needed > usual) this.options.maximumPacketSize = Math.min(needed, 268_435_460);
  }

  private finishListener({ line, port, host, socket, isWebSocket, options }: ListenerDraft): object {
    const { certificateFile, keyFile } = options;
    const isTls = certificateFile !== undefined && keyFile !== undefined;
    if (isTls !== (certificateFile !== undefined || keyFile !== undefined)) {
      this.note(line, 'listener: certfile and keyfile belong together');
    }
    const type = isWebSocket ? (isTls ? 'wss' : 'ws') : isTls ? 'tls' : 'tcp';
    const allows = this.options.allowAnonymous === true;
    this.dropUnusedTlsOptions(line, isTls && socket === null, options);
    if (socket !== null) {
      if (type !== 'tcp') this.note(line, `listener 0 ${socket}: it speaks plain MQTT here, without TLS or WebSocket`);
      const { certificateFile: _certificate, keyFile: _key, ...others } = options;
      return { type: 'unix', path: socket, ...others };
    }
    return { type, host, port, ...options, ...(allows ? { allowAnonymous: true } : {}) };
  }

  /** Clients that are not asked for certificates need nothing to verify them by. */
  private dropUnusedTlsOptions(line: Place, isTls: boolean, options: Record<string, unknown>): void {
    if (!isTls) delete options.minimumTlsVersion;
    if (options.clientCertificates !== undefined) return;
    delete options.caFile;
    for (const option of ['crlFile', 'userFromCertificate']) {
      if (options[option] === undefined) continue;
      this.note(line, `listener: ${option} has no effect without require_certificate true`);
      delete options[option];
    }
  }

  /** What is left out because its value is not allowed here is told; the rest is sure to be accepted. */
  private checked(): Record<string, unknown> {
    const kept: Record<string, unknown> = {};
    for (const [key, value] of Object.entries(this.options)) {
      if (this.isAccepted({ [key]: value }, asAWhole)) kept[key] = value;
    }
    return kept;
  }

  private isAccepted(options: object, place: Place): boolean {
    try {
      parseOptions(options, '');
      return true;
    } catch (error) {
      if (!(error instanceof CountersignError)) throw error;
      for (const problem of error.message.split('\n')) this.note(place, `left out: ${problem}`);
      return false;
    }
  }

  private note(place: Place, text: string): void {
    this.notes.push({ ...place, text });
  }
}

/** A member of a table, but nothing that every object has. */
function own<T>(table: Readonly<Record<string, T>>, name: string): T | undefined {
  return Object.hasOwn(table, name) ? table[name] : undefined;
}

function nearestDirective(name: string): string {
  return nearestPath(name, [
    ...Object.keys(globalDirectives),
    ...Object.keys(listenerDirectives),
    ...Object.keys(directiveNotes),
    ...structuralDirectives,
    ...bridgeDirectives,
  ]);
}
