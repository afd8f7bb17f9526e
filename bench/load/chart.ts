/** Bars of one row of a chart: a scenario, a bar for each broker. */
export interface ChartRow {
  readonly label: string;
  readonly bars: readonly { readonly name: string; readonly value: number; readonly text: string }[];
}

/** A horizontal bar chart. */
export interface Chart {
  readonly title: string;
  /** Says what the bars are and which way is better. */
  readonly caption: string;
  readonly rows: readonly ChartRow[];
}

export const widthPx = 820;
const labelPx = 190;
const valuePx = 110;
const barPx = 15;
const rowGapPx = 12;
const headPx = 76;
const legendStepPx = 24;

// Hues of middle lightness: told apart, and 3:1 against both backgrounds, also by most who see colours otherwise.
export const colours = ['#0b7fd6', '#d9730d', '#5b9a3c', '#b4559e', '#8a6fdf', '#8c7a3f', '#1a9a94', '#d14a55'];

const style = `<style>
  .ground { fill: #ffffff } text { fill: #1f2328; font: 12px system-ui, sans-serif }
  .title { font-size: 15px; font-weight: 600 } .faint { fill: #59636e }
  .axis { stroke: #8c959f } .grid { stroke: #d1d9e0 }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #0d1117 } text { fill: #e6edf3 } .faint { fill: #9198a1 }
    .axis { stroke: #6e7681 } .grid { stroke: #30363d }
  }
</style>`;

function escapeXml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}

/** A text element. */
export function text(x: number, y: number, content: string, attributes = ''): string {
  return `<text x="${x}" y="${y}"${attributes}>${escapeXml(content)}</text>`;
}

/** Squares and names in a row above the plot. */
export function legend(names: readonly string[]): string[] {
  let x = labelPx;
  return names.flatMap((name, index) => {
    const square = `<rect x="${x}" y="54" width="11" height="11" rx="2" fill="${colours[index % colours.length]}"/>`;
    const label = text(x + 16, 64, name);
    x += legendStepPx + 16 + name.length * 6.6;
    return [square, label];
  });
}

/** An SVG of the usual width with its title, around these elements. */
export function drawing(
  { title, caption }: { readonly title: string; readonly caption: string },
  height: number,
  elements: readonly string[],
): string {
  const size = `width="${widthPx}" height="${height}"`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${widthPx} ${height}" ${size} role="img">`,
    `<title>${escapeXml(`${title}: ${caption}`)}</title>`,
    style,
    `<rect class="ground" ${size} rx="8"/>`,
    text(14, 25, title, ' class="title"'),
    text(14, 44, caption, ' class="faint"'),
    ...elements,
    '</svg>',
    '',
  ].join('\n');
}

/** The chart as an SVG that follows the reader's light or dark scheme. */
export function renderChart(chart: Chart): string {
  const names = [...new Set(chart.rows.flatMap(({ bars }) => bars.map(({ name }) => name)))];
  const greatest = Math.max(...chart.rows.flatMap(({ bars }) => bars.map(({ value }) => value)), Number.MIN_VALUE);
  const scale = (widthPx - labelPx - valuePx) / greatest;
  const parts: string[] = [];
  let y = headPx;
  for (const { label, bars } of chart.rows) {
    parts.push(text(labelPx - 10, y + (bars.length * barPx) / 2 + 4, label, ' text-anchor="end"'));
    for (const bar of bars) {
      const fill = colours[names.indexOf(bar.name) % colours.length];
      const width = Math.max(1, bar.value * scale).toFixed(1);
      parts.push(`<rect x="${labelPx}" y="${y}" width="${width}" height="${barPx - 3}" rx="2" fill="${fill}"/>`);
      parts.push(text(Number((labelPx + Number(width) + 6).toFixed(1)), y + 10, bar.text));
      y += barPx;
    }
    y += rowGapPx;
  }
  const axis = `<line class="axis" x1="${labelPx}" y1="${headPx - 4}" x2="${labelPx}" y2="${y - rowGapPx + 2}"/>`;
  return drawing(chart, y + 4, [...legend(names), axis, ...parts]);
}
