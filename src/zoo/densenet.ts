/** Densely Connected Convolutional Networks, Huang et al. 2017. */
import type { GraphBuilder } from '../graph/builder.js';
import { kaimingIn, zeros } from './init.js';
import type { Recipe } from './types.js';

interface Variant {
  growth: number;
  /** Layers in each of the four blocks. */
  depths: [number, number, number, number];
  first: number;
  /** See `Mark`. */
  elements: number;
}

const conv = (
  g: GraphBuilder,
  name: string,
  x: string,
  o: { in: number; out: number; kernel: number; stride?: number },
): string => g.conv2d(name, x, { ...o, padding: (o.kernel - 1) / 2, bias: false, weightInit: kaimingIn });

/** Norm, relu and 1x1 to four times the growth; norm, relu and 3x3 to `growth` channels. */
function denseLayer(g: GraphBuilder, name: string, x: string, width: number, growth: number): string {
  let y = g.relu(`${name}.relu1`, g.batchNorm(`${name}.norm1`, x, width));
  y = conv(g, `${name}.conv1`, y, { in: width, out: 4 * growth, kernel: 1 });
  y = g.relu(`${name}.relu2`, g.batchNorm(`${name}.norm2`, y, 4 * growth));
  return conv(g, `${name}.conv2`, y, { in: 4 * growth, out: growth, kernel: 3 });
}

/** Halves the channels by 1x1 and the sides by a mean. */
function transition(g: GraphBuilder, name: string, x: string, width: number): string {
  const y = g.relu(`${name}.relu`, g.batchNorm(`${name}.norm`, x, width));
  const half = conv(g, `${name}.conv`, y, { in: width, out: width / 2, kernel: 1 });
  return g.averagePool(`${name}.pool`, half, { kernel: 2, stride: 2 });
}

function densenet({ growth, depths, first, elements }: Variant): Recipe {
  return {
    trainedOn: 'imagenet',
    mark: { first: 'features.conv0.weight', body: /^features\./, elements },
    write(g, image, { classes, channels }) {
      let x = conv(g, 'features.conv0', image, { in: channels, out: first, kernel: 7, stride: 2 });
      x = g.relu('features.relu0', g.batchNorm('features.norm0', x, first));
      x = g.maxPool('features.pool0', x, { kernel: 3, stride: 2, padding: 1 });
      let width = first;
      depths.forEach((depth, i) => {
        for (let layer = 1; layer <= depth; layer++) {
          const name = `features.denseblock${i + 1}.denselayer${layer}`;
          // Each layer reads all before it; joined step by step, the same values in the same order.
          x = g.concat(`${name}.cat`, [x, denseLayer(g, name, x, width, growth)]);
          width += growth;
        }
        if (i < depths.length - 1) {
          x = transition(g, `features.transition${i + 1}`, x, width);
          width /= 2;
        }
      });
      const headBoundary = g.relu('relu', g.batchNorm('features.norm5', x, width));
      x = g.flatten('flatten', g.globalAveragePool('avgpool', headBoundary));
      const scores = g.linear('classifier', x, { in: width, out: classes, biasInit: zeros });
      return { scores, classifier: 'classifier', features: width, headBoundary, bodyChannels: width };
    },
  };
}

export const densenets: Record<string, Recipe> = {
  densenet121: densenet({ elements: 7028096, growth: 32, depths: [6, 12, 24, 16], first: 64 }),
  densenet161: densenet({ elements: 26677824, growth: 48, depths: [6, 12, 36, 24], first: 96 }),
  densenet169: densenet({ elements: 12633472, growth: 32, depths: [6, 12, 32, 32], first: 64 }),
  densenet201: densenet({ elements: 18312576, growth: 32, depths: [6, 12, 48, 32], first: 64 }),
};
