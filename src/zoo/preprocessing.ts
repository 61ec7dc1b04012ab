import type { Pictures, Preprocessing, Recipe } from './types.js';

// Of the pictures of ImageNet, on values 0..1. The CIFAR-10 networks were trained with the same numbers.
const MEAN = [0.485, 0.456, 0.406];
const STD = [0.229, 0.224, 0.225];

/** Grey takes the mean of the three colours' numbers, and so does a fourth channel. */
function spread(colours: readonly number[], channels: 1 | 3 | 4): number[] {
  const mean = Number((colours.reduce((sum, value) => sum + value, 0) / 3).toFixed(6));
  return channels === 1 ? [mean] : channels === 3 ? [...colours] : [...colours, mean];
}

const IMAGENET: Pictures = { resize: 256, crop: 224, interpolation: 'bilinear' };

/** What the published weights were trained with, marked as assumed. */
export function preprocessingFor({ trainedOn, pictures = IMAGENET }: Recipe, channels: 1 | 3 | 4): Preprocessing {
  const { mean = MEAN, std = STD, interpolation, resize, crop } = pictures;
  const size = trainedOn === 'imagenet' ? { resize, crop } : { resize: [32, 32] as [number, number], crop: null };
  const colours = { mean: spread(mean, channels), std: spread(std, channels) };
  return { ...size, interpolation, ...colours, channels, source: 'assumed' };
}
