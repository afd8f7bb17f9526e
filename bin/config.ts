import type { Command } from 'commander';
import { describeOptions } from '../lib/config/documentation.js';
import { loadSettings } from '../lib/config/load.js';
import { optionsJsonSchema } from '../lib/config/schema.js';
import { readConfigurationFile } from './configuration-file.js';

/** Adds `countersign config check FILE` and `countersign config schema`. */
export function addConfigCommands(program: Command): void {
  const config = program.command('config').description('check configuration files');
  config
    .command('check')
    .description('check a configuration file without starting')
    .argument('<file>', 'YAML or JSON file')
    .action((name: string) => {
      loadSettings({ file: readConfigurationFile(name) });
      process.stdout.write(`${name} is correct\n`);
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
