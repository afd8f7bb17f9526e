import { spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import type { Test } from 'tap';
import { cleanEnvironment, Running } from './command.js';

/** A client program that tests drive, and the Debian package that has it. */
export const RealClient = {
  mosquittoPub: { program: 'mosquitto_pub', package: 'mosquitto-clients' },
  mosquittoSub: { program: 'mosquitto_sub', package: 'mosquitto-clients' },
  mosquitto: { program: 'mosquitto', package: 'mosquitto' },
  mosquittoPasswd: { program: 'mosquitto_passwd', package: 'mosquitto' },
  openssl: { program: 'openssl', package: 'openssl' },
  paho: { program: 'python3', package: 'python3-paho-mqtt' },
} as const;
export type RealClient = (typeof RealClient)[keyof typeof RealClient];

/** Debian's own interpreter, the one that sees Debian's packages, whatever `python3` comes first on PATH. */
const systemPython = '/usr/bin/python3';

/**
 * The program's path; undefined if it is not installed: then the test has been skipped with a message that names what
 * to install, or, where COUNTERSIGN_REQUIRE_CLIENTS is set, as in CI, has failed.
 *
 * Use as `const path = findClient(t, RealClient.mosquittoPub); if (path === undefined) return;`
 */
export function findClient(t: Test, client: RealClient): string | undefined {
  const path = client === RealClient.paho ? findPaho() : findProgram(client.program);
  if (path !== undefined) return path;
  const message = `${client.package} is not installed (apt-get install ${client.package})`;
  if (process.env.COUNTERSIGN_REQUIRE_CLIENTS !== undefined) t.fail(message);
  else t.pass(`skipped: ${message}`, { skip: message });
  return undefined;
}

/** Starts a client with its output collected; killed when the test ends. */
export function startClient(t: Test, path: string, args: readonly string[]): Running {
  return new Running(t, path, args, cleanEnvironment());
}

/** Starts a Python program, given as its text, in the interpreter that has Paho. */
export function startPython(t: Test, path: string, text: string, args: readonly string[] = []): Running {
  return new Running(t, path, ['-u', '-c', text, ...args], cleanEnvironment());
}

function findPaho(): string | undefined {
  const { status } = spawnSync(systemPython, ['-c', 'import paho.mqtt.client'], { stdio: 'ignore' });
  return status === 0 ? systemPython : undefined;
}

function findProgram(name: string): string | undefined {
  const directories = (process.env.PATH ?? '').split(delimiter).concat('/usr/sbin', '/usr/local/sbin');
  return directories.map((directory) => join(directory, name)).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
