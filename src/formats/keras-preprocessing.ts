/**
 * How pictures come into a Keras model, where it tells: by its first layers, or by the name of a published network.
 * Source: keras.io, `preprocess_input` of each of the "Keras Applications".
 */
import type { Preprocessing } from '../zoo/types.js';
import type { Size } from './keras-shape.js';

/**
 * A convention for pictures of three channels. tf: values -1 … 1. torch: ImageNet's mean and deviation on 0 … 1. caffe: BGR,
 * 0 … 255 less ImageNet's mean. raw: 0 … 255.
 */
export type PreprocessingMode = 'tf' | 'torch' | 'caffe' | 'raw';

const NUMBERS: Readonly<Record<PreprocessingMode, { mean: number[]; std: number[] }>> = {
  tf: { mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] },
  torch: { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] },
  // Given in RGB: the graph itself turns the colours around.
  caffe: { mean: [123.68 / 255, 116.779 / 255, 103.939 / 255], std: [1 / 255, 1 / 255, 1 / 255] },
  raw: { mean: [0, 0, 0], std: [1 / 255, 1 / 255, 1 / 255] },
};

const PUBLISHED: [RegExp, PreprocessingMode][] = [
  [/^mobilenet(v2)?_\d\.\d+_\d+$/i, 'tf'],
  [/^(inception_v3|inception_resnet_v2|xception|nasnet(_mobile|_large)?|resnet(50|101|152)v2)$/i, 'tf'],
  [/^(vgg16|vgg19|resnet(50|101|152))$/i, 'caffe'],
  [/^densenet(121|169|201)$/i, 'torch'],
  [/^(efficientnetb[0-7]|efficientnetv2-\w+|mobilenetv3(small|large)|convnext_\w+)$/i, 'raw'],
];

/** The mode of a published network of this name. */
export function publishedMode(name: string): PreprocessingMode | undefined {
  return PUBLISHED.find(([pattern]) => pattern.test(name))?.[1];
}

/** Shorter side to the network's size and its middle, where the network takes squares: sides keep their ratio. */
export function preprocessingOf(mode: PreprocessingMode, [h, w]: readonly [Size, Size]): Preprocessing {
  const square = h === w && h !== null ? { resize: h, crop: h } : {};
  return { ...NUMBERS[mode], ...sized([h, w]), ...square, channels: 3, source: 'assumed' };
}

/** Of values 0 … 255 that the first layer turns into value · scale + offset. */
export function scaledPreprocessing(
  scale: number[],
  offset: number[],
  channels: number,
  size: readonly [Size, Size],
): Preprocessing | undefined {
  if ((channels !== 1 && channels !== 3 && channels !== 4) || scale.some((s) => s === 0)) return undefined;
  const at = (values: number[], c: number): number => values[values.length === 1 ? 0 : c]!;
  const each = Array.from({ length: channels }, (_, c) => [at(scale, c), at(offset, c)] as const);
  if (each.some(([s, o]) => s === undefined || o === undefined)) return undefined;
  const mean = each.map(([s, o]) => (o === 0 ? 0 : -o / (255 * s)));
  return { mean, std: each.map(([s]) => 1 / (255 * s)), ...sized(size), channels, source: 'file' };
}

/** Keras' data sets load pictures at the network's own size, sides as they come out. */
function sized([h, w]: readonly [Size, Size]): Pick<Preprocessing, 'resize' | 'crop' | 'interpolation'> {
  return { resize: [h ?? 224, w ?? 224], crop: null, interpolation: 'bilinear' };
}
