/** One weird trick for parallelizing convolutional neural networks, Krizhevsky 2014. */
import type { Recipe } from './types.js';

/** Convolutions by their place in `features`; a relu follows each. */
const CONVOLUTIONS = [
  { at: 0, out: 64, kernel: 11, stride: 4, padding: 2 },
  { at: 3, out: 192, kernel: 5, padding: 2 },
  { at: 6, out: 384, kernel: 3, padding: 1 },
  { at: 8, out: 256, kernel: 3, padding: 1 },
  { at: 10, out: 256, kernel: 3, padding: 1 },
];
/** Poolings behind the relu at the place before. */
const POOLINGS = [2, 5, 12];

export const alexnets: Record<string, Recipe> = {
  alexnet: {
    trainedOn: 'imagenet',
    mark: { first: 'features.0.weight', body: /^features\./, elements: 2446464 },
    write(g, image, { classes, channels }) {
      let x = image;
      let width = channels;
      for (const { at, ...convolution } of CONVOLUTIONS) {
        x = g.relu(`features.${at + 1}`, g.conv2d(`features.${at}`, x, { in: width, ...convolution }));
        if (POOLINGS.includes(at + 2)) x = g.maxPool(`features.${at + 2}`, x, { kernel: 3, stride: 2 });
        width = convolution.out;
      }
      const headBoundary = x;
      x = g.flatten('flatten', g.adaptiveAveragePool('avgpool', x, 6));
      x = g.dropout('classifier.0', x);
      x = g.relu('classifier.2', g.linear('classifier.1', x, { in: width * 36, out: 4096 }));
      x = g.dropout('classifier.3', x);
      x = g.relu('classifier.5', g.linear('classifier.4', x, { in: 4096, out: 4096 }));
      const scores = g.linear('classifier.6', x, { in: 4096, out: classes });
      return { scores, classifier: 'classifier.6', features: 4096, headBoundary, bodyChannels: width };
    },
  },
};
