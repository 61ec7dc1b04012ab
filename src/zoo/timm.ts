/**
 * Names of networks and tensors as timm (PyTorch Image Models) has them, and the zoo's for the same. Only networks that
 * compute the same are here: timm's `resnetblur50` has the tensors of a ResNet-50 and another answer.
 */

/** A network of timm's in the zoo's words. */
export interface TimmNetwork {
  /** The zoo's name. */
  architecture: string;
  /** The zoo's name of a tensor; a name that timm's network does not have stays as it is. */
  rename(tensor: string): string;
  /** The zoo's shape of a tensor: VGG's linear layers are convolutions in timm. */
  reshape(tensor: string, shape: readonly number[]): number[];
}

const same = (tensor: string): string => tensor;
const asItIs = (_: string, shape: readonly number[]): number[] => [...shape];

const SAME = [
  ...['resnet18', 'resnet34', 'resnet50', 'resnet101', 'resnet152', 'wide_resnet50_2', 'wide_resnet101_2'],
  ...['resnext50_32x4d', 'resnext101_32x8d', 'resnext101_64x4d'],
];
const VGG = ['vgg11', 'vgg13', 'vgg16', 'vgg19'].flatMap((name) => [name, `${name}_bn`]);

const VGG_HEAD: Record<string, string> = {
  'pre_logits.fc1': 'classifier.0',
  'pre_logits.fc2': 'classifier.3',
  'head.fc': 'classifier.6',
};

const renameVgg = (tensor: string): string =>
  tensor.replace(/^(?:pre_logits\.fc[12]|head\.fc)(?=\.)/, (layer) => VGG_HEAD[layer]!);

/** A kernel over the whole map, [out, in, 7, 7], is a linear layer over the flattened one. */
function reshapeVgg(tensor: string, shape: readonly number[]): number[] {
  const [out, ...rest] = shape;
  const linear = /^classifier\.[03]\.weight$/.test(tensor) && rest.length === 3;
  return linear ? [out!, rest.reduce((a, b) => a * b)] : [...shape];
}

/** Blocks before each stage of MobileNetV2: `features` counts them through. */
const BLOCKS_BEFORE = [0, 1, 3, 6, 10, 13, 16];
const FIRST_BLOCK = places({ conv_dw: '0.0', bn1: '0.1', conv_pw: '1', bn2: '2' });
const BLOCK = places({ conv_pw: '0.0', bn1: '0.1', conv_dw: '1.0', bn2: '1.1', conv_pwl: '2', bn3: '3' });
const ENDS = places({
  ...{ conv_stem: 'features.0.0', bn1: 'features.0.1' },
  ...{ conv_head: 'features.18.0', bn2: 'features.18.1', classifier: 'classifier.1' },
});

function places(names: Record<string, string>): ReadonlyMap<string, string> {
  return new Map(Object.entries(names));
}

function renameMobilenet(tensor: string): string {
  const [, stage, block, part, what] = /^blocks\.([0-6])\.(\d)\.(\w+)\.(\w+)$/.exec(tensor) ?? [];
  if (stage !== undefined) {
    const place = (stage === '0' ? FIRST_BLOCK : BLOCK).get(part!);
    return place ? `features.${BLOCKS_BEFORE[+stage]! + Number(block) + 1}.conv.${place}.${what}` : tensor;
  }
  const [, end, rest] = /^(\w+)\.(\w+)$/.exec(tensor) ?? [];
  const place = ENDS.get(end ?? '');
  return place ? `${place}.${rest}` : tensor;
}

const NETWORKS = new Map<string, TimmNetwork>([
  ...SAME.map((name) => [name, { architecture: name, rename: same, reshape: asItIs }] as const),
  ...VGG.map((name) => [name, { architecture: name, rename: renameVgg, reshape: reshapeVgg }] as const),
  ['mobilenetv2_100', { architecture: 'mobilenet_v2', rename: renameMobilenet, reshape: asItIs }],
]);

/** Names of timm's networks that the zoo has. */
export const timmNames = (): string[] => [...NETWORKS.keys()];

export const fromTimm = (name: string): TimmNetwork | undefined => NETWORKS.get(name);
