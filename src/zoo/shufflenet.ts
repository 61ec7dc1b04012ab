/** ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design, Ma et al. 2018. */
import type { GraphBuilder } from '../graph/builder.js';
import type { Recipe } from './types.js';

const DEPTHS = [4, 8, 4];
const FIRST = 24;

interface Conv {
  in: number;
  out: number;
  kernel: 1 | 3;
  stride?: number;
  groups?: number;
}

/** Layer `index` of a sequence: a convolution, and its batch norm as the next. */
function convNormAt(g: GraphBuilder, name: string, index: number, x: string, o: Conv): string {
  const y = g.conv2d(`${name}.${index}`, x, { ...o, padding: (o.kernel - 1) / 2, bias: false });
  return g.batchNorm(`${name}.${index + 1}`, y, o.out);
}

/** The way by a 3x3 of each channel with stride 2, and a 1x1. */
function shortcut(g: GraphBuilder, name: string, x: string, from: number, half: number): string {
  let y = convNormAt(g, name, 0, x, { in: from, out: from, kernel: 3, stride: 2, groups: from });
  y = convNormAt(g, name, 2, y, { in: from, out: half, kernel: 1 });
  return g.relu(`${name}.4`, y);
}

/** The way by 1x1, a 3x3 of each channel, and 1x1. */
function main(g: GraphBuilder, name: string, x: string, from: number, half: number, stride: number): string {
  let y = g.relu(`${name}.2`, convNormAt(g, name, 0, x, { in: from, out: half, kernel: 1 }));
  y = convNormAt(g, name, 3, y, { in: half, out: half, kernel: 3, stride, groups: half });
  return g.relu(`${name}.7`, convNormAt(g, name, 5, y, { in: half, out: half, kernel: 1 }));
}

/**
 * Joins two values of `half` channels, one of this and one of that in turn. Rows of a channel lie one after another in
 * memory: joining along the height puts channel i of `b` behind channel i of `a`, and reading that as twice the channels
 * is the shuffle.
 */
function shuffle(g: GraphBuilder, name: string, a: string, b: string, half: number): string {
  return g.reshape(`${name}.shuffle`, g.concat(`${name}.cat`, [a, b], 2), [0, 2 * half, -1, 0]);
}

/** Half of the channels goes past the block; where the picture shrinks, all go both ways. */
function block(g: GraphBuilder, name: string, x: string, from: number, out: number): string {
  const half = out / 2;
  if (from !== out) {
    const past = shortcut(g, `${name}.branch1`, x, from, half);
    return shuffle(g, name, past, main(g, `${name}.branch2`, x, from, half, 2), half);
  }
  const past = g.slice(`${name}.chunk`, x, { axis: 1, start: 0, end: half });
  const through = g.slice(`${name}.chunk_1`, x, { axis: 1, start: half, end: out });
  return shuffle(g, name, past, main(g, `${name}.branch2`, through, half, half, 1), half);
}

/** `widths`: channels of stages 2 to 4 and of the last convolution. */
function shufflenet(widths: [number, number, number, number], elements: number, resize = 256): Recipe {
  return {
    trainedOn: 'imagenet',
    mark: { first: 'conv1.0.weight', body: /^(conv1|stage[2-4]|conv5)\./, elements },
    pictures: { resize, crop: 224, interpolation: 'bilinear' },
    write(g, image, { classes, channels }) {
      let x = convNormAt(g, 'conv1', 0, image, { in: channels, out: FIRST, kernel: 3, stride: 2 });
      x = g.maxPool('maxpool', g.relu('conv1.2', x), { kernel: 3, stride: 2, padding: 1 });
      let width = FIRST;
      DEPTHS.forEach((depth, stage) => {
        for (let i = 0; i < depth; i++) {
          x = block(g, `stage${stage + 2}.${i}`, x, width, widths[stage]!);
          width = widths[stage]!;
        }
      });
      const last = widths[3];
      const headBoundary = g.relu('conv5.2', convNormAt(g, 'conv5', 0, x, { in: width, out: last, kernel: 1 }));
      x = g.flatten('flatten', g.globalAveragePool('mean', headBoundary));
      const scores = g.linear('fc', x, { in: last, out: classes });
      return { scores, classifier: 'fc', features: last, headBoundary, bodyChannels: last };
    },
  };
}

export const shufflenets: Record<string, Recipe> = {
  shufflenet_v2_x0_5: shufflenet([48, 96, 192, 1024], 349096),
  shufflenet_v2_x1_0: shufflenet([116, 232, 464, 1024], 1269136),
  shufflenet_v2_x1_5: shufflenet([176, 352, 704, 1024], 2501416, 232),
  shufflenet_v2_x2_0: shufflenet([244, 488, 976, 2048], 5378064, 232),
};
