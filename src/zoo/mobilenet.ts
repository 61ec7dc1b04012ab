/** MobileNetV2: Inverted Residuals and Linear Bottlenecks, Sandler et al. 2018. */
import type { GraphBuilder } from '../graph/builder.js';
import { kaimingOut, small, zeros } from './init.js';
import type { Recipe } from './types.js';

/** Stages of blocks: factor of expansion, channels, number of blocks, stride of the first. */
const STAGES = [
  [1, 16, 1, 1],
  [6, 24, 2, 2],
  [6, 32, 3, 2],
  [6, 64, 4, 2],
  [6, 96, 3, 1],
  [6, 160, 3, 2],
  [6, 320, 1, 1],
] as const;
const FIRST = 32;
const LAST = 1280;

interface Conv {
  in: number;
  out: number;
  kernel: 1 | 3;
  stride?: number;
  groups?: number;
}

const conv = (g: GraphBuilder, name: string, x: string, o: Conv): string =>
  g.conv2d(name, x, { ...o, padding: (o.kernel - 1) / 2, bias: false, weightInit: kaimingOut });

/** Convolution `<name>.0`, batch norm `<name>.1`, relu6 `<name>.2`. */
const convNormRelu = (g: GraphBuilder, name: string, x: string, o: Conv): string =>
  g.relu6(`${name}.2`, g.batchNorm(`${name}.1`, conv(g, `${name}.0`, x, o), o.out));

/** Expand by 1x1, one 3x3 a channel, project by 1x1; added to its input where both have one size. */
function block(
  g: GraphBuilder,
  name: string,
  x: string,
  o: { in: number; out: number; factor: number; stride: number },
) {
  const width = o.in * o.factor;
  let y = x;
  let part = 0;
  if (o.factor !== 1) y = convNormRelu(g, `${name}.conv.${part++}`, y, { in: o.in, out: width, kernel: 1 });
  const depthwise: Conv = { in: width, out: width, kernel: 3, stride: o.stride, groups: width };
  y = convNormRelu(g, `${name}.conv.${part++}`, y, depthwise);
  y = conv(g, `${name}.conv.${part++}`, y, { in: width, out: o.out, kernel: 1 });
  y = g.batchNorm(`${name}.conv.${part}`, y, o.out);
  return o.stride === 1 && o.in === o.out ? g.add(`${name}.add`, x, y) : y;
}

export const mobilenets: Record<string, Recipe> = {
  mobilenet_v2: {
    trainedOn: 'imagenet',
    mark: { first: 'features.0.0.weight', body: /^features\./, elements: 2257120 },
    write(g, image, { classes, channels }) {
      let x = convNormRelu(g, 'features.0', image, { in: channels, out: FIRST, kernel: 3, stride: 2 });
      let width = FIRST;
      let index = 1;
      for (const [factor, out, blocks, firstStride] of STAGES) {
        for (let i = 0; i < blocks; i++) {
          const stride = i === 0 ? firstStride : 1;
          x = block(g, `features.${index++}`, x, { in: width, out, factor, stride });
          width = out;
        }
      }
      const headBoundary = convNormRelu(g, `features.${index}`, x, { in: width, out: LAST, kernel: 1 });
      x = g.flatten('flatten', g.globalAveragePool('avgpool', headBoundary));
      x = g.dropout('classifier.0', x, { p: 0.2 });
      const scores = g.linear('classifier.1', x, { in: LAST, out: classes, weightInit: small, biasInit: zeros });
      return { scores, classifier: 'classifier.1', features: LAST, headBoundary, bodyChannels: LAST };
    },
  },
};
