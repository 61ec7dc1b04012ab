/**
 * The thin residual networks for 32 x 32 pictures of section 4.2 of He et al. 2015, with shortcuts without parameters
 * ("option A"). Names are those of github.com/akamaster/pytorch_resnet_cifar10.
 */
import type { GraphBuilder } from '../graph/builder.js';
import { kaimingIn } from './init.js';
import type { Recipe } from './types.js';

/** Every second pixel, and zeros for the channels that are new: half of them before, half behind. */
function shortcut(g: GraphBuilder, name: string, x: string, added: number): string {
  const rows = g.slice(`${name}.rows`, x, { axis: 2, step: 2 });
  const pixels = g.slice(`${name}.columns`, rows, { axis: 3, step: 2 });
  return g.pad(name, pixels, [0, added / 2, 0, 0, 0, added / 2, 0, 0]);
}

function conv3x3(g: GraphBuilder, name: string, x: string, from: number, to: number, stride: number): string {
  const init = { bias: false, weightInit: kaimingIn };
  return g.conv2d(name, x, { in: from, out: to, kernel: 3, padding: 1, stride, ...init });
}

function block(g: GraphBuilder, name: string, x: string, from: number, to: number): string {
  const stride = from === to ? 1 : 2;
  let y = conv3x3(g, `${name}.conv1`, x, from, to, stride);
  y = g.relu(`${name}.relu`, g.batchNorm(`${name}.bn1`, y, to));
  y = g.batchNorm(`${name}.bn2`, conv3x3(g, `${name}.conv2`, y, to, to, 1), to);
  const way = from === to ? x : shortcut(g, `${name}.shortcut`, x, to - from);
  return g.relu(`${name}.relu_1`, g.add(`${name}.add`, y, way));
}

/**
 * `depth` layers with weights: three stages of (depth - 2) / 6 blocks, the first convolution and the last layer.
 * `elements`: see `Mark`.
 */
function cifarResnet(depth: number, elements: number): Recipe {
  return {
    trainedOn: 'cifar10',
    mark: { first: 'conv1.weight', body: /^(conv1|bn1|layer[1-3])\./, elements },
    write(g, image, { classes, channels }) {
      let x = conv3x3(g, 'conv1', image, channels, 16, 1);
      x = g.relu('relu', g.batchNorm('bn1', x, 16));
      let width = 16;
      for (let stage = 1; stage <= 3; stage++) {
        for (let i = 0; i < (depth - 2) / 6; i++) {
          const out = 8 << stage;
          x = block(g, `layer${stage}.${i}`, x, width, out);
          width = out;
        }
      }
      const headBoundary = x;
      x = g.flatten('flatten', g.globalAveragePool('avgpool', x));
      const scores = g.linear('linear', x, { in: width, out: classes, weightInit: kaimingIn });
      return { scores, classifier: 'linear', features: width, headBoundary, bodyChannels: width };
    },
  };
}

export const cifarResnets: Record<string, Recipe> = {
  cifar_resnet20: cifarResnet(20, 270016),
  cifar_resnet32: cifarResnet(32, 465344),
  cifar_resnet44: cifarResnet(44, 660672),
  cifar_resnet56: cifarResnet(56, 856000),
  cifar_resnet110: cifarResnet(110, 1734976),
};
