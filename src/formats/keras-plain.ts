/** Keras' layers without weights: pools, joins, shapes. */
import { isObject } from './keras-config.js';
import type { LayerContext, LayerRule } from './keras-context.js';
import { margins, number, pair, picture, windowOf, type KerasValue, type Size } from './keras-shape.js';
import { below, upsampleNearest } from './upsample.js';

function pool(kind: 'maxPool' | 'averagePool'): LayerRule {
  return (c, [x]) => {
    const [h, w, channels] = picture(x!, c.where);
    const kernel = pair(c.config, 'pool_size', [2, 2], c.where);
    const { stride, padding, out } = windowOf([h, w], kernel, c.config, c.where, kernel);
    // TensorFlow's averages leave padding out.
    const value = c.g[kind](c.name, x!.value, { kernel, stride, padding, countIncludePad: false });
    return { value, shape: [...out, channels] };
  };
}

function globalPool(kind: 'globalAveragePool' | 'globalMaxPool'): LayerRule {
  return (c, [x]) => {
    const [, , channels] = picture(x!, c.where);
    const value = c.g[kind](c.name, x!.value);
    if (c.config.keepdims === true) return { value, shape: [1, 1, channels] };
    return { value: c.g.flatten(`${c.name}.flatten`, value), shape: [channels] };
  };
}

const product = (sizes: readonly Size[]): Size =>
  sizes.reduce<Size>((all, size) => (all === null || size === null ? null : all * size), 1);

const single = ({ shape }: KerasValue): boolean => shape.length === 3 && shape[0] === 1 && shape[1] === 1;

/** The value in Keras' own order of elements. */
function inOrder(c: LayerContext, x: KerasValue): string {
  if (x.shape.length !== 3 || single(x) || c.all.channelsFirst) return x.value;
  return c.g.transpose(`${c.name}.channels_last`, x.value, [0, 2, 3, 1]);
}

const flatten: LayerRule = (c, [x]) => {
  if (x!.shape.length === 1) return x!;
  return { value: c.g.flatten(c.name, inOrder(c, x!)), shape: [product(x!.shape)] };
};

const reshape: LayerRule = (c, [x]) => {
  const target = targetShape(c, x!);
  if (target.length === 1) return flatten(c, [x!]);
  if (target.length === x!.shape.length && target.every((size, i) => size === x!.shape[i])) return x!;
  const [h, w, channels] = target as [number, number, number];
  if (target.length !== 3 || c.all.channelsFirst)
    return { value: c.g.reshape(c.name, inOrder(c, x!), [0, ...target]), shape: target };
  if (h === 1 && w === 1) return { value: c.g.reshape(c.name, inOrder(c, x!), [0, channels, 1, 1]), shape: target };
  const ordered = c.g.reshape(`${c.name}.channels_last`, inOrder(c, x!), [0, ...target]);
  return { value: c.g.transpose(c.name, ordered, [0, 3, 1, 2]), shape: target };
};

function targetShape(c: LayerContext, x: KerasValue): number[] {
  const target = c.config.target_shape;
  const right = (v: unknown): boolean => Number.isSafeInteger(v) && ((v as number) >= 1 || v === -1);
  if (!Array.isArray(target) || target.length < 1 || target.length > 7 || !target.every(right))
    throw c.unsupported('a target shape of other sizes');
  const all = product(x.shape);
  const rest = (target as number[]).filter((v) => v !== -1).reduce((n, v) => n * v, 1);
  if (target.length === 1) return target as number[];
  if (all === null) throw c.unsupported('a reshape of a picture whose size is not known');
  return (target as number[]).map((v) => (v === -1 ? all / rest : v));
}

const zeroPadding: LayerRule = (c, [x]) => {
  const [h, w, channels] = picture(x!, c.where);
  const [top, left, bottom, right] = margins(c.config, 'padding', c.where);
  const value = c.g.pad(c.name, x!.value, [0, 0, top, left, 0, 0, bottom, right]);
  return { value, shape: [h === null ? null : h + top + bottom, w === null ? null : w + left + right, channels] };
};

const cropping: LayerRule = (c, [x]) => {
  const [h, w, channels] = picture(x!, c.where);
  const [top, left, bottom, right] = margins(c.config, 'cropping', c.where);
  if (h === null || w === null || top + bottom >= h || left + right >= w)
    throw c.unsupported('margins wider than the picture');
  const rows = c.g.slice(`${c.name}.rows`, x!.value, { axis: 2, start: top, end: h - bottom });
  const value = c.g.slice(c.name, rows, { axis: 3, start: left, end: w - right });
  return { value, shape: [h - top - bottom, w - left - right, channels] };
};

const upSampling: LayerRule = (c, [x]) => {
  const [h, w, channels] = picture(x!, c.where);
  const factors = pair(c.config, 'size', [2, 2], c.where);
  const how = c.config.interpolation ?? 'nearest';
  if (how !== 'nearest') throw c.unsupported(`upsampling by ${JSON.stringify(how)}`);
  const value = upsampleNearest(c.g, below(c.name), x!.value, w, factors, (what) => c.unsupported(what));
  return { value, shape: [h === null ? null : h * factors[0], w! * factors[1], channels] };
};

/** Folds a list of values with a broadcasting operator. */
function joined(kind: 'add' | 'multiply'): LayerRule {
  return (c, inputs) => {
    if (inputs.length < 2 || inputs.some(({ shape }) => shape.length !== inputs[0]!.shape.length))
      throw c.unsupported(`${c.kind} of values of different ranks`);
    return inputs.slice(1).reduce((sum, x, i) => {
      const name = i === inputs.length - 2 ? c.name : `${c.name}.${i}`;
      const shape = sum.shape.map((size, d) => (size === 1 ? x.shape[d]! : size));
      return { value: c.g[kind](name, sum.value, x.value), shape };
    }, inputs[0]!);
  };
}

const concatenate: LayerRule = (c, inputs) => {
  const shape = inputs[0]!.shape;
  const axis = typeof c.config.axis === 'number' ? c.config.axis : -1;
  // Counted with the batch; then as a dimension of Keras' picture without it.
  const counted = (axis < 0 ? axis + shape.length + 1 : axis) - 1;
  const own = shape.length === 3 && c.all.channelsFirst ? [2, 0, 1][counted] : counted;
  if (own === undefined || own < 0 || own >= shape.length) throw c.unsupported(`axis ${axis}`);
  const sizes = inputs.map((x) => x.shape[own] ?? null);
  const total = sizes.reduce((sum, size) => (sum === null || size === null ? null : sum + size), 0);
  const dimension = shape.length === 3 ? [2, 3, 1][own]! : own + 1;
  const value = c.g.concat(
    c.name,
    inputs.map((x) => x.value),
    dimension,
  );
  return { value, shape: shape.map((size, d) => (d === own ? total : size)) };
};

const dropout: LayerRule = (c, [x]) => {
  const p = number(c.config, 'rate', 0.5, c.where);
  if (c.kind === 'SpatialDropout2D') c.note(`${c.where}: whole channels are not dropped together, single numbers are`);
  return p === 0 ? x! : { ...x!, value: c.g.dropout(c.name, x!.value, { p }) };
};

/** x · scale + offset, numbers or one a channel. */
const rescaling: LayerRule = (c, [x]) => {
  const { scale, offset } = factors(c.config);
  if (!scale || !offset) throw c.unsupported('Rescaling by other things than numbers');
  const shape = (values: number[]): number[] => (values.length === 1 ? [1] : [values.length, 1, 1]);
  const times = c.constant('scale', scale, shape(scale));
  const scaled = c.g.multiply(`${c.name}.scaled`, x!.value, times);
  return { ...x!, value: c.g.add(c.name, scaled, c.constant('offset', offset, shape(offset))) };
};

/** Numbers of a Rescaling layer; undefined where they are none. */
export function factors(config: Record<string, unknown>): { scale?: number[]; offset?: number[] } {
  const list = (value: unknown): number[] | undefined => {
    const plain = isObject(value) && isObject(value.config) ? value.config.value : value;
    const values: unknown[] = Array.isArray(plain) ? plain : [plain];
    return values.length <= 4 && values.every((v) => Number.isFinite(v)) ? (values as number[]) : undefined;
  };
  const [scale, offset] = [list(config.scale), list(config.offset ?? 0)];
  return { ...(scale && { scale }), ...(offset && { offset }) };
}

const unchanged: LayerRule = (_, [x]) => x!;

export const PLAIN: Readonly<Record<string, LayerRule>> = {
  Add: joined('add'),
  AveragePooling2D: pool('averagePool'),
  Concatenate: concatenate,
  Cropping2D: cropping,
  Dropout: dropout,
  Flatten: flatten,
  GlobalAveragePooling2D: globalPool('globalAveragePool'),
  GlobalMaxPooling2D: globalPool('globalMaxPool'),
  MaxPooling2D: pool('maxPool'),
  Multiply: joined('multiply'),
  Rescaling: rescaling,
  Reshape: reshape,
  SpatialDropout2D: dropout,
  UpSampling2D: upSampling,
  ZeroPadding2D: zeroPadding,
  // Active in training only, and not part of what the network learned.
  ...Object.fromEntries(
    ['ActivityRegularization', 'GaussianDropout', 'GaussianNoise', 'Identity'].map((kind) => [kind, unchanged]),
  ),
};
