/**
 * MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications, Howard et al. 2017. torchvision has
 * none: layers are named as in Keras (`conv_dw_3`, `conv_pw_3_bn`, `conv_preds`), their tensors as in PyTorch (`.weight`).
 * Padding is TensorFlow's `same` for an even picture: one pixel right and below where the stride is 2.
 */
import type { GraphBuilder, Padding } from '../graph/builder.js';
import { kaimingOut, zeros } from './init.js';
import type { Recipe } from './types.js';

/** Blocks: channels, stride. */
const BLOCKS = [
  [64, 1],
  [128, 2],
  [128, 1],
  [256, 2],
  [256, 1],
  [512, 2],
  [512, 1],
  [512, 1],
  [512, 1],
  [512, 1],
  [512, 1],
  [1024, 2],
  [1024, 1],
] as const;
const FIRST = 32;
const NORM = { eps: 1e-3, momentum: 0.01 };

interface Conv {
  in: number;
  out: number;
  kernel: 1 | 3;
  stride?: number;
  groups?: number;
}

function convNorm(g: GraphBuilder, name: string, x: string, o: Conv): string {
  const padding: Padding = o.kernel === 1 ? 0 : o.stride === 2 ? [0, 0, 1, 1] : 1;
  const y = g.conv2d(name, x, { ...o, padding, bias: false, weightInit: kaimingOut });
  return g.relu6(`${name}_relu`, g.batchNorm(`${name}_bn`, y, o.out, NORM));
}

function mobilenetV1(factor: number): Recipe {
  return {
    trainedOn: 'imagenet',
    pictures: { resize: 256, crop: 224, interpolation: 'bilinear', mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] },
    write(g, image, { classes, channels }) {
      let width = FIRST * factor;
      let x = convNorm(g, 'conv1', image, { in: channels, out: width, kernel: 3, stride: 2 });
      BLOCKS.forEach(([planes, stride], i) => {
        const out = planes * factor;
        x = convNorm(g, `conv_dw_${i + 1}`, x, { in: width, out: width, kernel: 3, stride, groups: width });
        x = convNorm(g, `conv_pw_${i + 1}`, x, { in: width, out, kernel: 1 });
        width = out;
      });
      const headBoundary = x;
      x = g.dropout('dropout', g.globalAveragePool('global_average_pooling2d', x), { p: 1e-3 });
      x = g.conv2d('conv_preds', x, { in: width, out: classes, kernel: 1, biasInit: zeros });
      const scores = g.flatten('reshape_2', x);
      return { scores, classifier: 'conv_preds', features: width, headBoundary, bodyChannels: width };
    },
  };
}

export const mobilenetV1s: Record<string, Recipe> = {
  mobilenet_v1: mobilenetV1(1),
  mobilenet_v1_0_75: mobilenetV1(0.75),
  mobilenet_v1_0_5: mobilenetV1(0.5),
  mobilenet_v1_0_25: mobilenetV1(0.25),
};
