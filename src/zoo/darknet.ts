/**
 * Darknet-19 of YOLO9000: Better, Faster, Stronger, Redmon and Farhadi 2016, and Darknet-53 of YOLOv3: An Incremental
 * Improvement, 2018. Layers bear the number of their section in the published `.cfg`, as where such a file is read:
 * `layers.4.weight`, `layers.4.norm.running_mean`; the last convolution is `classifier`.
 */
import type { GraphBuilder } from '../graph/builder.js';
import { kaimingIn, zeros } from './init.js';
import type { Mark, Pictures, Recipe } from './types.js';

interface Conv {
  out: number;
  kernel: 1 | 3;
  stride?: number;
}

/** Writes sections one behind the other. */
class Sections {
  index = 0;
  readonly #g: GraphBuilder;
  value: string;
  width: number;

  constructor(g: GraphBuilder, image: string, channels: number) {
    this.#g = g;
    this.value = image;
    this.width = channels;
  }

  next(): string {
    return `layers.${this.index++}`;
  }

  /** Convolution, batch norm, leaky relu of slope 0.1. */
  conv(o: Conv): void {
    const name = this.next();
    const sizes = { in: this.width, ...o, padding: (o.kernel - 1) / 2, bias: false, weightInit: kaimingIn };
    const y = this.#g.batchNorm(`${name}.norm`, this.#g.conv2d(name, this.value, sizes), o.out);
    this.value = this.#g.leakyRelu(`${name}.leaky`, y, { alpha: 0.1 });
    this.width = o.out;
  }

  /** Halves the sides; an odd last row or column makes a window of its own. */
  pool(): void {
    this.value = this.#g.maxPool(this.next(), this.value, { kernel: 2, stride: 2, ceilMode: true });
  }

  /** 1x1 to half the channels, 3x3 back, added to what was. */
  residual(): void {
    const { value, width } = this;
    this.conv({ out: width / 2, kernel: 1 });
    this.conv({ out: width, kernel: 3 });
    this.value = this.#g.add(this.next(), this.value, value);
  }
}

/** Darknet shows pictures as they are, 0..1. */
const pictures: Pictures = { resize: 256, crop: 256, interpolation: 'bilinear', mean: [0, 0, 0], std: [1, 1, 1] };

/** Stages behind the first convolution and its pool: channels, and the number of convolutions, 3x3 and 1x1 in turn. */
const STAGES_19 = [
  [64, 1],
  [128, 3],
  [256, 3],
  [512, 5],
  [1024, 5],
] as const;

const mark = (elements: number): Mark => ({ first: 'layers.0.weight', body: /^layers\./, elements });

const darknet19: Recipe = {
  trainedOn: 'imagenet',
  mark: mark(19830912),
  pictures,
  write(g, image, { classes, channels }) {
    const s = new Sections(g, image, channels);
    s.conv({ out: 32, kernel: 3 });
    for (const [width, count] of STAGES_19) {
      s.pool();
      for (let i = 0; i < count; i++) s.conv(i % 2 === 0 ? { out: width, kernel: 3 } : { out: width / 2, kernel: 1 });
    }
    const [headBoundary, features] = [s.value, s.width];
    const x = g.conv2d('classifier', headBoundary, { in: features, out: classes, kernel: 1, biasInit: zeros });
    const scores = g.flatten('flatten', g.globalAveragePool('avgpool', x));
    return { scores, classifier: 'classifier', features, headBoundary, bodyChannels: features };
  },
};

/** Residual blocks of each stage; a convolution of stride 2 that doubles the channels goes before. */
const STAGES_53 = [1, 2, 8, 8, 4];

const darknet53: Recipe = {
  trainedOn: 'imagenet',
  mark: mark(40619776),
  pictures,
  write(g, image, { classes, channels }) {
    const s = new Sections(g, image, channels);
    s.conv({ out: 32, kernel: 3 });
    for (const blocks of STAGES_53) {
      s.conv({ out: 2 * s.width, kernel: 3, stride: 2 });
      for (let i = 0; i < blocks; i++) s.residual();
    }
    const [headBoundary, features] = [s.value, s.width];
    let x = g.globalAveragePool('avgpool', headBoundary);
    x = g.conv2d('classifier', x, { in: features, out: classes, kernel: 1, biasInit: zeros });
    return {
      scores: g.flatten('flatten', x),
      classifier: 'classifier',
      features,
      headBoundary,
      bodyChannels: features,
    };
  },
};

export const darknets: Record<string, Recipe> = { darknet19, darknet53 };
