import { type CaseSummary, formatNumber, type Spread } from '../load/summary.js';

/** Where and how it was measured. */
export interface TlsFacts {
  readonly date: string;
  /** Processor and versions. */
  readonly place: string;
  readonly runs: number;
  readonly payloadBytes: number;
}

const blockPattern = /<!-- bench:tls:begin -->[\s\S]*?<!-- bench:tls:end -->/;

/** The table of docs/security.md with a paragraph on how it came about. Cases in their order, brokers as columns. */
export function describeTls(summaries: readonly CaseSummary[], { date, place, runs, payloadBytes }: TlsFacts): string {
  const brokers = [...new Set(summaries.map(({ peer }) => peer))];
  const titles = new Map(summaries.map(({ caseName, title }) => [caseName, title]));
  const rows = Array.from(titles, ([caseName, title]) => {
    const cells = brokers.flatMap((broker) => {
      const found = summaries.find((summary) => summary.caseName === caseName && summary.peer === broker);
      const phase = found?.phases[0];
      const mark = phase?.isGeneratorBound === true ? ' †' : '';
      return [spread(phase?.cpuMicroseconds), `${spread(phase?.perSecond)}${mark}`];
    });
    return [title, ...cells];
  });
  const head = ['', ...brokers.flatMap((broker) => [`${broker}, CPU µs`, 'per second'])];
  const lines = [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`);
  return `Medians of ${runs} runs, with the least and the greatest, of both brokers in turns: \`npm run bench:tls\`,
${date}, ${place}. Broker and generator have a core each; CPU is the broker's, for each
of what the row says. Messages have ${payloadBytes} bytes and go from 10 publishers to 10 subscribers, window 100. It is TLS 1.3 with
certificates on P-256, and every handshake is a full one. † the generator was at its limit before the broker.

${lines.join('\n')}`;
}

function spread(value: Spread | null | undefined): string {
  if (!value) return '–';
  return `${formatNumber(value.median)} (${formatNumber(value.min)}–${formatNumber(value.max)})`;
}

/** A page with the block between the markers replaced; unchanged where it has none. */
export function replaceTlsBlock(page: string, block: string): string {
  return page.replace(blockPattern, () => `<!-- bench:tls:begin -->\n${block}\n<!-- bench:tls:end -->`);
}
