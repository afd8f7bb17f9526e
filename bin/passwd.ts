import { isUtf8 } from 'node:buffer';
import { type FileHandle, open, readFile, realpath, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { ReadStream } from 'node:tty';
import type { Command } from 'commander';
import { editPasswordFile, parsePasswordFile, userNameProblem } from '../lib/access/password-file.js';
import { defaultIterations, hashPassword, iterationsMax } from '../lib/access/password-hash.js';
import { CountersignError } from '../lib/index.js';
import { wholeNumber } from './mqtt-connection.js';

/** Flags of `countersign passwd` as the command line gives them. */
interface PasswdFlags {
  readonly delete?: boolean;
  readonly iterations: number;
}

/** Only its owner has anything to do with a new file. */
const newFileMode = 0o600;
/** Longest password that MQTT can carry. */
const passwordBytesMax = 65_535;

/** Adds `countersign passwd FILE USER`. */
export function addPasswdCommand(program: Command): void {
  program
    .command('passwd')
    .description("set a user's password in a password file; it is asked for, or taken from stdin")
    .argument('<file>', 'the password file; made where there is none')
    .argument('<user>', 'the user name')
    .option('--delete', 'delete the user instead')
    .option('--iterations <count>', 'rounds of PBKDF2', wholeNumber(1, iterationsMax), defaultIterations)
    .action((file: string, user: string, flags: PasswdFlags) => passwd(file, user, flags));
}

async function passwd(name: string, user: string, flags: PasswdFlags): Promise<void> {
  const problem = userNameProblem(user);
  if (problem !== null) throw wrong(problem);
  // Whoever keeps the file elsewhere, with a link to it, goes on doing so.
  const file = await realpath(name).catch(() => name);
  await refuseOthersThanFiles(name, file);
  const text = await readText(file);
  if (text !== null) parsePasswordFile(name, text);
  const hash = flags.delete === true ? null : await hashPassword(await readPassword(user), flags.iterations);
  const edited = editPasswordFile(text ?? '', user, hash);
  if (edited === null) throw new CountersignError('ERR_COUNTERSIGN_PASSWD', `${name}: there is no user ${user}`);
  await replaceFile(file, edited);
}

/** A device or pipe would be replaced by a file of its name. */
async function refuseOthersThanFiles(name: string, file: string): Promise<void> {
  const found = await stat(file).catch(() => null);
  if (found !== null && !found.isFile()) throw wrong(`${name} is not a file: nothing was changed`);
}

async function readText(file: string): Promise<string | null> {
  const bytes = await readFile(file).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw cannot('read', file, error);
  });
  // What can not be decoded could not be written back as it was.
  if (bytes !== null && !isUtf8(bytes)) throw wrong(`${file} is not in UTF-8: nothing was changed`);
  return bytes === null ? null : bytes.toString('utf8');
}

/** Puts a new file in the place of the old one: a broker that reads it meanwhile gets one of the two, whole. */
async function replaceFile(file: string, text: string): Promise<void> {
  const draft = join(dirname(file), `.${process.pid}.passwd.new`);
  try {
    const handle = await open(draft, 'wx', newFileMode);
    try {
      await handle.writeFile(text);
      await keepReaders(handle, file);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(draft, file);
  } catch (error) {
    await rm(draft, { force: true }).catch(() => undefined);
    throw cannot('written', file, error);
  }
}

/** Whoever could read the old file, such as the group of the broker, can read the new one. */
async function keepReaders(draft: FileHandle, file: string): Promise<void> {
  const before = await stat(file).catch(() => null);
  if (before === null) return;
  const { uid, gid } = await draft.stat();
  if (uid !== before.uid || gid !== before.gid) await draft.chown(before.uid, before.gid);
  await draft.chmod(before.mode & 0o777);
}

async function readPassword(user: string): Promise<Buffer> {
  const { stdin } = process;
  const password = stdin.isTTY ? await askTwice(stdin, user) : await readLine(stdin);
  if (password.length === 0) throw wrong('a password can not be empty');
  if (password.length > passwordBytesMax) throw wrong(`a password may have ${passwordBytesMax} bytes`);
  return password;
}

/** The first line of what is piped in, without its end. */
async function readLine(input: NodeJS.ReadableStream): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of input) {
    chunks.push(Buffer.from(chunk as Buffer));
    length += chunk.length;
    if (length > passwordBytesMax + 2 || Buffer.from(chunk as Buffer).includes(0x0a)) break;
  }
  const bytes = Buffer.concat(chunks);
  const end = bytes.indexOf(0x0a);
  const line = end < 0 ? bytes : bytes.subarray(0, end);
  return line.at(-1) === 0x0d ? line.subarray(0, -1) : line;
}

async function askTwice(terminal: ReadStream, user: string): Promise<Buffer> {
  const first = await ask(terminal, `Password for ${user}: `);
  const second = await ask(terminal, 'Again: ');
  if (first !== second) throw wrong('the two passwords differ: nothing was changed');
  return Buffer.from(first);
}

/** Asks without showing what is typed. */
function ask(terminal: ReadStream, prompt: string): Promise<string> {
  process.stderr.write(prompt);
  terminal.setRawMode(true);
  terminal.setEncoding('utf8');
  return new Promise((resolve, reject) => {
    let typed = '';
    const finish = (): void => {
      terminal.off('data', onData);
      terminal.setRawMode(false);
      terminal.pause();
      process.stderr.write('\n');
    };
    const onData = (text: string): void => {
      for (const character of text) {
        if (character === '\r' || character === '\n') {
          finish();
          resolve(typed);
          return;
        }
        if (character === '\x03' || character === '\x04') {
          finish();
          reject(wrong('nothing was changed'));
          return;
        }
        if (character === '\x7f' || character === '\b') typed = [...typed].slice(0, -1).join('');
        else if (character >= ' ') typed += character;
      }
    };
    terminal.on('data', onData);
    terminal.resume();
  });
}

function wrong(message: string): CountersignError {
  return new CountersignError('ERR_COUNTERSIGN_CONFIG', `passwd: ${message}`);
}

function cannot(what: string, file: string, error: unknown): CountersignError {
  const { code } = error as NodeJS.ErrnoException;
  const message = `${file} cannot be ${what} (${code}): check that it and its folder are accessible to this user`;
  return new CountersignError('ERR_COUNTERSIGN_PASSWD', message, { cause: error });
}
