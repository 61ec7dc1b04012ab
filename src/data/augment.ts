import { expected } from '../errors.js';
import type { Augment, PicturePreprocessing } from './types.js';

/** What `augment: true` means. */
export const defaultAugment: Augment = { crop: true, flip: true, brightness: 0.2, contrast: 0.2 };

/** The core's names for the changes, with defaults filled in; null where nothing is on. */
export interface CoreAugment {
  crop?: { scale: readonly [number, number]; ratio: readonly [number, number] };
  flip?: number;
  flipVertical?: number;
  rotation?: number;
  brightness?: number;
  contrast?: number;
  saturation?: number;
  hue?: number;
}

/** Largest value of each option that is one number. */
const LIMITS = {
  flip: 1,
  flipVertical: 1,
  rotation: 180,
  brightness: 100,
  contrast: 100,
  saturation: 100,
  hue: 0.5,
} as const;
const LARGEST = Object.entries(LIMITS) as [keyof typeof LIMITS, number][];

function cropOf(crop: Exclude<Augment['crop'], undefined>): CoreAugment['crop'] | undefined {
  if (crop === false) return undefined;
  const { scale = [0.35, 1], ratio = [3 / 4, 4 / 3] } = crop === true ? {} : crop;
  const within = (range: readonly number[], low: number, high: number): boolean =>
    range.length === 2 && low <= range[0]! && range[0]! <= range[1]! && range[1]! <= high;
  if (!within(scale, 1e-4, 1))
    throw expected('ERR_OPTION', '[smallest, largest] in 0.0001 … 1', 'augment.crop.scale', scale);
  if (!within(ratio, 0.01, 100))
    throw expected('ERR_OPTION', '[smallest, largest] in 0.01 … 100', 'augment.crop.ratio', ratio);
  return { scale, ratio };
}

/** Checks the options. Throws ERR_OPTION. */
export function resolveAugment(augment: Augment | boolean | undefined): CoreAugment | null {
  if (!augment) return null;
  const given: Augment = augment === true ? defaultAugment : augment;
  const unknown = Object.keys(given).find((key) => key !== 'crop' && !(key in LIMITS));
  if (unknown) throw expected('ERR_OPTION', `one of crop, ${Object.keys(LIMITS).join(', ')}`, 'augment', unknown);
  const result: CoreAugment = {};
  const crop = given.crop === undefined ? undefined : cropOf(given.crop);
  if (crop) result.crop = crop;
  for (const [key, most] of LARGEST) {
    const value = given[key] === true ? 0.5 : Number(given[key] ?? 0);
    if (!(value >= 0 && value <= most)) throw expected('ERR_OPTION', `0 … ${most}`, `augment.${key}`, given[key]);
    if (value > 0) result[key] = value;
  }
  return Object.keys(result).length > 0 ? result : null;
}

/** The request of the command `images` but for its items. */
export function pictureRequest(
  preprocessing: PicturePreprocessing,
  augment: CoreAugment | null,
): Record<string, unknown> {
  const { resize, crop, interpolation, mean, std, channels } = preprocessing;
  return { resize, crop, interpolation, mean, std, channels, ...(augment && { augment }) };
}
