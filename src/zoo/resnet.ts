/**
 * Residual networks. Deep Residual Learning for Image Recognition, He et al. 2015 (stride in the 3x3 convolution, as
 * torchvision has it); Aggregated Residual Transformations, Xie et al. 2017; Wide Residual Networks, Zagoruyko 2016.
 */
import type { GraphBuilder } from '../graph/builder.js';
import { kaimingOut } from './init.js';
import type { Recipe } from './types.js';

interface Variant {
  block: 'basic' | 'bottleneck';
  /** Blocks in each of the four stages. */
  depths: [number, number, number, number];
  groups?: number;
  /** Channels of a group in the first stage, where a stage's planes are 64. */
  groupWidth?: number;
  /** Shorter side of the pictures that 224 pixels are cut from; default 256. */
  resize?: number;
  /** See `Mark`. */
  elements: number;
}

interface Block {
  name: string;
  in: number;
  planes: number;
  stride: number;
  groups: number;
  width: number;
}

const conv = (
  g: GraphBuilder,
  name: string,
  x: string,
  o: { in: number; out: number; kernel: number; stride?: number; groups?: number },
): string => g.conv2d(name, x, { ...o, padding: (o.kernel - 1) / 2, bias: false, weightInit: kaimingOut });

/** The sum of a block's two ways, and the activation behind it. */
function join(g: GraphBuilder, b: Block, out: number, x: string, y: string, lastRelu: string): string {
  let shortcut = x;
  if (b.stride !== 1 || b.in !== out) {
    const name = `${b.name}.downsample`;
    shortcut = conv(g, `${name}.0`, x, { in: b.in, out, kernel: 1, stride: b.stride });
    shortcut = g.batchNorm(`${name}.1`, shortcut, out);
  }
  return g.relu(`${b.name}.${lastRelu}`, g.add(`${b.name}.add`, y, shortcut));
}

function basic(g: GraphBuilder, x: string, b: Block): string {
  const { name, planes } = b;
  let y = conv(g, `${name}.conv1`, x, { in: b.in, out: planes, kernel: 3, stride: b.stride });
  y = g.relu(`${name}.relu`, g.batchNorm(`${name}.bn1`, y, planes));
  y = conv(g, `${name}.conv2`, y, { in: planes, out: planes, kernel: 3 });
  y = g.batchNorm(`${name}.bn2`, y, planes);
  return join(g, b, planes, x, y, 'relu_1');
}

function bottleneck(g: GraphBuilder, x: string, b: Block): string {
  const { name, width, stride, groups } = b;
  const out = b.planes * 4;
  let y = conv(g, `${name}.conv1`, x, { in: b.in, out: width, kernel: 1 });
  y = g.relu(`${name}.relu`, g.batchNorm(`${name}.bn1`, y, width));
  y = conv(g, `${name}.conv2`, y, { in: width, out: width, kernel: 3, stride, groups });
  y = g.relu(`${name}.relu_1`, g.batchNorm(`${name}.bn2`, y, width));
  y = conv(g, `${name}.conv3`, y, { in: width, out, kernel: 1 });
  y = g.batchNorm(`${name}.bn3`, y, out);
  return join(g, b, out, x, y, 'relu_2');
}

function resnet({ block, depths, groups = 1, groupWidth = 64, resize = 256, elements }: Variant): Recipe {
  const [writeBlock, expansion] = block === 'basic' ? [basic, 1] : [bottleneck, 4];
  return {
    trainedOn: 'imagenet',
    pictures: { resize, crop: 224, interpolation: 'bilinear' },
    mark: { first: 'conv1.weight', body: /^(conv1|bn1|layer[1-4])\./, elements },
    write(g, image, { classes, channels }) {
      let x = g.conv2d('conv1', image, {
        ...{ in: channels, out: 64, kernel: 7, stride: 2, padding: 3 },
        ...{ bias: false, weightInit: kaimingOut },
      });
      x = g.relu('relu', g.batchNorm('bn1', x, 64));
      x = g.maxPool('maxpool', x, { kernel: 3, stride: 2, padding: 1 });
      let width = 64;
      depths.forEach((depth, stage) => {
        const planes = 64 << stage;
        for (let i = 0; i < depth; i++) {
          const stride = stage > 0 && i === 0 ? 2 : 1;
          const inner = Math.floor((planes * groupWidth) / 64) * groups;
          x = writeBlock(g, x, { name: `layer${stage + 1}.${i}`, in: width, planes, stride, groups, width: inner });
          width = planes * expansion;
        }
      });
      const headBoundary = x;
      x = g.flatten('flatten', g.globalAveragePool('avgpool', x));
      const scores = g.linear('fc', x, { in: width, out: classes });
      return { scores, classifier: 'fc', features: width, headBoundary, bodyChannels: width };
    },
  };
}

export const resnets: Record<string, Recipe> = {
  resnet18: resnet({ elements: 11176704, block: 'basic', depths: [2, 2, 2, 2] }),
  resnet34: resnet({ elements: 21292288, block: 'basic', depths: [3, 4, 6, 3] }),
  resnet50: resnet({ elements: 23551744, block: 'bottleneck', depths: [3, 4, 6, 3] }),
  resnet101: resnet({ elements: 42596096, block: 'bottleneck', depths: [3, 4, 23, 3] }),
  resnet152: resnet({ elements: 58285824, block: 'bottleneck', depths: [3, 8, 36, 3] }),
  wide_resnet50_2: resnet({ elements: 66893056, block: 'bottleneck', depths: [3, 4, 6, 3], groupWidth: 128 }),
  wide_resnet101_2: resnet({ elements: 124966144, block: 'bottleneck', depths: [3, 4, 23, 3], groupWidth: 128 }),
  resnext50_32x4d: resnet({ elements: 23038720, block: 'bottleneck', depths: [3, 4, 6, 3], groups: 32, groupWidth: 4 }),
  resnext101_32x8d: resnet({
    elements: 86935808,
    block: 'bottleneck',
    depths: [3, 4, 23, 3],
    groups: 32,
    groupWidth: 8,
  }),
  resnext101_64x4d: resnet({
    elements: 81599744,
    resize: 232,
    block: 'bottleneck',
    depths: [3, 4, 23, 3],
    groups: 64,
    groupWidth: 4,
  }),
};
