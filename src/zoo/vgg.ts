/** Very Deep Convolutional Networks for Large-Scale Image Recognition, Simonyan and Zisserman 2014. */
import { kaimingOut, small, zeros } from './init.js';
import type { Recipe } from './types.js';

const WIDTHS = [64, 128, 256, 512, 512];

/** `depths`: convolutions before each of the five poolings; `elements`: see `Mark`. */
function vgg(depths: number[], batchNorm: boolean, elements: number): Recipe {
  return {
    trainedOn: 'imagenet',
    mark: { first: 'features.0.weight', body: /^features\./, elements },
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

export const vggs: Record<string, Recipe> = {
  vgg11: vgg([1, 1, 2, 2, 2], false, 9218752),
  vgg11_bn: vgg([1, 1, 2, 2, 2], true, 9229760),
  vgg13: vgg([2, 2, 2, 2, 2], false, 9403264),
  vgg13_bn: vgg([2, 2, 2, 2, 2], true, 9415040),
  vgg16: vgg([2, 2, 3, 3, 3], false, 14712960),
  vgg16_bn: vgg([2, 2, 3, 3, 3], true, 14729856),
  vgg19: vgg([2, 2, 4, 4, 4], false, 20022656),
  vgg19_bn: vgg([2, 2, 4, 4, 4], true, 20044672),
};
