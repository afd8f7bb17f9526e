import { readEnvironment, spellVariable } from './environment.js';
import { parseConfigurationFile } from './file.js';
import { optionFacts, parseOptions, type Settings } from './schema.js';
import { coerceValue } from './values.js';

/** Where options may come from, weak to strong: a later one wins over an earlier one, key by key. */
export interface OptionSources {
  /** A configuration file: its name decides between YAML and JSON and appears in messages. */
  readonly file?: { readonly name: string; readonly text: string } | undefined;
  /** The environment; only variables that begin with `COUNTERSIGN_` are looked at. */
  readonly environment?: Readonly<Record<string, string | undefined>> | undefined;
  /** Command-line flags by option name, as text or as the value itself. */
  readonly flags?: Readonly<Record<string, unknown>> | undefined;
}

/**
 * Settings from all sources. Each source is checked by itself first, so that an error names the place to correct.
 *
 * @throws CountersignError `ERR_COUNTERSIGN_CONFIG`, one line per problem
 */
export function loadSettings(sources: OptionSources): Settings {
  const { file, environment = {}, flags = {} } = sources;
  let merged: OptionGroup = {};
  if (file !== undefined) {
    const fromFile = parseConfigurationFile(file.name, file.text) ?? {};
    parseOptions(fromFile, file.name);
    merged = mergeOptions(merged, asGroup(fromFile));
  }
  const fromEnvironment = readEnvironment(environment);
  parseOptions(fromEnvironment, 'environment', spellVariable);
  const fromFlags = readFlags(flags);
  parseOptions(fromFlags, '', spellFlag);
  merged = mergeOptions(mergeOptions(merged, fromEnvironment), fromFlags);
  return parseOptions(merged, 'options');
}

type OptionGroup = Readonly<Record<string, unknown>>;

function readFlags(flags: OptionGroup): OptionGroup {
  const types = new Map(optionFacts().map(({ path, type }) => [path, type]));
  const given = Object.entries(flags).filter(([, value]) => value !== undefined);
  return Object.fromEntries(given.map(([key, value]) => [key, coerceValue(value, types.get(key))]));
}

/** `logLevel` as it is written on the command line: `--log-level`. */
function spellFlag(path: string): string {
  return `--${path.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

/** Both, member by member; where both have a value or a list, the stronger one's. Takes checked options only. */
function mergeOptions(weak: OptionGroup, strong: OptionGroup): OptionGroup {
  const merged: Record<string, unknown> = { ...weak };
  for (const [key, value] of Object.entries(strong)) {
    if (value === undefined) continue;
    merged[key] = isGroup(value) ? mergeOptions(asGroup(merged[key]), value) : value;
  }
  return merged;
}

function isGroup(value: unknown): value is OptionGroup {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function asGroup(value: unknown): OptionGroup {
  return isGroup(value) ? value : {};
}
