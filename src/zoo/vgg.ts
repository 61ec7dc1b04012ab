/** Very Deep Convolutional Networks for Large-Scale Image Recognition, Simonyan and Zisserman 2014. */
import { kaimingOut, small, zeros } from './init.js';
import type { Recipe } from './types.js';

const WIDTHS = [64, 128, 256, 512, 512];

/** `depths`: convolutions before each of the five poolings. */
function vgg(depths: number[], batchNorm: boolean): Recipe {
  return {
    trainedOn: 'imagenet',
    write(g, image, { classes, channels }) {
      let x = image;
      let width = channels;
      let index = 0;
      const next = (): string => `features.${index++}`;
      depths.forEach((depth, stage) => {
        for (let i = 0; i < depth; i++) {
          const out = WIDTHS[stage]!;
          const init = { weightInit: kaimingOut, biasInit: zeros };
          x = g.conv2d(next(), x, { in: width, out, kernel: 3, padding: 1, ...init });
          if (batchNorm) x = g.batchNorm(next(), x, out);
          x = g.relu(next(), x);
          width = out;
        }
        x = g.maxPool(next(), x, { kernel: 2 });
      });
      const headBoundary = x;
      x = g.flatten('flatten', g.adaptiveAveragePool('avgpool', x, 7));
      const linear = (i: number, from: number, to: number): string =>
        g.linear(`classifier.${i}`, x, { in: from, out: to, weightInit: small, biasInit: zeros });
      x = g.relu('classifier.1', linear(0, width * 49, 4096));
      x = g.dropout('classifier.2', x);
      x = g.relu('classifier.4', linear(3, 4096, 4096));
      x = g.dropout('classifier.5', x);
      const scores = linear(6, 4096, classes);
      return { scores, classifier: 'classifier.6', features: 4096, headBoundary, bodyChannels: width };
    },
  };
}

const DEPTHS: Record<string, number[]> = {
  vgg11: [1, 1, 2, 2, 2],
  vgg13: [2, 2, 2, 2, 2],
  vgg16: [2, 2, 3, 3, 3],
  vgg19: [2, 2, 4, 4, 4],
};

export const vggs: Record<string, Recipe> = Object.fromEntries(
  Object.entries(DEPTHS).flatMap(([name, depths]) => [
    [name, vgg(depths, false)],
    [`${name}_bn`, vgg(depths, true)],
  ]),
);
