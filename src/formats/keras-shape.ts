/** Keras' shapes and windows: sizes without the batch, pictures as [height, width, channels]; null: not known. */
import { inputSizeUnknown, paddingDepends } from './input-size.js';
import { isObject, kerasFault, type Json } from './keras-config.js';

export type Size = number | null;

/** A value of the graph under translation. Pictures lie as [N, C, H, W] there, whatever Keras' order. */
export interface KerasValue {
  value: string;
  shape: Size[];
}

export interface Window {
  kernel: [number, number];
  stride: [number, number];
  dilation: [number, number];
  /** Top, left, bottom, right. */
  padding: [number, number, number, number];
  out: [Size, Size];
}

const MAX_SIZE = 2 ** 31;

export function size(config: Json, key: string, where: string, least = 1): number {
  const value = config[key];
  if (!Number.isSafeInteger(value) || (value as number) < least || (value as number) > MAX_SIZE)
    throw kerasFault(`a whole number of ${least} or more`, `${key} of ${where}`, value);
  return value as number;
}

export function number(config: Json, key: string, usual: number, where: string): number {
  const value = config[key] ?? usual;
  // Some writers wrap numbers: {"class_name": "__numpy__", "config": {"value": 1}} or {"value": 1}.
  if (typeof value !== 'number' || !Number.isFinite(value)) throw kerasFault('a number', `${key} of ${where}`, value);
  return value;
}

/** One number for both directions, or two; `usual` where there is none. */
export function pair(config: Json, key: string, usual: [number, number], where: string): [number, number] {
  const value = config[key] ?? usual;
  const both = typeof value === 'number' ? [value, value] : value;
  const right = (v: unknown): boolean => Number.isSafeInteger(v) && (v as number) >= 1 && (v as number) <= MAX_SIZE;
  if (!Array.isArray(both) || both.length !== 2 || !both.every(right))
    throw kerasFault('one or two whole numbers of 1 or more', `${key} of ${where}`, value);
  return both as [number, number];
}

/** Kernel, stride and TensorFlow's padding over a picture of a size. */
export function windowOf(
  [h, w]: readonly [Size, Size],
  kernel: [number, number],
  config: Json,
  where: string,
  usualStride: [number, number] = [1, 1],
): Window {
  const stride = pair(config, 'strides', usualStride, where);
  const dilation = pair(config, 'dilation_rate', [1, 1], where);
  const padding = typeof config.padding === 'string' ? config.padding.toLowerCase() : 'valid';
  if (padding !== 'same' && padding !== 'valid')
    throw kerasFault("padding 'same' or 'valid'", where, String(config.padding).slice(0, 80));
  const axis = padding === 'same' ? same : valid;
  const [rows, columns] = [0, 1].map((i) => axis([h, w][i]!, kernel[i]!, stride[i]!, dilation[i]!, where)) as [
    Axis,
    Axis,
  ];
  return {
    kernel,
    stride,
    dilation,
    padding: [rows.before, columns.before, rows.after, columns.after],
    out: [rows.out, columns.out],
  };
}

interface Axis {
  before: number;
  after: number;
  out: Size;
}

/** Outputs = ceil(size / stride); of an odd number of missing pixels the last side gets one more. Throws ERR_INPUT_SIZE. */
function same(length: Size, kernel: number, stride: number, dilation: number, where: string): Axis {
  const reach = (kernel - 1) * dilation + 1;
  if (length === null && paddingDepends(reach, stride)) throw inputSizeUnknown(where);
  const out = length === null ? null : Math.ceil(length / stride);
  const missing = length === null ? reach - 1 : (out! - 1) * stride + reach - length;
  const total = Math.max(missing, 0);
  const before = Math.floor(total / 2);
  return { before, after: total - before, out };
}

function valid(length: Size, kernel: number, stride: number, dilation: number): Axis {
  const reach = (kernel - 1) * dilation + 1;
  const out = length === null ? null : Math.floor((length - reach) / stride) + 1;
  return { before: 0, after: 0, out };
}

/** The three sizes of a picture. */
export function picture(x: KerasValue, where: string): [Size, Size, number] {
  if (x.shape.length !== 3 || x.shape[2] === null)
    throw kerasFault('a picture with a known number of channels', where, `[${x.shape}]`);
  return x.shape as [Size, Size, number];
}

/** [[top, bottom], [left, right]], [vertical, horizontal] or one number. */
export function margins(config: Json, key: string, where: string): [number, number, number, number] {
  const value = config[key] ?? 1;
  const sides = (Array.isArray(value) ? value : [value, value]).flatMap((v: unknown) =>
    Array.isArray(v) ? v : [v, v],
  );
  const right = (v: unknown): boolean => Number.isSafeInteger(v) && (v as number) >= 0 && (v as number) <= MAX_SIZE;
  if (sides.length !== 4 || !sides.every(right)) throw kerasFault('numbers of pixels', `${key} of ${where}`, value);
  const [top, bottom, left, rightmost] = sides as [number, number, number, number];
  return [top, left, bottom, rightmost];
}

/** The sizes of an InputLayer, channels last. */
export function inputShape(config: Json, channelsFirst: boolean, where: string): Size[] {
  const given = config.batch_input_shape ?? config.batch_shape ?? (isObject(config.shape) ? undefined : config.shape);
  const right = (v: unknown): boolean => v === null || (Number.isSafeInteger(v) && (v as number) >= 1);
  if (!Array.isArray(given) || given.length < 2 || given.length > 8 || !given.slice(1).every(right))
    throw kerasFault('a shape', where, given);
  const shape = given.slice(1) as Size[];
  return channelsFirst && shape.length === 3 ? [shape[1]!, shape[2]!, shape[0]!] : shape;
}
