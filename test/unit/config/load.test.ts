import t from 'tap';
import { loadSettings, type OptionSources } from '../../../lib/config/load.js';

function problemOf(sources: OptionSources): string {
  try {
    loadSettings(sources);
  } catch (error) {
    if (error instanceof Error) return error.message;
    throw error;
  }
  return '';
}

const yaml = (text: string) => ({ name: 'broker.yaml', text });
const json = (text: string) => ({ name: 'broker.json', text });

t.test('flags win over the environment, the environment over the file, the file over the defaults', async (t) => {
  const file = yaml('port: 1\nhost: file\ndata: file\nmemory: true\nreceipts: { retention: 1, replay: 1 }\n');
  const environment = { COUNTERSIGN_PORT: '2', COUNTERSIGN_HOST: 'env', COUNTERSIGN_RECEIPTS__REPLAY: '2' };
  const settings = loadSettings({ file, environment, flags: { port: '3' } });
  t.match(settings, { port: 3, host: 'env', data: 'file', memory: true, durability: 'flushed' });
  t.match(settings.receipts, { retention: 1, replay: 2, maxHold: 300 });
});

t.test('a list of a stronger source replaces that of a weaker one', async (t) => {
  const file = yaml('tracking: [{ filter: a, receipt: delivered }, { filter: b, receipt: delivered }]');
  const environment = { COUNTERSIGN_TRACKING: '[{"filter":"c","receipt":"processed","force":true}]' };
  t.same(loadSettings({ file, environment }).tracking, [{ filter: 'c', receipt: 'processed', force: true }]);
});

t.test('a JSON file is read as JSON, an empty YAML file as no options', async (t) => {
  t.equal(loadSettings({ file: json('{ "port": 5 }') }).port, 5);
  t.equal(loadSettings({ file: yaml('# nothing\n') }).port, 1883);
});

t.test('bad syntax in a file is told with its name and line', async (t) => {
  t.match(problemOf({ file: yaml('port: 1\nhost: [a\n') }), /^broker\.yaml: line \d+: /);
  t.match(problemOf({ file: yaml('port: 1\nport: 2\n') }), /^broker\.yaml: line 2: .*unique/);
  t.match(problemOf({ file: json('{\n "port": 1,\n}') }), /^broker\.json: line 3: /);
  t.match(problemOf({ file: json('{\n "port": \n') }), /^broker\.json: line 2: /);
  t.match(problemOf({ file: json('') }), /^broker\.json: line 1: /);
});

t.test('bad syntax is told on one line', async (t) => {
  for (const text of ['a: [', '\t- x', '{ a: b', 'a: b: c', '"', '- x\ny: z', '%TAG x', '--- a\n--- b', '*x']) {
    const problem = problemOf({ file: yaml(text) });
    t.match(problem, /^broker\.yaml: /, JSON.stringify(text));
    t.notMatch(problem, /\n/);
  }
});

t.test('aliases that would grow without bound are refused', async (t) => {
  const lines = ['a0: &a0 [x, x, x, x, x, x, x, x, x, x]'];
  for (let level = 1; level < 9; level++) {
    lines.push(
      `a${level}: &a${level} [${Array(10)
        .fill(`*a${level - 1}`)
        .join(', ')}]`,
    );
  }
  t.match(problemOf({ file: yaml(lines.join('\n')) }), /^broker\.yaml: .*alias/);
});

t.test('a wrong key is told where it was given', async (t) => {
  t.equal(problemOf({ file: yaml('prot: 1') }), 'broker.yaml: prot: unknown key; the nearest valid key is port');
  t.equal(
    problemOf({ environment: { COUNTERSIGN_RECEIPTS__RETENTON: '1' } }),
    'environment: COUNTERSIGN_RECEIPTS__RETENTON: unknown key; ' +
      'the nearest valid key is COUNTERSIGN_RECEIPTS__RETENTION',
  );
  t.equal(
    problemOf({ environment: { COUNTERSIGN_PORT: 'http' } }),
    'environment: COUNTERSIGN_PORT: "http" is not allowed; allowed: a whole number from 0 to 65535',
  );
  t.equal(
    problemOf({ flags: { logLevel: 'loud' } }),
    '--log-level: "loud" is not allowed; allowed: debug or info or warn or error or silent',
  );
});

t.test('variables are read by the type of their option', async (t) => {
  const settings = loadSettings({
    environment: {
      COUNTERSIGN_MEMORY: 'true',
      COUNTERSIGN_QUEUE_QOS0_MESSAGES: '1',
      COUNTERSIGN_RETAIN_AVAILABLE: 'false',
      COUNTERSIGN_CONNECT_TIMEOUT: '2.5',
      COUNTERSIGN_DATA: '5',
      COUNTERSIGN_HOST: '',
      OTHER_PORT: 'x',
    },
  });
  t.match(settings, { memory: true, queueQos0Messages: true, retainAvailable: false, connectTimeout: 2.5 });
  t.match(settings, { data: '5', host: '127.0.0.1' });
});

t.test('a group may come as JSON in one variable, and a member of its own variable wins over it', async (t) => {
  const environment = { COUNTERSIGN_RECEIPTS: '{"retention":5,"replay":5}', COUNTERSIGN_RECEIPTS__REPLAY: '6' };
  t.match(loadSettings({ environment }).receipts, { retention: 5, replay: 6 });
  t.match(problemOf({ environment: { COUNTERSIGN_RECEIPTS: 'x' } }), /COUNTERSIGN_RECEIPTS: "x" is not allowed/);
});

t.test('numbers are decimal only', async (t) => {
  for (const text of ['0x10', '1e3', ' ', 'NaN', 'Infinity', '--1', '1.']) {
    t.match(problemOf({ environment: { COUNTERSIGN_PORT: text } }), /COUNTERSIGN_PORT: .*is not allowed/, text);
  }
});
