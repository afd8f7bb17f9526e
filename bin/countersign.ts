#!/usr/bin/env node
import { Command, Option } from 'commander';
import { version } from '../lib/base/version.js';
import { addAdminCommands } from './admin.js';
import { addConfigCommands } from './config.js';
import { failWith } from './failure.js';
import { addPasswdCommand } from './passwd.js';
import { addPublishCommand } from './publish.js';
import { addReceiptsCommand } from './receipts.js';
import { type StartFlags, start } from './start.js';
import { addStoreCommands } from './store.js';

/** The command line. Errors are thrown, not printed, so that all end up as one line in `failWith`. */
function buildProgram(): Command {
  const program = new Command('countersign')
    .description('An MQTT 5 broker whose publishers learn who got the message.')
    .version(version)
    .exitOverride()
    .configureOutput({ outputError: () => undefined });
  program
    .command('start')
    .description('run the broker until SIGTERM or SIGINT')
    .option('--host <host>', 'address to listen on (default: 127.0.0.1)')
    .option('--port <port>', 'port to listen on, 0 for a free one (default: 1883)')
    .option('--data <dir>', 'directory of the durable store (default: ./countersign-data)')
    .addOption(new Option('--memory', 'keep everything in memory only').conflicts('data'))
    .option('--durability <when>', 'when to acknowledge: flushed or committed (default: flushed)')
    .option('--config <file>', 'configuration file, YAML or JSON; environment and flags win over it')
    .option('--log-level <level>', 'debug, info, warn, error or silent (default: info)')
    .action((flags: StartFlags) => start(flags, process.env));
  addPublishCommand(program);
  addReceiptsCommand(program);
  addConfigCommands(program);
  addPasswdCommand(program);
  addAdminCommands(program);
  addStoreCommands(program);
  return program;
}

try {
  await buildProgram().parseAsync(process.argv);
} catch (error) {
  failWith(error);
}
