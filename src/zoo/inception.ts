/** Rethinking the Inception Architecture for Computer Vision, Szegedy et al. 2016: Inception v3. */
import type { GraphBuilder, Pair } from '../graph/builder.js';
import type { Recipe } from './types.js';

type Graph = GraphBuilder;

/** Convolution `<name>.conv`, batch norm `<name>.bn`, relu. */
function conv(
  g: Graph,
  name: string,
  x: string,
  from: number,
  out: number,
  kernel: Pair,
  o: { stride?: number; padding?: Pair } = {},
): string {
  // PyTorch cuts this normal off at -2 and 2, twenty deviations out: nothing is cut.
  const init = { bias: false, weightInit: { kind: 'normal', std: 0.1 } } as const;
  const y = g.conv2d(`${name}.conv`, x, { in: from, out, kernel, ...o, ...init });
  return g.relu(`${name}.relu`, g.batchNorm(`${name}.bn`, y, out, { eps: 1e-3 }));
}

const same3 = { padding: 1 };
/** 1 x 7 and 7 x 1, 1 x 3 and 3 x 1, at the same size. */
const WIDE = { kernel: [1, 7], padding: [0, 3] } satisfies { kernel: Pair; padding: Pair };
const TALL = { kernel: [7, 1], padding: [3, 0] } satisfies { kernel: Pair; padding: Pair };

const mean3 = (g: Graph, name: string, x: string): string =>
  g.averagePool(`${name}.avg_pool`, x, { kernel: 3, stride: 1, padding: 1 });
const max3 = (g: Graph, name: string, x: string): string => g.maxPool(`${name}.max_pool`, x, { kernel: 3, stride: 2 });

/** 35 x 35: by 1x1, 5x5, two 3x3, and a pool of `pooled` channels. */
function mixedA(g: Graph, name: string, x: string, from: number, pooled: number): string {
  const one = conv(g, `${name}.branch1x1`, x, from, 64, 1);
  let five = conv(g, `${name}.branch5x5_1`, x, from, 48, 1);
  five = conv(g, `${name}.branch5x5_2`, five, 48, 64, 5, { padding: 2 });
  let three = conv(g, `${name}.branch3x3dbl_1`, x, from, 64, 1);
  three = conv(g, `${name}.branch3x3dbl_2`, three, 64, 96, 3, same3);
  three = conv(g, `${name}.branch3x3dbl_3`, three, 96, 96, 3, same3);
  const pool = conv(g, `${name}.branch_pool`, mean3(g, name, x), from, pooled, 1);
  return g.concat(`${name}.cat`, [one, five, three, pool]);
}

/** 35 x 35 to 17 x 17. */
function mixedB(g: Graph, name: string, x: string, from: number): string {
  const three = conv(g, `${name}.branch3x3`, x, from, 384, 3, { stride: 2 });
  let double = conv(g, `${name}.branch3x3dbl_1`, x, from, 64, 1);
  double = conv(g, `${name}.branch3x3dbl_2`, double, 64, 96, 3, same3);
  double = conv(g, `${name}.branch3x3dbl_3`, double, 96, 96, 3, { stride: 2 });
  return g.concat(`${name}.cat`, [three, double, max3(g, name, x)]);
}

/** 17 x 17: windows of 7 in one direction after the other, `inner` channels between them. */
function mixedC(g: Graph, name: string, x: string, inner: number): string {
  const ways = (branch: string, windows: (typeof WIDE | typeof TALL)[]): string => {
    let y = conv(g, `${name}.${branch}_1`, x, 768, inner, 1);
    windows.forEach(({ kernel, padding }, i) => {
      const out = i === windows.length - 1 ? 192 : inner;
      y = conv(g, `${name}.${branch}_${i + 2}`, y, inner, out, kernel, { padding });
    });
    return y;
  };
  const one = conv(g, `${name}.branch1x1`, x, 768, 192, 1);
  const seven = ways('branch7x7', [WIDE, TALL]);
  const double = ways('branch7x7dbl', [TALL, WIDE, TALL, WIDE]);
  const pool = conv(g, `${name}.branch_pool`, mean3(g, name, x), 768, 192, 1);
  return g.concat(`${name}.cat`, [one, seven, double, pool]);
}

/** 17 x 17 to 8 x 8. */
function mixedD(g: Graph, name: string, x: string): string {
  let three = conv(g, `${name}.branch3x3_1`, x, 768, 192, 1);
  three = conv(g, `${name}.branch3x3_2`, three, 192, 320, 3, { stride: 2 });
  let seven = conv(g, `${name}.branch7x7x3_1`, x, 768, 192, 1);
  seven = conv(g, `${name}.branch7x7x3_2`, seven, 192, 192, WIDE.kernel, { padding: WIDE.padding });
  seven = conv(g, `${name}.branch7x7x3_3`, seven, 192, 192, TALL.kernel, { padding: TALL.padding });
  seven = conv(g, `${name}.branch7x7x3_4`, seven, 192, 192, 3, { stride: 2 });
  return g.concat(`${name}.cat`, [three, seven, max3(g, name, x)]);
}

/** 8 x 8: 1 x 3 and 3 x 1 side by side. */
function mixedE(g: Graph, name: string, x: string, from: number): string {
  const split = (branch: string, y: string): string => {
    const wide = conv(g, `${branch}a`, y, 384, 384, [1, 3], { padding: [0, 1] });
    const tall = conv(g, `${branch}b`, y, 384, 384, [3, 1], { padding: [1, 0] });
    return g.concat(`${branch}.cat`, [wide, tall]);
  };
  const one = conv(g, `${name}.branch1x1`, x, from, 320, 1);
  const three = split(`${name}.branch3x3_2`, conv(g, `${name}.branch3x3_1`, x, from, 384, 1));
  let double = conv(g, `${name}.branch3x3dbl_1`, x, from, 448, 1);
  double = split(`${name}.branch3x3dbl_3`, conv(g, `${name}.branch3x3dbl_2`, double, 448, 384, 3, same3));
  const pool = conv(g, `${name}.branch_pool`, mean3(g, name, x), from, 192, 1);
  return g.concat(`${name}.cat`, [one, three, double, pool]);
}

/** The head beside the 17 x 17 stage; needs pictures of 299 pixels or more. */
function auxiliaryHead(g: Graph, x: string, classes: number): void {
  const name = 'AuxLogits';
  let y = g.averagePool(`${name}.avg_pool`, x, { kernel: 5, stride: 3 });
  y = conv(g, `${name}.conv0`, y, 768, 128, 1);
  y = conv(g, `${name}.conv1`, y, 128, 768, 5);
  y = g.flatten(`${name}.flatten`, g.globalAveragePool(`${name}.avgpool`, y));
  g.linear(`${name}.fc`, y, { in: 768, out: classes, weightInit: { kind: 'normal', std: 1e-3 } });
}

function stem(g: Graph, image: string, channels: number): string {
  let x = conv(g, 'Conv2d_1a_3x3', image, channels, 32, 3, { stride: 2 });
  x = conv(g, 'Conv2d_2a_3x3', x, 32, 32, 3);
  x = conv(g, 'Conv2d_2b_3x3', x, 32, 64, 3, same3);
  x = g.maxPool('maxpool1', x, { kernel: 3, stride: 2 });
  x = conv(g, 'Conv2d_3b_1x1', x, 64, 80, 1);
  x = conv(g, 'Conv2d_4a_3x3', x, 80, 192, 3);
  return g.maxPool('maxpool2', x, { kernel: 3, stride: 2 });
}

const LAST = 2048;

export const inceptions: Record<string, Recipe> = {
  inception_v3: {
    trainedOn: 'imagenet',
    mark: {
      first: 'Conv2d_1a_3x3.conv.weight',
      body: /^(Conv2d_(1a_3x3|2a_3x3|2b_3x3|3b_1x1|4a_3x3)|Mixed_(5[b-d]|6[a-e]|7[a-c]))\./,
      elements: 21819136,
    },
    // The published weights want -1..1; torchvision's transform_input turns ImageNet's mean and deviation into that.
    pictures: { resize: 342, crop: 299, interpolation: 'bilinear', mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] },
    auxiliary: { AuxLogits: 'AuxLogits.fc' },
    write(g, image, { classes, channels, auxiliary }) {
      let x = stem(g, image, channels);
      x = mixedA(g, 'Mixed_5b', x, 192, 32);
      x = mixedA(g, 'Mixed_5c', x, 256, 64);
      x = mixedA(g, 'Mixed_5d', x, 288, 64);
      x = mixedB(g, 'Mixed_6a', x, 288);
      x = mixedC(g, 'Mixed_6b', x, 128);
      x = mixedC(g, 'Mixed_6c', x, 160);
      x = mixedC(g, 'Mixed_6d', x, 160);
      x = mixedC(g, 'Mixed_6e', x, 192);
      if (auxiliary) auxiliaryHead(g, x, classes);
      x = mixedD(g, 'Mixed_7a', x);
      x = mixedE(g, 'Mixed_7b', x, 1280);
      const headBoundary = mixedE(g, 'Mixed_7c', x, LAST);
      x = g.dropout('dropout', g.globalAveragePool('avgpool', headBoundary));
      const weightInit = { kind: 'normal', std: 0.1 } as const;
      const scores = g.linear('fc', g.flatten('flatten', x), { in: LAST, out: classes, weightInit });
      return { scores, classifier: 'fc', features: LAST, headBoundary, bodyChannels: LAST };
    },
  },
};
