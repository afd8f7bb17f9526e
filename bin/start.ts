import { execFile } from 'node:child_process';
import { isIPv6 } from 'node:net';
import type { Logger } from 'pino';
import { version } from '../lib/base/version.js';
import { loadSettings } from '../lib/config/load.js';
import type { Settings } from '../lib/config/schema.js';
import { Broker, type ListenerAddress } from '../lib/index.js';
import { readConfigurationFile } from './configuration-file.js';
import { describeFailure, ExitCode, sayError } from './failure.js';
import { openLog } from './log.js';
import { passwordVariable } from './mqtt-connection.js';

/** Flags of `countersign start` as the command line gives them. */
export interface StartFlags {
  readonly host?: string;
  readonly port?: string;
  readonly data?: string;
  readonly memory?: boolean;
  readonly durability?: string;
  readonly config?: string;
  readonly logLevel?: string;
}

/** How long an orderly stop may take before the process ends without it. */
const stopDeadlineMs = 4500;
/** A signal this soon after the first is the same one: on Ctrl-C npm passes on what the terminal already sent. */
const sameSignalMs = 500;
const schemes = { tcp: 'mqtt', tls: 'mqtts', ws: 'ws', wss: 'wss' } as const;

/** Runs a broker until a signal ends the process. Rejects if it cannot start. */
export async function start(flags: StartFlags, environment: NodeJS.ProcessEnv): Promise<void> {
  const settings = readSettings(flags, environment);
  const { log, flush } = openLog(settings.logLevel, settings.logFormat);
  const broker = new Broker({ ...settings, log });
  const listening = broker.listen();
  onSignals(async () => {
    // A signal while starting waits for the start, which may fail: then that failure is the end.
    await listening;
    await broker.close();
    await flush();
    process.exit(ExitCode.ok);
  });
  let reloading: Promise<unknown> = listening;
  process.on('SIGHUP', () => {
    reloading = reloading.then(() => reload(broker, log, () => readSettings(flags, environment)));
    // A start that failed has been told already.
    reloading.catch(() => undefined);
  });
  onBugs(log, async () => {
    await broker.close();
    await flush();
  });
  try {
    await listening;
    announce(settings, broker.addresses);
    if (environment.NOTIFY_SOCKET !== undefined) notifySystemd(log);
  } catch (error) {
    await flush();
    throw error;
  }
}

/** Takes up what can change without a restart; where anything is wrong, nothing changes. */
async function reload(broker: Broker, log: Logger, read: () => Settings): Promise<void> {
  try {
    const settings = read();
    const { changed, needRestart } = await broker.reload(settings);
    log.level = settings.logLevel;
    log.info({ changed }, 'reloaded');
    if (needRestart.length > 0) log.warn({ options: needRestart }, 'these options have changed and need a restart');
  } catch (error) {
    log.error({ error: describeFailure(error) }, 'not reloaded: nothing was changed');
  }
}

function readSettings(flags: StartFlags, environment: NodeJS.ProcessEnv): Settings {
  const { config, ...options } = flags;
  const file = config === undefined ? undefined : readConfigurationFile(config);
  // Who names a directory wants it used, whatever a weaker source says.
  const flagOptions = options.data === undefined ? options : { ...options, memory: false };
  // The password of `countersign publish` may be in the environment of whoever starts a broker.
  const { [passwordVariable]: _, ...variables } = environment;
  return loadSettings({ file, environment: variables, flags: flagOptions });
}

/** One line when connections are accepted, which scripts wait for; one more for each further listener. */
function announce(settings: Settings, [first, ...others]: readonly ListenerAddress[]): void {
  if (first === undefined) return;
  const store = settings.memory ? 'memory' : `${settings.data} (${settings.durability})`;
  const lines = [`countersign ${version} ready on ${addressUrl(first)}, data in ${store}`];
  for (const address of others) lines.push(`also listening on ${addressUrl(address)}`);
  // Who started us may have closed stdout, which is no reason to stop.
  process.stdout.on('error', () => undefined);
  process.stdout.write(`${lines.join('\n')}\n`);
}

/**
 * Tells systemd, where it started us and wants to know, that connections are accepted. Node has no datagram sockets of
 * Unix, so systemd's own program does it.
 */
function notifySystemd(log: Logger): void {
  execFile('systemd-notify', ['--ready', `--status=countersign ${version} accepts connections`], (error) => {
    if (error === null) log.debug({}, 'systemd was told that the broker is ready');
    else log.warn({ error: error.message }, 'systemd could not be told that the broker is ready');
  });
}

function addressUrl({ type, host, port, path }: ListenerAddress): string {
  if (type === 'unix') return `unix:${path}`;
  const place = `${isIPv6(host) ? `[${host}]` : host}:${port}`;
  return `${schemes[type]}://${place}${type === 'ws' || type === 'wss' ? (path ?? '') : ''}`;
}

/** First signal: an orderly stop, with a deadline. Second: the end. */
function onSignals(stop: () => Promise<void>): void {
  let firstAtMs = 0;
  const onSignal = (): void => {
    const nowMs = performance.now();
    if (firstAtMs === 0) {
      firstAtMs = nowMs;
      endAfter(stopDeadlineMs, `could not stop within ${stopDeadlineMs / 1000} seconds`, ExitCode.failed);
      stop().catch((error: unknown) => {
        sayError(`could not stop in order: ${error instanceof Error ? error.message : String(error)}`);
        process.exit(ExitCode.failed);
      });
    } else if (nowMs - firstAtMs > sameSignalMs) {
      process.exit(ExitCode.failed);
    }
  };
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);
}

/** An error that nothing caught is a bug: nothing in memory is trusted any more, so record it and end. */
function onBugs(log: Logger, close: () => Promise<void>): void {
  let isEnding = false;
  const onBug = (error: unknown): void => {
    if (isEnding) process.exit(ExitCode.bug);
    isEnding = true;
    log.fatal({ err: error }, 'a bug in countersign: stopping');
    endAfter(stopDeadlineMs, 'could not close the store after an internal error', ExitCode.bug);
    close().then(
      () => process.exit(ExitCode.bug),
      () => process.exit(ExitCode.bug),
    );
  };
  process.on('uncaughtException', onBug);
  process.on('unhandledRejection', onBug);
}

function endAfter(delayMs: number, message: string, exitCode: number): void {
  setTimeout(() => {
    sayError(message);
    process.exit(exitCode);
  }, delayMs).unref();
}
