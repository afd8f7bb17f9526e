/** How one directive of Mosquitto becomes an option: its path, and its value from the text behind the directive. */
export interface Translation {
  readonly option: string;
  /** Undefined if the option is to be left out: our default says the same. */
  readonly value: (text: string) => unknown;
}

class Untranslatable extends Error {}

/** A value that Mosquitto would refuse as well. */
export function isUntranslatable(error: unknown): error is Error {
  return error instanceof Untranslatable;
}

const truth = (text: string): boolean => {
  if (text === 'true') return true;
  if (text === 'false') return false;
  throw new Untranslatable(`"${text}" is neither true nor false`);
};

const whole = (text: string): number => {
  if (/^-?\d+$/.test(text)) return Number(text);
  throw new Untranslatable(`"${text}" is not a whole number`);
};

/** 0 and less are no bound there; `none` says so here. */
const bound =
  (none: number | undefined) =>
  (text: string): number | undefined => {
    const value = whole(text);
    return value > 0 ? value : none;
  };

const day = 86_400;
const units: Readonly<Record<string, number>> = { h: 3600, d: day, w: 7 * day, m: 30 * day, y: 365 * day };

const duration = (text: string): number => {
  const [, count, unit = ''] = /^(\d+)([hdwmy])$/.exec(text) ?? [];
  const seconds = units[unit];
  if (count === undefined || seconds === undefined) throw new Untranslatable(`"${text}" is not a time such as 2w`);
  return Number(count) * seconds;
};

const path = (text: string): string => text;

const whenTrue =
  (value: string) =>
  (text: string): string | undefined =>
    truth(text) ? value : undefined;

const tlsVersion = (text: string): string => {
  if (text === 'tlsv1.3') return 'TLSv1.3';
  if (text === 'tlsv1.2') return 'TLSv1.2';
  throw new Untranslatable(`"${text}" is not spoken; TLS begins with tlsv1.2`);
};

const to = (option: string, value: Translation['value']): Translation => ({ option, value });

/** Directives with one option of the whole broker. */
export const globalDirectives: Readonly<Record<string, Translation>> = {
  allow_anonymous: to('allowAnonymous', truth),
  password_file: to('passwordFile', path),
  acl_file: to('accessFile', path),
  allow_zero_length_clientid: to('allowEmptyClientId', truth),
  max_inflight_messages: to('maximumInflightMessages', bound(65_535)),
  max_inflight_bytes: to('maximumInflightBytes', bound(0)),
  max_queued_messages: to('maximumQueuedMessages', bound(0)),
  max_queued_bytes: to('maximumQueuedBytes', bound(0)),
  queue_qos0_messages: to('queueQos0Messages', truth),
  max_packet_size: to('maximumPacketSize', bound(268_435_460)),
  message_size_limit: to('maximumMessageSize', bound(0)),
  max_keepalive: to('maximumKeepAlive', bound(undefined)),
  persistent_client_expiration: to('maximumSessionExpiry', duration),
  retain_available: to('retainAvailable', truth),
  upgrade_outgoing_qos: to('upgradeOutgoingQos', truth),
  sys_interval: to('sysInterval', whole),
  // Of a listener there, of the broker here.
  max_qos: to('maximumQos', whole),
  max_topic_alias: to('topicAliasMaximum', whole),
  max_topic_alias_broker: to('outboundTopicAliasMaximum', whole),
  // Of 2.1.
  global_max_clients: to('maximumSessions', bound(undefined)),
  global_max_connections: to('maximumConnections', bound(undefined)),
};

/** Directives with one option of their listener. */
export const listenerDirectives: Readonly<Record<string, Translation>> = {
  certfile: to('certificateFile', path),
  keyfile: to('keyFile', path),
  cafile: to('caFile', path),
  crlfile: to('crlFile', path),
  require_certificate: to('clientCertificates', whenTrue('required')),
  use_identity_as_username: to('userFromCertificate', whenTrue('commonName')),
  use_subject_as_username: to('userFromCertificate', whenTrue('subject')),
  tls_version: to('minimumTlsVersion', tlsVersion),
  // Of 2.1.
  enable_proxy_protocol: to('proxyProtocol', (text) => (whole(text) > 0 ? true : undefined)),
  mount_point: to('mountPoint', path),
  max_connections: to('maximumConnections', bound(undefined)),
};

const ignored = (reason: string): string => `not needed: ${reason}`;
const unsupported = (reason: string): string => `not supported: ${reason}`;

/** Directives without an option, and why. */
export const directiveNotes: Readonly<Record<string, string>> = {
  user: ignored('start it as the user that it should run as'),
  pid_file: ignored('it stays in the foreground; whoever starts it knows its process'),
  set_tcp_nodelay: ignored('it always is'),
  autosave_interval: ignored('what is acknowledged is on the disk'),
  autosave_on_changes: ignored('what is acknowledged is on the disk'),
  persistence_file: ignored('the store is a directory of its own; mosquitto.db can not be read'),
  retained_persistence: ignored('retained messages are stored with everything else'),
  log_timestamp: ignored('every line has its time'),
  log_timestamp_format: ignored('times are in ISO 8601'),
  log_facility: ignored('logs go to stderr; let the service manager keep them'),
  connection_messages: ignored('they are at logLevel info'),
  socket_domain: ignored('say it by the address of the listener'),
  websockets_headers_size: ignored('headers may have 8 KiB'),
  websockets_log_level: ignored('there is one logLevel'),
  allow_duplicate_messages: ignored('a client gets one copy, whatever its subscriptions'),
  capath: unsupported('put the certificates of that directory into one caFile'),
  tls_engine: unsupported('keys are read from files'),
  ciphers: unsupported("Node's ciphers are used"),
  'ciphers_tls1.3': unsupported("Node's ciphers are used"),
  dhparamfile: unsupported("Node's parameters are used"),
  psk_file: unsupported('there is TLS with certificates only'),
  psk_hint: unsupported('there is TLS with certificates only'),
  bind_interface: unsupported('give the address of the interface'),
  http_dir: unsupported('it serves no files'),
  use_username_as_clientid: unsupported(
    'clientIdTemplate: "%u" refuses clients whose identifier is not their user name',
  ),
  clientid_prefixes: unsupported('clientIdTemplate binds identifiers to users'),
  auto_id_prefix: unsupported('identifiers that it assigns begin with auto-'),
  check_retain_source: unsupported('rights are checked when a retained message is sent'),
  memory_limit: unsupported('each queue has a bound of its own, see docs/configuration.md'),
  max_inflight_size: unsupported('see maximumInflightBytes'),
  auth_plugin: unsupported('an embedding program has hooks, see docs/security.md'),
  plugin: unsupported('an embedding program has hooks, see docs/security.md'),
  auth_plugin_deny_special_chars: unsupported('an embedding program has hooks, see docs/security.md'),
  tls_keyform: unsupported('keys are read from files, in PEM'),
  tls_engine_kpass_sha1: unsupported('keys are read from files, in PEM'),
  // Of versions before 2.0.
  retry_interval: ignored('messages are repeated when their client comes back'),
  store_clean_interval: ignored('nothing has to be cleaned up'),
  // Of 2.1.
  accept_protocol_versions: unsupported('all versions are spoken on every listener'),
  disable_client_cert_date_checks: unsupported('certificates that have expired are refused'),
  enable_control_api: unsupported('see countersign clients, countersign sessions and docs/operation.md'),
  http_api: unsupported('it serves no files; for what is measured see metrics in docs/operation.md'),
  listener_allow_anonymous: unsupported('one set of users is let in, whatever the listener'),
  listener_auto_id_prefix: unsupported('identifiers that it assigns begin with auto-'),
  packet_buffer_size: ignored('buffers grow with what comes'),
  global_plugin: unsupported('an embedding program has hooks, see docs/security.md'),
  plugin_load: unsupported('an embedding program has hooks, see docs/security.md'),
  plugin_use: unsupported('an embedding program has hooks, see docs/security.md'),
  proxy_protocol_v2_require_tls: unsupported('let the proxy take no connections without TLS'),
  retain_expiry_interval: unsupported('publishers say how long a message lives'),
};

/** Directives of a bridge; those of its connection stand for all of them. */
export const bridgeDirectives: ReadonlySet<string> = new Set([
  'address',
  'addresses',
  'topic',
  'cleansession',
  'clientid',
  'idle_timeout',
  'keepalive_interval',
  'local_clientid',
  'local_cleansession',
  'local_password',
  'local_username',
  'notification_topic',
  'notifications',
  'notifications_local_only',
  'password',
  'remote_clientid',
  'remote_password',
  'remote_username',
  'restart_timeout',
  'round_robin',
  'start_type',
  'threshold',
  'try_private',
  'username',
]);

/** Directives that `importMosquitto` handles itself. */
export const structuralDirectives: ReadonlySet<string> = new Set([
  'listener',
  'port',
  'bind_address',
  'protocol',
  'websockets_origin',
  'per_listener_settings',
  'persistence',
  'persistence_location',
  'log_type',
  'log_dest',
  'connection',
  'include_dir',
]);
