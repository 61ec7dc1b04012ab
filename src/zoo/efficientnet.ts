/**
 * EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks, Tan and Le 2019. Stochastic depth is left out:
 * in inference it is nothing, and fine-tuning runs every block for every sample.
 */
import type { BatchNormOptions, GraphBuilder } from '../graph/builder.js';
import { kaimingOut, zeros } from './init.js';
import { convNorm, divisible, squeezeExcite } from './layers.js';
import type { Recipe } from './types.js';

/** Stages of B0: factor of expansion, kernel, stride of the first block, channels, number of blocks. */
const STAGES = [
  [1, 3, 1, 16, 1],
  [6, 3, 2, 24, 2],
  [6, 5, 2, 40, 2],
  [6, 3, 2, 80, 3],
  [6, 5, 1, 112, 3],
  [6, 5, 2, 192, 4],
  [6, 3, 1, 320, 1],
] as const;
const FIRST = 32;

interface Block {
  in: number;
  out: number;
  factor: number;
  kernel: number;
  stride: number;
  norm: BatchNormOptions;
}

/** Expand by 1x1, one window a channel, squeeze-and-excite, project by 1x1; added to its input where both have one size. */
function block(g: GraphBuilder, name: string, x: string, b: Block): string {
  const width = divisible(b.in * b.factor, 8);
  const init = { weightInit: kaimingOut, norm: b.norm };
  let part = 0;
  const next = (): string => `${name}.block.${part++}`;
  let y = x;
  if (width !== b.in) y = convNorm(g, next(), y, { in: b.in, out: width, kernel: 1, activation: 'silu', ...init });
  const depthwise = { in: width, out: width, kernel: b.kernel, stride: b.stride, groups: width };
  y = convNorm(g, next(), y, { ...depthwise, activation: 'silu', ...init });
  y = squeezeExcite(g, next(), y, {
    ...{ channels: width, squeezed: Math.max(1, Math.floor(b.in / 4)), activation: 'silu', gate: 'sigmoid' },
    ...{ weightInit: kaimingOut, biasInit: zeros },
  });
  y = convNorm(g, next(), y, { in: width, out: b.out, kernel: 1, ...init });
  return b.stride === 1 && b.in === b.out ? g.add(`${name}.add`, y, x) : y;
}

interface Variant {
  /** Factors of channels and of blocks. */
  width: number;
  depth: number;
  dropout: number;
  resize: number;
  crop: number;
  norm?: BatchNormOptions;
  /** See `Mark`. */
  elements: number;
}

function efficientnet({ width: wide, depth, dropout, resize, crop, norm = {}, elements }: Variant): Recipe {
  return {
    trainedOn: 'imagenet',
    mark: { first: 'features.0.0.weight', body: /^features\./, elements },
    pictures: { resize, crop, interpolation: 'bicubic' },
    write(g, image, { classes, channels }) {
      const init = { weightInit: kaimingOut, norm, activation: 'silu' } as const;
      let width = divisible(FIRST * wide, 8);
      let x = convNorm(g, 'features.0', image, { in: channels, out: width, kernel: 3, stride: 2, ...init });
      STAGES.forEach(([factor, kernel, firstStride, planes, blocks], stage) => {
        const out = divisible(planes * wide, 8);
        for (let i = 0; i < Math.ceil(blocks * depth); i++) {
          const stride = i === 0 ? firstStride : 1;
          x = block(g, `features.${stage + 1}.${i}`, x, { in: width, out, factor, kernel, stride, norm });
          width = out;
        }
      });
      const last = 4 * width;
      const headBoundary = convNorm(g, 'features.8', x, { in: width, out: last, kernel: 1, ...init });
      x = g.flatten('flatten', g.globalAveragePool('avgpool', headBoundary));
      x = g.dropout('classifier.0', x, { p: dropout });
      const bound = 1 / Math.sqrt(classes);
      const start = { weightInit: { kind: 'uniform', bound }, biasInit: zeros } as const;
      const scores = g.linear('classifier.1', x, { in: last, out: classes, ...start });
      return { scores, classifier: 'classifier.1', features: last, headBoundary, bodyChannels: last };
    },
  };
}

/** Of the larger ones, whose weights come from TensorFlow. */
const norm = { eps: 1e-3, momentum: 0.01 };

export const efficientnets: Record<string, Recipe> = {
  efficientnet_b0: efficientnet({ elements: 4048700, width: 1, depth: 1, dropout: 0.2, resize: 256, crop: 224 }),
  efficientnet_b1: efficientnet({ elements: 6574368, width: 1, depth: 1.1, dropout: 0.2, resize: 256, crop: 240 }),
  efficientnet_b2: efficientnet({ elements: 7767698, width: 1.1, depth: 1.2, dropout: 0.3, resize: 288, crop: 288 }),
  efficientnet_b3: efficientnet({ elements: 10782448, width: 1.2, depth: 1.4, dropout: 0.3, resize: 320, crop: 300 }),
  efficientnet_b4: efficientnet({ elements: 17672520, width: 1.4, depth: 1.8, dropout: 0.4, resize: 384, crop: 380 }),
  efficientnet_b5: efficientnet({
    elements: 28512224,
    width: 1.6,
    depth: 2.2,
    dropout: 0.4,
    resize: 456,
    crop: 456,
    norm,
  }),
  efficientnet_b6: efficientnet({
    elements: 40958624,
    width: 1.8,
    depth: 2.6,
    dropout: 0.5,
    resize: 528,
    crop: 528,
    norm,
  }),
  efficientnet_b7: efficientnet({
    elements: 64095952,
    width: 2,
    depth: 3.1,
    dropout: 0.5,
    resize: 600,
    crop: 600,
    norm,
  }),
};
