/** The part of a structured logger the broker uses; pino fits as it is. */
export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

const nothing = (): void => undefined;

/** Discards everything: the default of an embedded broker and of tests. */
export const silentLog: Log = { debug: nothing, info: nothing, warn: nothing, error: nothing };
