/** Designing Network Design Spaces, Radosavovic et al. 2020. Y is X with squeeze-and-excitation in each block. */
import type { GraphBuilder } from '../graph/builder.js';
import { kaimingOut, small, zeros } from './init.js';
import { convNorm, squeezeExcite, type ConvNorm } from './layers.js';
import type { Recipe, Pictures } from './types.js';

interface Variant {
  /** Channels, blocks and channels of a group in each of the four stages. */
  widths: number[];
  depths: number[];
  groups: number | number[];
  /** See `Mark`. */
  elements: number;
}

const FIRST = 32;

const conv = (g: GraphBuilder, name: string, x: string, o: ConvNorm): string =>
  convNorm(g, name, x, { ...o, weightInit: kaimingOut });

interface Block {
  in: number;
  out: number;
  stride: number;
  groups: number;
  squeeze: boolean;
}

/** 1x1, 3x3 in groups, 1x1, added to the input, or to a projection of it where sizes differ. */
function block(g: GraphBuilder, name: string, x: string, b: Block): string {
  const { in: from, out, stride, groups } = b;
  const projected = from !== out || stride !== 1;
  const past = projected ? conv(g, `${name}.proj`, x, { in: from, out, kernel: 1, stride }) : x;
  let y = conv(g, `${name}.f.a`, x, { in: from, out, kernel: 1, activation: 'relu' });
  y = conv(g, `${name}.f.b`, y, { in: out, out, kernel: 3, stride, groups, activation: 'relu' });
  if (b.squeeze) {
    const sizes = { channels: out, squeezed: Math.round(from / 4) };
    y = squeezeExcite(g, `${name}.f.se`, y, { ...sizes, activation: 'relu', gate: 'sigmoid', weightInit: kaimingOut });
  }
  y = conv(g, `${name}.f.c`, y, { in: out, out, kernel: 1 });
  return g.relu(`${name}.activation`, g.add(`${name}.add`, past, y));
}

function regnet({ widths, depths, groups, elements }: Variant, squeeze: boolean, pictures?: Pictures): Recipe {
  return {
    trainedOn: 'imagenet',
    mark: { first: 'stem.0.weight', body: /^(stem|trunk_output)\./, elements },
    ...(pictures && { pictures }),
    write(g, image, { classes, channels }) {
      let x = conv(g, 'stem', image, { in: channels, out: FIRST, kernel: 3, stride: 2, activation: 'relu' });
      let width = FIRST;
      depths.forEach((depth, stage) => {
        const out = widths[stage]!;
        const groupWidth = typeof groups === 'number' ? groups : groups[stage]!;
        const label = `block${stage + 1}`;
        for (let i = 0; i < depth; i++) {
          const sizes = { in: width, out, stride: i === 0 ? 2 : 1, groups: out / groupWidth, squeeze };
          x = block(g, `trunk_output.${label}.${label}-${i}`, x, sizes);
          width = out;
        }
      });
      const headBoundary = x;
      x = g.flatten('flatten', g.globalAveragePool('avgpool', x));
      const scores = g.linear('fc', x, { in: width, out: classes, weightInit: small, biasInit: zeros });
      return { scores, classifier: 'fc', features: width, headBoundary, bodyChannels: width };
    },
  };
}

const x = (elements: number, depths: number[], widths: number[], groups: number | number[]): Recipe =>
  regnet({ depths, widths, groups, elements }, false);
const y = (elements: number, depths: number[], widths: number[], groups: number, pictures?: Pictures): Recipe =>
  regnet({ depths, widths, groups, elements }, true, pictures);

export const regnets: Record<string, Recipe> = {
  regnet_y_400mf: y(3929432, [1, 3, 6, 6], [48, 104, 208, 440], 8),
  regnet_y_800mf: y(5677080, [1, 3, 8, 2], [64, 144, 320, 784], 16),
  regnet_y_1_6gf: y(10365238, [2, 6, 17, 2], [48, 120, 336, 888], 24),
  regnet_y_3_2gf: y(17988634, [2, 5, 13, 1], [72, 216, 576, 1512], 24),
  regnet_y_8gf: y(37450136, [2, 4, 10, 1], [224, 448, 896, 2016], 56),
  regnet_y_16gf: y(80687092, [2, 4, 11, 1], [224, 448, 1232, 3024], 112),
  regnet_y_32gf: y(141491194, [2, 5, 12, 1], [232, 696, 1392, 3712], 232),
  // Published only as fine-tuned on larger pictures (SWAG).
  regnet_y_128gf: y(637834102, [2, 7, 17, 1], [528, 1056, 2904, 7392], 264, {
    resize: 384,
    crop: 384,
    interpolation: 'bicubic',
  }),
  regnet_x_400mf: x(5131968, [1, 2, 7, 12], [32, 64, 160, 400], 16),
  regnet_x_800mf: x(6623104, [1, 3, 7, 5], [64, 128, 288, 672], 16),
  regnet_x_1_6gf: x(8319776, [2, 4, 10, 2], [72, 168, 408, 912], 24),
  regnet_x_3_2gf: x(14349248, [2, 6, 15, 2], [96, 192, 432, 1008], 48),
  regnet_x_8gf: x(37741248, [2, 5, 15, 1], [80, 240, 720, 1920], [80, 120, 120, 120]),
  regnet_x_16gf: x(52339840, [2, 6, 13, 1], [256, 512, 896, 2048], 128),
  regnet_x_32gf: x(105451712, [2, 7, 13, 1], [336, 672, 1344, 2520], 168),
};
