/** Writes the results of long runs (test/results/*.json) into docs/reliability.md, between its marks. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';

const folder = new URL('./results/', import.meta.url);
const page = new URL('../docs/reliability.md', import.meta.url);

/** For each kind of run: what was done, what was lost, as cells of a row. */
const rows = {
  'crash-everyone-flushed': (run) => crashRow('30 clients of all kinds', run),
  'crash-everyone-committed': (run) => crashRow('30 clients of all kinds', run),
  'crash-pairs-flushed': (run) => crashRow('50 publishers that track to 50 recipients', run),
  'power-broker': (run) => [
    'power loss under load, whole broker, `flushed`',
    `${run.kills} kills, ${run.losses} of them power losses, ${run.sectorsAtRisk} sectors torn or dropped`,
    `${run.acknowledged} acknowledged messages, ${run.receipts} receipts`,
    `${run.violations} lost, repeated or without an outcome`,
  ],
  'power-store-flushed': (run) => storeRow('flushed', run),
  'power-store-committed': (run) => storeRow('committed', run),
  simulation: (run) => [
    'everything at once, simulated',
    `${count(run.seeds)} worlds, ${count(run.crashes)} crashes in ${count(run.hours)} hours`,
    `${count(run.acknowledged)} acknowledged messages, ${count(run.receipts)} receipts`,
    `${run.broken} invariants broken`,
  ],
  soak: (run) => [
    'mixed load with reconnects, for long',
    `${count(run.minutes)} minutes, ${count(run.rounds)} rounds`,
    `${count(run.messages)} messages`,
    `${run.growing.length === 0 ? 'nothing grew' : `grew: ${run.growing.join(', ')}`}; ` +
      run.levels.map(({ name, early, late }) => `${name} ${early} → ${late}`).join(', '),
  ],
  restart: (run) => [
    'restart at scale, after a clean stop / `kill -9`',
    `${count(run.sessions)} sessions, ${count(run.subscriptions)} subscriptions, ${count(run.queued)} messages waiting`,
    `${run.sample} sessions looked at`,
    `all complete and in order; ready in ${seconds(run.startMs)} / ${seconds(run.startAfterKillMs)}, ` +
      `${Math.max(run.rssAtReady, run.rssSettled)} / ${run.rssAfterKill} MB; stopped in ${seconds(run.stopMs)}`,
  ],
};

function crashRow(who, run) {
  return [
    `\`kill -9\` under load of ${who}, \`${run.durability}\``,
    `${run.kills} kills, and ${run.deadStarts} of starts`,
    `${count(run.acknowledged)} acknowledged messages, ${count(run.receipts)} receipts`,
    `${run.violations} lost, repeated or without an outcome`,
  ];
}

function diskRow(run) {
  return [
    `${run.fault}, \`flushed\``,
    'once, while messages are published',
    `${count(run.acknowledged)} acknowledged messages`,
    `${run.lost} lost or repeated; ${run.refused} requests refused while it lasted, told once; ${run.end}`,
  ];
}

function boundsRow(run) {
  return [
    run.title,
    `${count(run.size)} ${run.unit}`,
    `${count(run.messages)} messages of a well-behaved pair`,
    `${run.lost} lost; of the attack ${count(run.refused)} packets, filters or connections refused and ` +
      `${count(run.dropped)} deliveries dropped; ${run.rss} MB resident at most (bound ${run.bound}, before ${run.rssBefore}); ` +
      `p99 of the pair ${run.attackedP99Ms} ms, idle ${run.idleP99Ms} ms`,
  ];
}

/** Thousands apart, as in the page. */
function count(number) {
  return String(number).replace(/\B(?=(\d{3})+$)/g, ' ');
}

function seconds(ms) {
  return `${(ms / 1000).toFixed(1)} s`;
}

function storeRow(durability, run) {
  return [
    `power loss, store, \`${durability}\``,
    `${run.kills} kills, ${run.images} files`,
    `${run.told} batches told`,
    `${run.broken} files torn, ${run.imagesWithLoss} lack told batches (at most ${run.lostMax})`,
  ];
}

const lines = ['| fault | injected | at stake | outcome | run |', '| --- | --- | --- | --- | --- |'];
for (const name of readdirSync(folder).sort()) {
  const run = JSON.parse(readFileSync(new URL(name, folder), 'utf8'));
  const kind = name.replace(/\.json$/, '');
  const cells = kind.startsWith('bounds-')
    ? boundsRow(run)
    : kind.startsWith('disk-')
      ? diskRow(run)
      : rows[kind]?.(run);
  if (cells === undefined) throw new Error(`test/reliability.mjs has no row for ${name}`);
  const seed = run.seed === undefined ? '' : `, seed ${run.seed}`;
  lines.push(`| ${[...cells, `${run.date}, Node ${run.node}${seed}`].join(' | ')} |`);
}
const text = readFileSync(page, 'utf8');
const table = `<!-- results:begin -->\n${lines.join('\n')}\n<!-- results:end -->`;
writeFileSync(page, text.replace(/<!-- results:begin -->[^]*<!-- results:end -->/, () => table));
