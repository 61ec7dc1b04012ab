/**
 * A ConvNet for the 2020s, Liu et al. 2022. Stochastic depth is left out: in inference it is nothing, and fine-tuning runs
 * every block for every sample.
 */
import type { GraphBuilder } from '../graph/builder.js';
import { zeros } from './init.js';
import type { Recipe } from './types.js';

interface Variant {
  /** Channels of the four stages. */
  widths: [number, number, number, number];
  depths: [number, number, number, number];
  resize: number;
  /** See `Mark`. */
  elements: number;
}

// PyTorch cuts this normal off at -2 and 2, a hundred deviations out: nothing is cut.
const init = { weightInit: { kind: 'normal', std: 0.02 }, biasInit: zeros } as const;
const EPS = 1e-6;
const SCALE = 1e-6;
/** [N, C, H, W] to [N, H, W, C], and back. */
const LAST = [0, 2, 3, 1];
const FIRST = [0, 3, 1, 2];

/** Layer norm over the channels of each pixel. */
function channelNorm(g: GraphBuilder, name: string, x: string, width: number): string {
  const y = g.layerNorm(name, g.transpose(`${name}.permute`, x, LAST), [width], { eps: EPS });
  return g.transpose(`${name}.permute_1`, y, FIRST);
}

/** A 7x7 of each channel, then two layers for each pixel; scaled by channel and added to its input. */
function block(g: GraphBuilder, name: string, x: string, width: number): string {
  const part = (i: number): string => `${name}.block.${i}`;
  const scale = g.parameter(`${name}.layer_scale`, [width, 1, 1], { kind: 'constant', value: SCALE });
  let y = g.conv2d(part(0), x, { in: width, out: width, kernel: 7, padding: 3, groups: width, ...init });
  y = g.layerNorm(part(2), g.transpose(part(1), y, LAST), [width], { eps: EPS });
  y = g.gelu(part(4), g.linear(part(3), y, { in: width, out: 4 * width, ...init }));
  y = g.linear(part(5), y, { in: 4 * width, out: width, ...init });
  y = g.multiply(`${name}.mul`, g.transpose(part(6), y, FIRST), scale);
  return g.add(`${name}.add`, y, x);
}

function convnext({ widths, depths, resize, elements }: Variant): Recipe {
  return {
    trainedOn: 'imagenet',
    mark: { first: 'features.0.0.weight', body: /^features\./, elements },
    pictures: { resize, crop: 224, interpolation: 'bilinear' },
    write(g, image, { classes, channels }) {
      let width = widths[0];
      let x = g.conv2d('features.0.0', image, { in: channels, out: width, kernel: 4, stride: 4, ...init });
      x = channelNorm(g, 'features.0.1', x, width);
      depths.forEach((depth, stage) => {
        if (stage > 0) {
          const name = `features.${2 * stage}`;
          const out = widths[stage]!;
          const normed = channelNorm(g, `${name}.0`, x, width);
          x = g.conv2d(`${name}.1`, normed, { in: width, out, kernel: 2, stride: 2, ...init });
          width = out;
        }
        for (let i = 0; i < depth; i++) x = block(g, `features.${2 * stage + 1}.${i}`, x, width);
      });
      const headBoundary = x;
      // The norm of one pixel's channels is that of the flattened vector.
      x = g.flatten('classifier.1', g.globalAveragePool('avgpool', x));
      x = g.layerNorm('classifier.0', x, [width], { eps: EPS });
      const scores = g.linear('classifier.2', x, { in: width, out: classes, ...init });
      return { scores, classifier: 'classifier.2', features: width, headBoundary, bodyChannels: width };
    },
  };
}

export const convnexts: Record<string, Recipe> = {
  convnext_tiny: convnext({ elements: 27813984, widths: [96, 192, 384, 768], depths: [3, 3, 9, 3], resize: 236 }),
  convnext_small: convnext({ elements: 49448544, widths: [96, 192, 384, 768], depths: [3, 3, 27, 3], resize: 230 }),
  convnext_base: convnext({ elements: 87558272, widths: [128, 256, 512, 1024], depths: [3, 3, 27, 3], resize: 232 }),
  convnext_large: convnext({ elements: 196218048, widths: [192, 384, 768, 1536], depths: [3, 3, 27, 3], resize: 232 }),
};
