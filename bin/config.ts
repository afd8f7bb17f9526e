import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { stringify } from 'yaml';
import { describeOptions } from '../lib/config/documentation.js';
import { loadSettings } from '../lib/config/load.js';
import { type IncludedFile, importMosquitto } from '../lib/config/mosquitto-import.js';
import { optionsJsonSchema } from '../lib/config/schema.js';
import { readConfigurationFile } from './configuration-file.js';
import { sayError } from './failure.js';

/** Adds `countersign config check FILE` and `countersign config schema`. */
export function addConfigCommands(program: Command): void {
  const config = program.command('config').description('check, describe and import configuration files');
  config
    .command('check')
    .description('check a configuration file without starting')
    .argument('<file>', 'YAML or JSON file')
    .action((name: string) => {
      loadSettings({ file: readConfigurationFile(name) });
      process.stdout.write(`${name} is correct\n`);
    });
  config
    .command('import')
    .description('translate a mosquitto.conf: YAML on stdout, what does not come over on stderr')
    .argument('<file>', 'mosquitto.conf')
    .action((name: string) => {
      const { options, notes } = importMosquitto(readConfigurationFile(name).text, readDirectory);
      for (const { file, line, text } of notes) {
        sayError(`${file ?? name}: ${line === 0 ? '' : `line ${line}: `}${text}`);
      }
      process.stdout.write(stringify(options));
    });
  config
    .command('schema')
    .description('print the JSON Schema of configuration files, for editors')
    .option('--markdown', 'print all options as a page to read instead')
    .action(({ markdown }: { readonly markdown?: boolean }) => {
      const schema = () => `${JSON.stringify(optionsJsonSchema(), undefined, 2)}\n`;
      process.stdout.write(markdown === true ? describeOptions() : schema());
    });
}

/** The files that Mosquitto would read of an `include_dir`, in its order; null if they can not be read. */
function readDirectory(directory: string): IncludedFile[] | null {
  try {
    const names = readdirSync(directory).filter((name) => name.endsWith('.conf'));
    return names
      .sort()
      .map((name) => ({ name: join(directory, name), text: readFileSync(join(directory, name), 'utf8') }));
  } catch {
    // The caller says so, with the line that names it.
    return null;
  }
}
