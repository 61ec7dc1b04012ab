/**
 * Names of networks as timm (PyTorch Image Models) has them, and the zoo's for the same. Only networks that compute the same
 * are here: timm's `resnetblur50` has the tensors of a ResNet-50 and another answer, and what begins with `tf_` pads pictures
 * as TensorFlow does.
 */
import { convnext, efficientnet, mnasnet, mobilenetV2, mobilenetV3Large, mobilenetV3Small } from './timm-names.js';
import { regnet, vgg, type Rename } from './timm-names.js';
import type { Norm } from './types.js';

/** A network of timm's in the zoo's words. */
export interface TimmNetwork {
  /** The zoo's name. */
  architecture: string;
  /** The zoo's name of a tensor; a name that timm's network does not have stays as it is. */
  rename: Rename;
  /** The zoo's shape of a tensor: VGG's linear layers are convolutions in timm, ConvNeXt's scales are vectors. */
  reshape(tensor: string, shape: readonly number[]): number[];
  /** Its batch norms, where they are others than torchvision's. */
  norm?: Norm;
}

type Reshape = TimmNetwork['reshape'];
const asItIs: Reshape = (_, shape) => [...shape];

/** A kernel over the whole map, [out, in, 7, 7], is a linear layer over the flattened one. */
const reshapeVgg: Reshape = (tensor, shape) => {
  const [out, ...rest] = shape;
  const linear = /^classifier\.[03]\.weight$/.test(tensor) && rest.length === 3;
  return linear ? [out!, rest.reduce((a, b) => a * b)] : [...shape];
};

/** [C] to [C, 1, 1]. */
const reshapeConvnext: Reshape = (tensor, shape) =>
  tensor.endsWith('.layer_scale') && shape.length === 1 ? [shape[0]!, 1, 1] : [...shape];

/** A 1x1 convolution of what was pooled is a linear layer. */
const reshapeV3: Reshape = (tensor, shape) =>
  tensor === 'classifier.0.weight' && shape.length === 4 && shape[2] === 1 && shape[3] === 1
    ? shape.slice(0, 2)
    : [...shape];

/** PyTorch's own numbers, where torchvision has TensorFlow's. */
const NORM = { eps: 1e-5, momentum: 0.1 };

const SAME = [
  ...['resnet18', 'resnet34', 'resnet50', 'resnet101', 'resnet152', 'wide_resnet50_2', 'wide_resnet101_2'],
  ...['resnext50_32x4d', 'resnext101_32x8d', 'resnext101_64x4d'],
  ...['densenet121', 'densenet161', 'densenet169', 'densenet201', 'inception_v3'],
];
const VGG = ['vgg11', 'vgg13', 'vgg16', 'vgg19'].flatMap((name) => [name, `${name}_bn`]);
const EFFICIENTNET = ['efficientnet_b0', 'efficientnet_b1', 'efficientnet_b2', 'efficientnet_b3', 'efficientnet_b4'];
const CONVNEXT = ['convnext_tiny', 'convnext_small', 'convnext_base', 'convnext_large'];
const LARGE_EFFICIENTNET = ['efficientnet_b5', 'efficientnet_b6', 'efficientnet_b7'];
/** timm's sizes of RegNet X and Y, in millions of multiplications for one picture, and torchvision's. Of one size some differ. */
const REGNET_X = { '004_tv': '400mf', '008': '800mf', '016': '1_6gf', '032': '3_2gf', '080': '8gf' };
const REGNET_Y = { '004': '400mf', '008_tv': '800mf', '016': '1_6gf', '032': '3_2gf', '080_tv': '8gf' };
const REGNET = Object.entries({ x: REGNET_X, y: REGNET_Y }).flatMap(([kind, sizes]) =>
  Object.entries({ ...sizes, '160': '16gf', '320': '32gf' }).map(
    ([timm, zoo]) => [`regnet${kind}_${timm}`, `regnet_${kind}_${zoo}`] as const,
  ),
);

const row = (
  timm: string,
  architecture: string,
  rename: Rename,
  { reshape = asItIs, norm }: { reshape?: Reshape; norm?: Norm } = {},
): [string, TimmNetwork] => [timm, { architecture, rename, reshape, ...(norm && { norm }) }];

const NETWORKS = new Map<string, TimmNetwork>([
  ...SAME.map((name) => row(name, name, (tensor) => tensor)),
  ...VGG.map((name) => row(name, name, vgg, { reshape: reshapeVgg })),
  row('mobilenetv1_100', 'mobilenet_v1', (tensor) => tensor),
  row('mobilenetv2_100', 'mobilenet_v2', mobilenetV2),
  row('mobilenetv3_large_100', 'mobilenet_v3_large', mobilenetV3Large, { reshape: reshapeV3, norm: NORM }),
  row('mobilenetv3_small_100', 'mobilenet_v3_small', mobilenetV3Small, { reshape: reshapeV3, norm: NORM }),
  row('mnasnet_100', 'mnasnet1_0', mnasnet),
  ...EFFICIENTNET.map((name) => row(name, name, efficientnet)),
  ...LARGE_EFFICIENTNET.map((name) => row(name, name, efficientnet, { norm: NORM })),
  ...REGNET.map(([timm, zoo]) => row(timm, zoo, regnet)),
  ...CONVNEXT.map((name) => row(name, name, convnext, { reshape: reshapeConvnext })),
]);

/** Names of timm's networks that the zoo has. */
export const timmNames = (): string[] => [...NETWORKS.keys()];

export const fromTimm = (name: string): TimmNetwork | undefined => NETWORKS.get(name);
