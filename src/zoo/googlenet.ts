/** Going Deeper with Convolutions, Szegedy et al. 2015, with batch norm and, as published by torchvision, 3x3 for 5x5. */
import type { GraphBuilder } from '../graph/builder.js';
import type { Initialiser } from '../graph/types.js';
import type { Recipe } from './types.js';

/** Channels: 1x1; before and after 3x3; before and after the second 3x3; behind the pool. */
type Widths = [number, number, number, number, number, number];

// PyTorch cuts this normal off at -2 and 2, two hundred deviations out: nothing is cut.
const weightInit: Initialiser = { kind: 'normal', std: 0.01 };

/** Blocks by name, and the pools between them by kernel. */
const PARTS: ([name: string, widths: Widths] | [name: string, pool: 2 | 3])[] = [
  ['inception3a', [64, 96, 128, 16, 32, 32]],
  ['inception3b', [128, 128, 192, 32, 96, 64]],
  ['maxpool3', 3],
  ['inception4a', [192, 96, 208, 16, 48, 64]],
  ['inception4b', [160, 112, 224, 24, 64, 64]],
  ['inception4c', [128, 128, 256, 24, 64, 64]],
  ['inception4d', [112, 144, 288, 32, 64, 64]],
  ['inception4e', [256, 160, 320, 32, 128, 128]],
  ['maxpool4', 2],
  ['inception5a', [256, 160, 320, 32, 128, 128]],
  ['inception5b', [384, 192, 384, 48, 128, 128]],
];
/** Where the auxiliary heads hang. */
const SIDES: Record<string, string> = { inception4a: 'aux1', inception4d: 'aux2' };

interface Conv {
  in: number;
  out: number;
  kernel: number;
  stride?: number;
}

/** Convolution `<name>.conv`, batch norm `<name>.bn`, relu. */
function conv(g: GraphBuilder, name: string, x: string, o: Conv): string {
  const y = g.conv2d(`${name}.conv`, x, { ...o, padding: (o.kernel - 1) / 2, bias: false, weightInit });
  return g.relu(`${name}.relu`, g.batchNorm(`${name}.bn`, y, o.out, { eps: 1e-3 }));
}

function block(g: GraphBuilder, name: string, x: string, from: number, widths: Widths): string {
  const [one, before3, three, before5, five, pooled] = widths;
  const first = conv(g, `${name}.branch1`, x, { in: from, out: one, kernel: 1 });
  const twice = (branch: string, inner: number, out: number): string => {
    const y = conv(g, `${name}.${branch}.0`, x, { in: from, out: inner, kernel: 1 });
    return conv(g, `${name}.${branch}.1`, y, { in: inner, out, kernel: 3 });
  };
  const second = twice('branch2', before3, three);
  const third = twice('branch3', before5, five);
  const pool = g.maxPool(`${name}.branch4.0`, x, { kernel: 3, stride: 1, padding: 1, ceilMode: true });
  const fourth = conv(g, `${name}.branch4.1`, pool, { in: from, out: pooled, kernel: 1 });
  return g.concat(`${name}.cat`, [first, second, third, fourth]);
}

function auxiliaryHead(g: GraphBuilder, name: string, x: string, from: number, classes: number): void {
  let y = conv(g, `${name}.conv`, g.adaptiveAveragePool(`${name}.avgpool`, x, 4), { in: from, out: 128, kernel: 1 });
  y = g.linear(`${name}.fc1`, g.flatten(`${name}.flatten`, y), { in: 2048, out: 1024, weightInit });
  y = g.dropout(`${name}.dropout`, g.relu(`${name}.relu`, y), { p: 0.7 });
  g.linear(`${name}.fc2`, y, { in: 1024, out: classes, weightInit });
}

const LAST = 1024;

function stem(g: GraphBuilder, image: string, channels: number): string {
  const pool = { kernel: 3, stride: 2, ceilMode: true };
  let x = conv(g, 'conv1', image, { in: channels, out: 64, kernel: 7, stride: 2 });
  x = conv(g, 'conv2', g.maxPool('maxpool1', x, pool), { in: 64, out: 64, kernel: 1 });
  return g.maxPool('maxpool2', conv(g, 'conv3', x, { in: 64, out: 192, kernel: 3 }), pool);
}

export const googlenets: Record<string, Recipe> = {
  googlenet: {
    trainedOn: 'imagenet',
    mark: { first: 'conv1.conv.weight', body: /^(conv[1-3]|inception(3[ab]|4[a-e]|5[ab]))\./, elements: 5605056 },
    // The published weights want -1..1; torchvision's transform_input turns ImageNet's mean and deviation into that.
    pictures: { resize: 256, crop: 224, interpolation: 'bilinear', mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] },
    auxiliary: { aux1: 'aux1.fc2', aux2: 'aux2.fc2' },
    write(g, image, { classes, channels, auxiliary }) {
      let x = stem(g, image, channels);
      let width = 192;
      for (const [name, part] of PARTS) {
        if (typeof part === 'number') {
          x = g.maxPool(name, x, { kernel: part, stride: 2, ceilMode: true });
          continue;
        }
        x = block(g, name, x, width, part);
        width = part[0] + part[2] + part[4] + part[5];
        const head = SIDES[name];
        if (auxiliary && head) auxiliaryHead(g, head, x, width, classes);
      }
      const headBoundary = x;
      x = g.dropout('dropout', g.flatten('flatten', g.globalAveragePool('avgpool', x)), { p: 0.2 });
      const scores = g.linear('fc', x, { in: LAST, out: classes, weightInit });
      return { scores, classifier: 'fc', features: LAST, headBoundary, bodyChannels: LAST };
    },
  },
};
