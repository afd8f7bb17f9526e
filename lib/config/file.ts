import { LineCounter, parseDocument } from 'yaml';
import { CountersignError } from '../base/errors.js';

/**
 * The value in a configuration file: JSON if its name ends in `.json`, else YAML. Null for an empty YAML file.
 *
 * @throws CountersignError `ERR_COUNTERSIGN_CONFIG` naming the file and the line of bad syntax
 */
export function parseConfigurationFile(name: string, text: string): unknown {
  return name.toLowerCase().endsWith('.json') ? parseJsonFile(name, text) : parseYamlFile(name, text);
}

function parseYamlFile(name: string, text: string): unknown {
  const problem = firstYamlProblem(text);
  if (problem !== undefined) throw syntaxError(name, problem.line, problem.message);
  try {
    return parseDocument(text).toJS();
  } catch (error) {
    // What a document may not do although its syntax is right: too many aliases.
    throw syntaxError(name, 1, messageOf(error));
  }
}

function parseJsonFile(name: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const message = messageOf(error);
    // JSON is YAML too, and the YAML parser says where it went wrong when JSON.parse does not.
    const position = /at position (\d+)/.exec(message);
    if (position !== null) throw syntaxError(name, lineAt(text, Number(position[1])), message);
    throw syntaxError(name, firstYamlProblem(text)?.line ?? lineAt(text, text.length), message);
  }
}

function firstYamlProblem(text: string): { line: number; message: string } | undefined {
  const lineCounter = new LineCounter();
  const [error] = parseDocument(text, { lineCounter, prettyErrors: false }).errors;
  if (error === undefined) return undefined;
  return { line: lineCounter.linePos(error.pos[0]).line, message: error.message };
}

function lineAt(text: string, position: number): number {
  return text.slice(0, position).split('\n').length;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function syntaxError(name: string, line: number, message: string): CountersignError {
  const oneLine = message.replace(/\s+/g, ' ').trim();
  return new CountersignError('ERR_COUNTERSIGN_CONFIG', `${name}: line ${line}: ${oneLine}`);
}
