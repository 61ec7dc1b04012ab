/** What a repository says of its network in `config.json`: timm's form, and transformers' for its labels. */
import { readFile, stat } from 'node:fs/promises';
import { describe, ThawError } from '../errors.js';
import type { Preprocessing } from '../zoo/types.js';

/** What was found; null where the configuration does not say. */
export interface HubConfig {
  /** timm's name. */
  architecture: string | null;
  /** A network that timm builds with changes, which its name does not tell. */
  changes: string[];
  preprocessing: Preprocessing | null;
  labels: string[] | null;
  notes: string[];
}

type Fields = Record<string, unknown>;

/** Arguments of timm's that change nothing of what a network answers, or that the tensors tell. */
const HARMLESS = new Set(['num_classes', 'in_chans', 'img_size', 'drop_rate', 'drop_path_rate', 'global_pool']);
/** A configuration is a page of text. */
const LARGEST = 2 ** 24;
const MOST_PIXELS = 16_384;

/**
 * @param file a `config.json`
 * @throws ERR_HUB_CONFIG what is no JSON object, or says things that contradict themselves
 */
export async function readConfig(file: string): Promise<HubConfig> {
  const { size } = await stat(file);
  if (size > LARGEST) throw bad(file, `up to ${LARGEST} bytes`, size);
  const text = await readFile(file, 'utf8');
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw bad(file, 'JSON', text.slice(0, 40));
  }
  if (!isObject(parsed)) throw bad(file, 'a JSON object', parsed);
  const { architecture, pretrained_cfg: nested } = parsed;
  // In other configurations, fields of timm's names may mean other things.
  if (typeof architecture !== 'string')
    return { architecture: null, changes: [], preprocessing: null, labels: idLabels(parsed), notes: [] };
  // Repositories of timm's first years have all in one object.
  const pretrained = isObject(nested) ? nested : parsed;
  const notes: string[] = [];
  return {
    architecture,
    changes: changesOf(parsed),
    preprocessing: pretrained['input_size'] === undefined ? null : preprocessingOf(pretrained, file, notes),
    labels: timmLabels(parsed, pretrained, file),
    notes,
  };
}

function changesOf({ model_args: args, global_pool: pool }: Fields): string[] {
  const names = isObject(args) ? Object.keys(args).filter((name) => !HARMLESS.has(name)) : [];
  const pools = [pool, isObject(args) ? args['global_pool'] : undefined];
  const other = pools.find((one) => typeof one === 'string' && one !== '' && one !== 'avg');
  return other === undefined ? names : [...names, `global_pool ${describe(other)}`];
}

/** timm's preprocessing for use: resize to the input's size divided by `crop_pct`, cut out the centre. */
function preprocessingOf(fields: Fields, file: string, notes: string[]): Preprocessing {
  const { input_size, crop_pct = 0.875, crop_mode = 'center', interpolation = 'bicubic', mean, std } = fields;
  if (!isNumbers(input_size, 3) || ![1, 3, 4].includes(input_size[0]!) || !input_size.slice(1).every(isPixels))
    throw bad(file, 'input_size [channels, height, width]', input_size);
  if (typeof crop_pct !== 'number' || !(crop_pct > 0.01 && crop_pct <= 1))
    throw bad(file, 'crop_pct up to 1', crop_pct);
  const [channels, height, width] = input_size as [1 | 3 | 4, number, number];
  for (const [name, value] of Object.entries({ mean, std }))
    if (!isNumbers(value, channels)) throw bad(file, `${name} of ${channels} numbers`, value);
  if ((std as number[]).some((value) => value <= 0)) throw bad(file, 'std above 0', std);
  const square = height === width;
  const scaled = [Math.floor(height / crop_pct), Math.floor(width / crop_pct)] as [number, number];
  if (crop_mode !== 'center' && crop_mode !== 'squash')
    notes.push(`crop_mode ${describe(crop_mode)} of the configuration is not there: the centre is cut out`);
  if (!square && crop_mode !== 'squash')
    notes.push(`pictures are resized to ${scaled[0]} x ${scaled[1]}, their sides' ratio is lost`);
  return {
    resize: crop_mode === 'squash' || !square ? scaled : scaled[0],
    crop: square ? height : [height, width],
    interpolation: kernelOf(interpolation, notes),
    mean: mean as number[],
    std: std as number[],
    channels,
    source: 'file',
  };
}

function kernelOf(name: unknown, notes: string[]): 'bilinear' | 'bicubic' {
  if (name === 'bilinear' || name === 'bicubic') return name;
  notes.push(`interpolation ${describe(name)} of the configuration is not there: bicubic takes its place`);
  return 'bicubic';
}

/** `label_names` with their `label_descriptions`. */
function timmLabels(config: Fields, pretrained: Fields, file: string): string[] | null {
  const names = config['label_names'] ?? pretrained['label_names'] ?? pretrained['labels'] ?? null;
  if (names === null) return null;
  if (!isNames(names)) throw bad(file, 'label_names, a list of names', names);
  const words = config['label_descriptions'] ?? pretrained['label_descriptions'];
  const described = isObject(words) ? names.map((name) => (Object.hasOwn(words, name) ? words[name] : name)) : names;
  return isNames(described) ? described : names;
}

/** transformers' `id2label`, from '0' on. */
function idLabels({ id2label: map }: Fields): string[] | null {
  if (!isObject(map)) return null;
  const found = Object.keys(map).map((_, i) => map[i]);
  // Where nobody named them, transformers writes LABEL_0, LABEL_1, …
  if (!isNames(found) || found.every((name, i) => name === `LABEL_${i}`)) return null;
  return found;
}

const isObject = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const isNames = (value: unknown): value is string[] =>
  Array.isArray(value) && value.length > 0 && value.every((name) => typeof name === 'string' && name !== '');
const isNumbers = (value: unknown, length: number): value is number[] =>
  Array.isArray(value) && value.length === length && value.every((one) => Number.isFinite(one));
const isPixels = (value: number): boolean => Number.isInteger(value) && value > 0 && value <= MOST_PIXELS;

function bad(file: string, what: string, received: unknown): ThawError {
  return new ThawError('ERR_HUB_CONFIG', `expected ${what} in '${file}', received ${describe(received)}`);
}
