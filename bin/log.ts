import { type Logger, pino } from 'pino';

/** How long the end may wait for the last log lines to be written. */
const flushDeadlineMs = 300;

export interface OpenLog {
  readonly log: Logger;
  /** Waits for what is not written yet, but not for long. */
  flush(): Promise<void>;
}

/**
 * Log lines on stderr, written in the background.
 * @param format `auto` is for reading on a terminal, else JSON
 */
export function openLog(level: string, format: 'auto' | 'json' | 'pretty'): OpenLog {
  const destination = pino.destination({ fd: 2, sync: false });
  // A broken stderr is no reason to stop a broker, nor to stay: flushSync, which pino calls at the end of the process,
  // tries for ever where a disk is full.
  let isBroken = false;
  destination.on('error', () => {
    isBroken = true;
    destination.flushSync = () => undefined;
  });
  const isPretty = format === 'pretty' || (format === 'auto' && process.stderr.isTTY === true);
  const stream = {
    write(line: string): void {
      if (!isBroken) destination.write(isPretty ? formatLine(line) : escapeControls(line));
    },
    flushSync: () => destination.flushSync(),
  };
  const log = pino({ level, timestamp: pino.stdTimeFunctions.isoTime }, stream);
  const flush = (): Promise<void> =>
    new Promise((resolve) => {
      setTimeout(resolve, flushDeadlineMs);
      destination.flush(() => resolve());
    });
  return { log, flush };
}

const levelNames: Readonly<Record<number, string>> = { 20: 'DEBUG', 30: 'INFO', 40: 'WARN', 50: 'ERROR', 60: 'FATAL' };

/** A JSON line as a line to read: `12:00:00.000 INFO  connected client=sensor-7 address=127.0.0.1:40004`. */
export function formatLine(line: string): string {
  const { level, time, msg, pid: _pid, hostname: _hostname, ...fields } = JSON.parse(line) as Record<string, unknown>;
  const clock = String(time).slice(11, 23);
  const name = (levelNames[Number(level)] ?? String(level)).padEnd(5);
  const pairs = Object.entries(fields).map(([key, value]) => ` ${escapeAll(key)}=${formatValue(value)}`);
  return `${clock} ${name} ${escapeAll(String(msg))}${pairs.join('')}\n`;
}

/** A value as it stands in a line to read: quoted where it has to be, and with its control characters escaped. */
export function formatValue(value: unknown): string {
  const isPlain = typeof value === 'string' && /^[^\s"=\\\p{C}]+$/u.test(value);
  return escapeAll(isPlain ? value : (JSON.stringify(value) ?? 'undefined'));
}

/** What JSON leaves as it is and a terminal may obey or hide: C1 controls, line ends, marks of direction, no width. */
const furtherControls = /[\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/gu;

/** Escapes what a client may have put into its names to fool who reads the log. */
export function escapeControls(line: string): string {
  return line.replace(furtherControls, escapeCharacter);
}

function escapeAll(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not come through
  return escapeControls(text.replace(/[\u0000-\u001f]/g, escapeCharacter));
}

function escapeCharacter(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}
