/** MnasNet: Platform-Aware Neural Architecture Search for Mobile, Tan et al. 2018; the B1 form. */
import type { GraphBuilder } from '../graph/builder.js';
import { kaimingOut, zeros } from './init.js';
import { divisible } from './layers.js';
import type { Recipe } from './types.js';

/** Channels of the first convolution, of the one after it, and of the stages. */
const WIDTHS = [32, 16, 24, 40, 80, 96, 192, 320];
/** Stages: kernel, stride of the first block, factor of expansion, number of blocks. */
const STAGES = [
  [3, 2, 3, 3],
  [5, 2, 3, 3],
  [5, 2, 6, 3],
  [3, 1, 6, 2],
  [5, 2, 6, 4],
  [3, 1, 6, 1],
] as const;
const LAST = 1280;
const NORM = { momentum: 3e-4 };

interface Conv {
  in: number;
  out: number;
  kernel: number;
  stride?: number;
  groups?: number;
}

/** Layers `index` and `index + 1` of a sequence, and a relu behind them where `relu`. */
function convNormAt(g: GraphBuilder, name: string, index: number, x: string, o: Conv, relu: boolean): string {
  const sizes = { ...o, padding: (o.kernel - 1) / 2, bias: false, weightInit: kaimingOut };
  const y = g.batchNorm(`${name}.${index + 1}`, g.conv2d(`${name}.${index}`, x, sizes), o.out, NORM);
  return relu ? g.relu(`${name}.${index + 2}`, y) : y;
}

interface Block {
  in: number;
  out: number;
  kernel: number;
  stride: number;
  factor: number;
}

function block(g: GraphBuilder, name: string, x: string, b: Block): string {
  const width = b.in * b.factor;
  const layers = `${name}.layers`;
  let y = convNormAt(g, layers, 0, x, { in: b.in, out: width, kernel: 1 }, true);
  const depthwise = { in: width, out: width, kernel: b.kernel, stride: b.stride, groups: width };
  y = convNormAt(g, layers, 3, y, depthwise, true);
  y = convNormAt(g, layers, 6, y, { in: width, out: b.out, kernel: 1 }, false);
  return b.stride === 1 && b.in === b.out ? g.add(`${name}.add`, y, x) : y;
}

function mnasnet(factor: number, elements: number, resize = 256): Recipe {
  const widths = WIDTHS.map((width) => divisible(width * factor, 8));
  return {
    trainedOn: 'imagenet',
    mark: { first: 'layers.0.weight', body: /^layers\./, elements },
    pictures: { resize, crop: 224, interpolation: 'bilinear' },
    write(g, image, { classes, channels }) {
      const [first, second] = widths as [number, number];
      let x = convNormAt(g, 'layers', 0, image, { in: channels, out: first, kernel: 3, stride: 2 }, true);
      x = convNormAt(g, 'layers', 3, x, { in: first, out: first, kernel: 3, groups: first }, true);
      x = convNormAt(g, 'layers', 6, x, { in: first, out: second, kernel: 1 }, false);
      let width = second;
      STAGES.forEach(([kernel, firstStride, expansion, blocks], stage) => {
        const out = widths[stage + 2]!;
        for (let i = 0; i < blocks; i++) {
          const stride = i === 0 ? firstStride : 1;
          x = block(g, `layers.${stage + 8}.${i}`, x, { in: width, out, kernel, stride, factor: expansion });
          width = out;
        }
      });
      const headBoundary = convNormAt(g, 'layers', 14, x, { in: width, out: LAST, kernel: 1 }, true);
      x = g.flatten('flatten', g.globalAveragePool('mean', headBoundary));
      x = g.dropout('classifier.0', x, { p: 0.2 });
      const init = { weightInit: { kind: 'kaimingUniform', fan: 'out', gain: 1 }, biasInit: zeros } as const;
      const scores = g.linear('classifier.1', x, { in: LAST, out: classes, ...init });
      return { scores, classifier: 'classifier.1', features: LAST, headBoundary, bodyChannels: LAST };
    },
  };
}

export const mnasnets: Record<string, Recipe> = {
  mnasnet0_5: mnasnet(0.5, 957704),
  mnasnet0_75: mnasnet(0.75, 1918368, 232),
  mnasnet1_0: mnasnet(1, 3139368),
  mnasnet1_3: mnasnet(1.3, 5048992, 232),
};
