/** SqueezeNet: AlexNet-level accuracy with 50x fewer parameters, Iandola et al. 2016; 1.1 is its authors' later release. */
import type { GraphBuilder } from '../graph/builder.js';
import { kaimingUniformIn, small, zeros } from './init.js';
import type { Recipe } from './types.js';

/** What follows the first convolution and its relu in `features`: poolings, and fire modules by squeezed channels. */
type Part = 'pool' | number;

interface Variant {
  first: { out: number; kernel: number };
  parts: Part[];
  /** See `Mark`. */
  elements: number;
}

const init = { weightInit: kaimingUniformIn, biasInit: zeros };

/** Squeezes to `squeezed` channels, expands to four times as many twice, by 1x1 and by 3x3, side by side. */
function fire(g: GraphBuilder, name: string, x: string, from: number, squeezed: number): string {
  const squeeze = g.conv2d(`${name}.squeeze`, x, { in: from, out: squeezed, kernel: 1, ...init });
  const s = g.relu(`${name}.squeeze_activation`, squeeze);
  const expand = (kernel: 1 | 3): string => {
    const part = `${name}.expand${kernel}x${kernel}`;
    const padding = kernel === 3 ? 1 : 0;
    const y = g.conv2d(part, s, { in: squeezed, out: 4 * squeezed, kernel, padding, ...init });
    return g.relu(`${part}_activation`, y);
  };
  return g.concat(`${name}.cat`, [expand(1), expand(3)]);
}

function squeezenet({ first, parts, elements }: Variant): Recipe {
  return {
    trainedOn: 'imagenet',
    mark: { first: 'features.0.weight', body: /^features\./, elements },
    write(g, image, { classes, channels }) {
      let x = g.relu('features.1', g.conv2d('features.0', image, { in: channels, ...first, stride: 2, ...init }));
      let width = first.out;
      parts.forEach((part, i) => {
        const name = `features.${i + 2}`;
        if (part === 'pool') {
          x = g.maxPool(name, x, { kernel: 3, stride: 2, ceilMode: true });
        } else {
          x = fire(g, name, x, width, part);
          width = 8 * part;
        }
      });
      const headBoundary = x;
      x = g.dropout('classifier.0', x);
      x = g.conv2d('classifier.1', x, { in: width, out: classes, kernel: 1, weightInit: small, biasInit: zeros });
      x = g.globalAveragePool('classifier.3', g.relu('classifier.2', x));
      const scores = g.flatten('flatten', x);
      return { scores, classifier: 'classifier.1', features: width, headBoundary, bodyChannels: width };
    },
  };
}

export const squeezenets: Record<string, Recipe> = {
  squeezenet1_0: squeezenet({
    first: { out: 96, kernel: 7 },
    parts: ['pool', 16, 16, 32, 'pool', 32, 48, 48, 64, 'pool', 64],
    elements: 721312,
  }),
  squeezenet1_1: squeezenet({
    first: { out: 64, kernel: 3 },
    parts: ['pool', 16, 16, 'pool', 32, 32, 'pool', 48, 48, 64, 64],
    elements: 720768,
  }),
};
