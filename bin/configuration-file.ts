import { readFileSync } from 'node:fs';
import { CountersignError } from '../lib/base/errors.js';

/** A configuration file as the loader takes it. @throws CountersignError if it cannot be read */
export function readConfigurationFile(name: string): { name: string; text: string } {
  try {
    return { name, text: readFileSync(name, 'utf8') };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const reason = code === 'ENOENT' ? 'there is no such file' : `it cannot be read (${code})`;
    throw new CountersignError('ERR_COUNTERSIGN_CONFIG', `configuration file ${name}: ${reason}`, { cause: error });
  }
}
