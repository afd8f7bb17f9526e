import { type CaseSummary, formatNumber, type Spread } from '../load/summary.js';

/** Where and how it was measured. */
export interface TlsFacts {
  readonly date: string;
  /** Processor and versions. */
  readonly place: string;
  /** Of the last minute before the start; above 2, others were at work. */
  readonly loadAverage: number;
  readonly runs: number;
  readonly payloadBytes: number;
}

const blockPattern = /<!-- bench:tls:begin -->[\s\S]*?<!-- bench:tls:end -->/;

/** The table of docs/security.md with a paragraph on how it came about. Cases in their order, brokers as columns. */
export function describeTls(
  summaries: readonly CaseSummary[],
  { date, place, loadAverage, runs, payloadBytes }: TlsFacts,
): string {
  const brokers = [...new Set(summaries.map(({ peer }) => peer))];
  const titles = new Map(summaries.map(({ caseName, title }) => [caseName, title]));
  const rows = Array.from(titles, ([caseName, title]) => {
    const cells = brokers.flatMap((broker) => {
      const found = summaries.find((summary) => summary.caseName === caseName && summary.peer === broker);
      const cpu = found?.phases[0]?.cpuMicroseconds;
      return cpu ? [`${spread(cpu)}`, formatNumber(1e6 / cpu.median)] : ['–', '–'];
    });
    return [title, ...cells];
  });
  const head = ['', ...brokers.flatMap((broker) => [`${broker}, CPU µs`, 'per second of CPU'])];
  const lines = [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`);
  const text = [
    `Medians of ${runs} runs, with the least and the greatest, of both brokers in turns: \`npm run bench:tls\`,`,
    `${date}, ${place}, load average ${formatNumber(loadAverage)}. CPU is the broker's, for each of what the row`,
    `says, with the kernel's share. Messages have ${payloadBytes} bytes and go from 10 publishers to 10 subscribers,`,
    'window 100. It is TLS 1.3 with certificates on P-256, and every handshake is a full one.',
  ];
  return `${text.join('\n')}\n\n${lines.join('\n')}`;
}

function spread({ median, min, max }: Spread): string {
  return `${formatNumber(median)} (${formatNumber(min)}–${formatNumber(max)})`;
}

/** A page with the block between the markers replaced; unchanged where it has none. */
export function replaceTlsBlock(page: string, block: string): string {
  return page.replace(blockPattern, () => `<!-- bench:tls:begin -->\n${block}\n<!-- bench:tls:end -->`);
}
