import t from 'tap';
import { renderCurves } from '../../../bench/scale/curves.js';

t.test('a curve chart draws a point for each value, on logarithmic axes', async (t) => {
  const points = [
    { x: 1, y: 100 },
    { x: 10, y: 1000 },
    { x: 100, y: 10_000 },
  ];
  const svg = renderCurves({ title: 'Cost < size', caption: 'ns against size', curves: [{ name: 'match', points }] });
  t.match(svg, /Cost &lt; size/);
  t.equal(svg.match(/<circle/g)?.length, 3);
  const [, line = ''] = /points="([^"]+)"/.exec(svg) ?? [];
  const [first, second, third] = line.split(' ').map((place) => place.split(',').map(Number));
  t.ok(Math.abs((first?.[0] ?? 0) + (third?.[0] ?? 0) - 2 * (second?.[0] ?? 0)) < 0.2, 'decades are equally wide');
  t.ok(Math.abs((first?.[1] ?? 0) + (third?.[1] ?? 0) - 2 * (second?.[1] ?? 0)) < 0.2, 'and high');
});

t.test('without values there is no chart', async (t) => {
  t.equal(renderCurves({ title: '', caption: '', curves: [{ name: 'none', points: [{ x: 0, y: 0 }] }] }), '');
});
