import { colours, drawing, legend, text, widthPx } from '../load/chart.js';
import { formatNumber } from '../load/summary.js';

/** A line of a curve chart: x and y, both above 0. */
export interface Curve {
  readonly name: string;
  readonly points: readonly { readonly x: number; readonly y: number }[];
}

/** Curves over a logarithmic x axis; y is logarithmic too, so that proportional growth is a straight line. */
export interface CurveChart {
  readonly title: string;
  /** Says what the axes are. */
  readonly caption: string;
  readonly curves: readonly Curve[];
}

const heightPx = 360;
const plot = { left: 70, right: 30, top: 84, bottom: 40 } as const;

interface Axis {
  readonly low: number;
  readonly high: number;
  place(value: number): number;
}

function axis(values: readonly number[], fromPx: number, toPx: number): Axis {
  const low = Math.floor(Math.log10(Math.min(...values)));
  const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(...values))));
  const place = (value: number) => fromPx + ((Math.log10(value) - low) / (high - low)) * (toPx - fromPx);
  return { low, high, place };
}

function decades({ low, high }: Axis): number[] {
  return Array.from({ length: high - low + 1 }, (_, at) => 10 ** (low + at));
}

/** The chart as an SVG that follows the reader's light or dark scheme. */
export function renderCurves(chart: CurveChart): string {
  const points = chart.curves.flatMap((curve) => curve.points).filter(({ x, y }) => x > 0 && y > 0);
  if (points.length === 0) return '';
  const x = axis(
    points.map((point) => point.x),
    plot.left,
    widthPx - plot.right,
  );
  const y = axis(
    points.map((point) => point.y),
    heightPx - plot.bottom,
    plot.top,
  );
  const parts: string[] = [];
  for (const tick of decades(x)) {
    const at = x.place(tick).toFixed(1);
    parts.push(`<line class="grid" x1="${at}" y1="${plot.top}" x2="${at}" y2="${heightPx - plot.bottom}"/>`);
    parts.push(text(Number(at), heightPx - plot.bottom + 18, formatNumber(tick), ' text-anchor="middle"'));
  }
  for (const tick of decades(y)) {
    const at = y.place(tick).toFixed(1);
    parts.push(`<line class="grid" x1="${plot.left}" y1="${at}" x2="${widthPx - plot.right}" y2="${at}"/>`);
    parts.push(text(plot.left - 8, Number(at) + 4, formatNumber(tick), ' text-anchor="end"'));
  }
  for (const [index, curve] of chart.curves.entries()) {
    const colour = colours[index % colours.length];
    const drawn = curve.points.filter((point) => point.x > 0 && point.y > 0);
    const places = drawn.map((point) => `${x.place(point.x).toFixed(1)},${y.place(point.y).toFixed(1)}`);
    parts.push(`<polyline fill="none" stroke="${colour}" stroke-width="2" points="${places.join(' ')}"/>`);
    for (const place of places) {
      const [cx, cy] = place.split(',');
      parts.push(`<circle cx="${cx}" cy="${cy}" r="3" fill="${colour}"/>`);
    }
  }
  const names = chart.curves.map(({ name }) => name);
  return drawing(chart, heightPx, [...legend(names), ...parts]);
}
