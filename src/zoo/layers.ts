/** What several families share: convolution with batch norm and activation, and squeeze-and-excitation. */
import type { BatchNormOptions, GraphBuilder, Pair } from '../graph/builder.js';
import type { Initialiser } from '../graph/types.js';

export type Activation = 'relu' | 'relu6' | 'leakyRelu' | 'hardSwish' | 'hardSigmoid' | 'silu' | 'sigmoid';

export interface ConvNorm {
  in: number;
  out: number;
  kernel: number;
  stride?: Pair;
  groups?: number;
  weightInit?: Initialiser;
  norm?: BatchNormOptions;
  /** Default: none. */
  activation?: Activation;
}

/** torchvision's Conv2dNormActivation: convolution `<name>.0` without bias, batch norm `<name>.1`, activation `<name>.2`. */
export function convNorm(g: GraphBuilder, name: string, x: string, o: ConvNorm): string {
  const { norm, activation, ...sizes } = o;
  const y = g.conv2d(`${name}.0`, x, { ...sizes, padding: (o.kernel - 1) / 2, bias: false });
  const normed = g.batchNorm(`${name}.1`, y, o.out, norm);
  return activation ? g[activation](`${name}.2`, normed) : normed;
}

export interface SqueezeExcite {
  channels: number;
  squeezed: number;
  activation: Activation;
  gate: Activation;
  weightInit: Initialiser;
  biasInit?: Initialiser;
}

/** Squeeze-and-Excitation Networks, Hu et al. 2018: channels times a gate that two layers draw from their means. */
export function squeezeExcite(g: GraphBuilder, name: string, x: string, o: SqueezeExcite): string {
  const init = { weightInit: o.weightInit, biasInit: o.biasInit };
  let s = g.globalAveragePool(`${name}.avgpool`, x);
  s = g.conv2d(`${name}.fc1`, s, { in: o.channels, out: o.squeezed, kernel: 1, ...init });
  s = g[o.activation](`${name}.activation`, s);
  s = g.conv2d(`${name}.fc2`, s, { in: o.squeezed, out: o.channels, kernel: 1, ...init });
  return g.multiply(`${name}.mul`, x, g[o.gate](`${name}.scale_activation`, s));
}

/** The multiple of `divisor` nearest to `value`, and not less than nine tenths of it. */
export function divisible(value: number, divisor: number): number {
  const nearest = Math.max(divisor, Math.floor((value + divisor / 2) / divisor) * divisor);
  return nearest < 0.9 * value ? nearest + divisor : nearest;
}
