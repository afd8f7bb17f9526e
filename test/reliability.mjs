/** Writes the results of long runs (test/results/*.json) into docs/reliability.md, between its marks. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';

const folder = new URL('./results/', import.meta.url);
const page = new URL('../docs/reliability.md', import.meta.url);

/** For each kind of run: what was done, what was lost, as cells of a row. */
const rows = {
  'power-broker': (run) => [
    'power loss under load, whole broker, `flushed`',
    `${run.kills} kills, ${run.losses} of them power losses, ${run.sectorsAtRisk} sectors torn or dropped`,
    `${run.acknowledged} acknowledged messages, ${run.receipts} receipts`,
    `${run.violations} lost, repeated or without an outcome`,
  ],
  'power-store-flushed': (run) => storeRow('flushed', run),
  'power-store-committed': (run) => storeRow('committed', run),
  restart: (run) => [
    'restart at scale, after a clean stop / `kill -9`',
    `${count(run.sessions)} sessions, ${count(run.subscriptions)} subscriptions, ${count(run.queued)} messages waiting`,
    `${run.sample} sessions looked at`,
    `all complete and in order; ready in ${seconds(run.startMs)} / ${seconds(run.startAfterKillMs)}, ` +
      `${Math.max(run.rssAtReady, run.rssSettled)} / ${run.rssAfterKill} MB; stopped in ${seconds(run.stopMs)}`,
  ],
};

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
  const cells = rows[name.replace(/\.json$/, '')]?.(run);
  if (cells === undefined) throw new Error(`test/reliability.mjs has no row for ${name}`);
  const seed = run.seed === undefined ? '' : `, seed ${run.seed}`;
  lines.push(`| ${[...cells, `${run.date}, Node ${run.node}${seed}`].join(' | ')} |`);
}
const text = readFileSync(page, 'utf8');
const table = `<!-- results:begin -->\n${lines.join('\n')}\n<!-- results:end -->`;
writeFileSync(page, text.replace(/<!-- results:begin -->[^]*<!-- results:end -->/, () => table));
