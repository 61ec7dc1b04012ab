import type { GraphBuilder } from '../graph/builder.js';
import type { GraphDescription } from '../graph/types.js';

/** How a picture becomes the network's input: resize, crop the centre, scale to 0..1, subtract mean, divide by std. */
export interface Preprocessing {
  /** Pixels: a number is the shorter side, [height, width] both. */
  resize: number | [number, number];
  /** Pixels of the square (or [height, width]) cut from the centre; null: none. */
  crop: number | [number, number] | null;
  interpolation: 'bilinear' | 'bicubic';
  /** One number a channel, on values 0..1. */
  mean: number[];
  std: number[];
  /** Grey, RGB, or RGB and a fourth. */
  channels: 1 | 3 | 4;
  /** 'assumed': published for the architecture, not read from the weight file. */
  source: 'file' | 'assumed' | 'given';
}

export interface Config {
  /** Outputs of the last layer; default: the number that the published weights have. */
  classes?: number | undefined;
  /** Channels of the first convolution: 1, 3 or 4; default 3. */
  channels?: number | undefined;
  /**
   * Also the heads beside the last one that Inception v3 and GoogLeNet were trained with; default false, and nothing to
   * other networks. Their scores are values (`AuxLogits.fc`; `aux1.fc2`, `aux2.fc2`) and no outputs: `predict` and `fit`
   * pass them by, a loss of one's own may read them.
   */
  auxiliary?: boolean | undefined;
  /** Of all batch norms, for weights that were trained with others than the published; default: the published. */
  norm?: Norm | undefined;
}

/** Numbers of a batch norm: added to the variance, and the share of a new batch in the running statistics. */
export interface Norm {
  eps: number;
  momentum: number;
}

/** A network of the zoo. Names of nodes and parameters are those of the published PyTorch implementation. */
export interface Architecture {
  name: string;
  /** `build(name, config)` makes the same again. */
  config: { classes: number; channels: number; auxiliary?: true; norm?: Norm };
  /** One input `image` [N, channels, H, W] and one output [N, classes]. */
  graph: GraphDescription;
  /** The module that gives the scores: 'fc', 'classifier.6', … */
  classifier: string;
  classes: number;
  /** Numbers for one picture that go into the classifier (channels, where that is a convolution). */
  features: number;
  /** The last value of the body, a picture [N, bodyChannels, h, w]; pooling and what follows are the head. */
  headBoundary: string;
  bodyChannels: number;
  /** Stages in graph order; every parameter lies below exactly one of them. */
  layers: string[];
  preprocessing: Preprocessing;
  /** The size of picture that it was trained for; others work too. */
  input: { channels: number; height: number; width: number };
}

/** What an architecture's function says of the graph it has written. */
export interface Written {
  /** The output. */
  scores: string;
  classifier: string;
  features: number;
  headBoundary: string;
  bodyChannels: number;
}

/** How pictures are shown to published weights, where that is not the usual; mean and deviation for RGB. */
export interface Pictures {
  resize: number;
  crop: number;
  interpolation: 'bilinear' | 'bicubic';
  /** Default: ImageNet's. */
  mean?: readonly [number, number, number];
  std?: readonly [number, number, number];
}

/** Tells a body's weights by their names and sizes, with no graph built. */
export interface Mark {
  /** Weight of the first convolution. */
  first: string;
  /** Matches the names of the body's tensors, and none of the head's. */
  body: RegExp;
  /** Elements of those tensors together, but for the first convolution's weight and counters of batches. */
  elements: number;
}

/** One row of the zoo. */
export interface Recipe {
  /** Writes the network that reads `image`. */
  write(g: GraphBuilder, image: string, config: { classes: number; channels: number; auxiliary: boolean }): Written;
  mark: Mark;
  /** Default: shorter side 256, the middle 224. Of several published weights, those of the first release. */
  pictures?: Pictures;
  /** Modules of heads beside the last one, each with the layer that gives its scores. */
  auxiliary?: Record<string, string>;
  /** What the published weights were trained on: 1000 classes at 224 x 224, or 10 at 32 x 32. */
  trainedOn: 'imagenet' | 'cifar10';
}
