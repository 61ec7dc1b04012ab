/** Searching for MobileNetV3, Howard et al. 2019. */
import type { GraphBuilder } from '../graph/builder.js';
import { kaimingOut, small, zeros } from './init.js';
import { convNorm, divisible, squeezeExcite, type ConvNorm } from './layers.js';
import type { Recipe } from './types.js';

/** Kernel, expanded channels, channels, squeeze-excite or not, activation, stride. */
type Row = [
  kernel: 3 | 5,
  expanded: number,
  out: number,
  squeeze: 0 | 1,
  activation: 'relu' | 'hardSwish',
  stride: 1 | 2,
];

const FIRST = 16;
const NORM = { eps: 1e-3, momentum: 0.01 };

const conv = (g: GraphBuilder, name: string, x: string, o: ConvNorm): string =>
  convNorm(g, name, x, { weightInit: kaimingOut, norm: NORM, ...o });

/** Expand by 1x1, one window a channel, squeeze-and-excite, project by 1x1; added to its input where both have one size. */
function block(g: GraphBuilder, name: string, x: string, from: number, row: Row): string {
  const [kernel, width, out, squeeze, activation, stride] = row;
  let part = 0;
  const next = (): string => `${name}.block.${part++}`;
  let y = x;
  if (width !== from) y = conv(g, next(), y, { in: from, out: width, kernel: 1, activation });
  y = conv(g, next(), y, { in: width, out: width, kernel, stride, groups: width, activation });
  if (squeeze) {
    const sizes = { channels: width, squeezed: divisible(Math.floor(width / 4), 8) };
    const init = { weightInit: kaimingOut, biasInit: zeros };
    y = squeezeExcite(g, next(), y, { ...sizes, ...init, activation: 'relu', gate: 'hardSigmoid' });
  }
  y = conv(g, next(), y, { in: width, out, kernel: 1 });
  return stride === 1 && from === out ? g.add(`${name}.add`, y, x) : y;
}

/** `penultimate`: features before the last layer; `elements`: see `Mark`. */
function mobilenetV3(rows: Row[], penultimate: number, elements: number): Recipe {
  return {
    trainedOn: 'imagenet',
    mark: { first: 'features.0.0.weight', body: /^features\./, elements },
    write(g, image, { classes, channels }) {
      const first = { in: channels, out: FIRST, kernel: 3, stride: 2, activation: 'hardSwish' } as const;
      let x = conv(g, 'features.0', image, first);
      let width = FIRST;
      rows.forEach((row, i) => {
        x = block(g, `features.${i + 1}`, x, width, row);
        width = row[2];
      });
      const last = 6 * width;
      const name = `features.${rows.length + 1}`;
      const headBoundary = conv(g, name, x, { in: width, out: last, kernel: 1, activation: 'hardSwish' });
      const init = { weightInit: small, biasInit: zeros };
      x = g.flatten('flatten', g.globalAveragePool('avgpool', headBoundary));
      x = g.linear('classifier.0', x, { in: last, out: penultimate, ...init });
      x = g.dropout('classifier.2', g.hardSwish('classifier.1', x), { p: 0.2 });
      const scores = g.linear('classifier.3', x, { in: penultimate, out: classes, ...init });
      return { scores, classifier: 'classifier.3', features: penultimate, headBoundary, bodyChannels: last };
    },
  };
}

export const mobilenetV3s: Record<string, Recipe> = {
  mobilenet_v3_large: mobilenetV3(
    [
      [3, 16, 16, 0, 'relu', 1],
      [3, 64, 24, 0, 'relu', 2],
      [3, 72, 24, 0, 'relu', 1],
      [5, 72, 40, 1, 'relu', 2],
      [5, 120, 40, 1, 'relu', 1],
      [5, 120, 40, 1, 'relu', 1],
      [3, 240, 80, 0, 'hardSwish', 2],
      [3, 200, 80, 0, 'hardSwish', 1],
      [3, 184, 80, 0, 'hardSwish', 1],
      [3, 184, 80, 0, 'hardSwish', 1],
      [3, 480, 112, 1, 'hardSwish', 1],
      [3, 672, 112, 1, 'hardSwish', 1],
      [5, 672, 160, 1, 'hardSwish', 2],
      [5, 960, 160, 1, 'hardSwish', 1],
      [5, 960, 160, 1, 'hardSwish', 1],
    ],
    1280,
    2995920,
  ),
  mobilenet_v3_small: mobilenetV3(
    [
      [3, 16, 16, 1, 'relu', 2],
      [3, 72, 24, 0, 'relu', 2],
      [3, 88, 24, 0, 'relu', 1],
      [5, 96, 40, 1, 'hardSwish', 2],
      [5, 240, 40, 1, 'hardSwish', 1],
      [5, 240, 40, 1, 'hardSwish', 1],
      [5, 120, 48, 1, 'hardSwish', 1],
      [5, 144, 48, 1, 'hardSwish', 1],
      [5, 288, 96, 1, 'hardSwish', 2],
      [5, 576, 96, 1, 'hardSwish', 1],
      [5, 576, 96, 1, 'hardSwish', 1],
    ],
    1024,
    938688,
  ),
};
