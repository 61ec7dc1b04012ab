/**
 * MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications, Howard et al. 2017. torchvision has
 * none: names are timm's (`mobilenetv1_100`), and so is the padding, one pixel on each side.
 */
import type { GraphBuilder } from '../graph/builder.js';
import { kaimingOut } from './init.js';
import type { Recipe } from './types.js';

/** Stages: channels, number of blocks; the first block of each has stride 2, but for that of the first. */
const STAGES = [
  [64, 1],
  [128, 2],
  [256, 2],
  [512, 6],
  [1024, 2],
] as const;
const FIRST = 32;

interface Conv {
  in: number;
  out: number;
  kernel: 1 | 3;
  stride?: number;
  groups?: number;
}

/** Convolution, batch norm, relu6, the first two under names of their own. */
function convNormRelu(g: GraphBuilder, conv: string, norm: string, x: string, o: Conv): string {
  const sizes = { ...o, padding: (o.kernel - 1) / 2, bias: false, weightInit: kaimingOut };
  return g.relu6(`${norm}.act`, g.batchNorm(norm, g.conv2d(conv, x, sizes), o.out));
}

/** One 3x3 a channel, and 1x1. */
function block(g: GraphBuilder, name: string, x: string, from: number, out: number, stride: number): string {
  const depthwise: Conv = { in: from, out: from, kernel: 3, stride, groups: from };
  const y = convNormRelu(g, `${name}.conv_dw`, `${name}.bn1`, x, depthwise);
  return convNormRelu(g, `${name}.conv_pw`, `${name}.bn2`, y, { in: from, out, kernel: 1 });
}

/** `factor`: of all channels; `elements`: see `Mark`. */
function mobilenetV1(factor: number, elements: number): Recipe {
  return {
    trainedOn: 'imagenet',
    mark: { first: 'conv_stem.weight', body: /^(conv_stem|bn1|blocks)\./, elements },
    pictures: { resize: 256, crop: 224, interpolation: 'bicubic', mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] },
    write(g, image, { classes, channels }) {
      let width = FIRST * factor;
      let x = convNormRelu(g, 'conv_stem', 'bn1', image, { in: channels, out: width, kernel: 3, stride: 2 });
      STAGES.forEach(([planes, blocks], stage) => {
        for (let i = 0; i < blocks; i++) {
          const stride = stage > 0 && i === 0 ? 2 : 1;
          x = block(g, `blocks.${stage}.${i}`, x, width, planes * factor, stride);
          width = planes * factor;
        }
      });
      const headBoundary = x;
      x = g.flatten('flatten', g.globalAveragePool('global_pool', x));
      const scores = g.linear('classifier', x, { in: width, out: classes });
      return { scores, classifier: 'classifier', features: width, headBoundary, bodyChannels: width };
    },
  };
}

export const mobilenetV1s: Record<string, Recipe> = {
  mobilenet_v1: mobilenetV1(1, 3228000),
  mobilenet_v1_0_75: mobilenetV1(0.75, 1832328),
  mobilenet_v1_0_5: mobilenetV1(0.5, 829104),
  mobilenet_v1_0_25: mobilenetV1(0.25, 218328),
};
