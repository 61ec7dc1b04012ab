/**
 * Every default of training, in one place: `fit`, `fineTune`, the command line's help and the documentation read this
 * table.
 */
export interface Default {
  /** The value that holds where nothing is given; undefined: the option is off. */
  value: unknown;
  /** What it is, in one sentence. */
  text: string;
}

const GiB = 1024 ** 3;

/** The options of `fit`, in the order of the documentation. */
export const FIT_DEFAULTS = {
  epochs: { value: 20, text: 'Passes over the training data, 1 or more.' },
  batch: {
    value: 16,
    text: 'Samples a batch; more than the data has is all of it. A last batch of one joins the one before it.',
  },
  learningRate: {
    value: 2e-3,
    text: 'Rate at the peak of the schedule: a number, or layerwise(low, high) from the lowest layer to the head.',
  },
  optimizer: {
    value: 'adamw',
    text: "'sgd', 'adam' (weight decay in the gradient) or 'adamw' (decoupled weight decay).",
  },
  momentum: { value: 0.9, text: 'Momentum of sgd, 0 … 1.' },
  nesterov: { value: false, text: "Nesterov's form of the momentum of sgd." },
  betas: { value: [0.9, 0.999], text: 'Decay of the first and the second moment of adam and adamw, each 0 … 1.' },
  eps: { value: 1e-8, text: 'Added to the denominator of adam and adamw.' },
  weightDecay: { value: 0.01, text: 'Decay of trainable weights towards zero (towards the loaded weights with l2sp).' },
  decayNorms: {
    value: true,
    text: 'false: no decay for biases and the scales and shifts of norms (tensors of one dimension).',
  },
  l2sp: {
    value: false,
    text: 'Weight decay pulls the body towards the weights as they were when the first fit with l2sp began (L2-SP); the head towards zero.',
  },
  clipNorm: {
    value: undefined,
    text: 'Gradients are scaled down to this norm, over all parameters together, when theirs is larger.',
  },
  accumulate: { value: 1, text: 'Batches whose gradients are summed for one update.' },
  schedule: {
    value: 'cosine',
    text: 'constant, step, cosine, oneCycle or slantedTriangular, each with a warm-up on request.',
  },
  labelSmoothing: { value: 0, text: 'Share of each target spread over all labels, 0 … 1 (single label).' },
  classWeights: {
    value: undefined,
    text: "'balanced' (samples / (classes x samples of the class)), or a number a class.",
  },
  augment: { value: false, text: 'Random changes of training pictures; true is defaultAugment.' },
  variants: {
    value: 0,
    text: 'With augment: versions of each picture whose features are cached, epoch e using version e mod variants. 0: new pictures every epoch and no cache.',
  },
  cache: {
    value: 'memory',
    text: "Where features of the frozen part are kept: 'memory' (for this fit), 'disk' (for later fits too, told by content) or 'off'.",
  },
  cacheBytes: {
    value: undefined,
    text: 'Most bytes of features: of memory (1 GiB), beyond which they are recomputed and a note says so; with disk of all files of the folder (8 GiB), the oldest of which go first. 0: no cache.',
  },
  cacheFolder: {
    value: undefined,
    text: "Folder of cache: 'disk'. Where it is not given: thaw/features in $XDG_CACHE_HOME or ~/.cache (Windows: thaw\\Cache\\features in %LOCALAPPDATA%).",
  },
  validation: { value: undefined, text: 'Data evaluated after each epoch.' },
  earlyStopping: {
    value: undefined,
    text: "{ metric: 'loss', patience: 3 }: stop when the metric of validation has not improved for that many epochs.",
  },
  keepBest: {
    value: undefined,
    text: 'End with the weights of the best epoch. true with earlyStopping, else false; a metric name chooses by that (else by loss).',
  },
  checkpoint: {
    value: undefined,
    text: "{ path, every: 'epoch' | steps }: a file from which a run goes on with the same bits. every: 'epoch'.",
  },
  resume: {
    value: undefined,
    text: 'Path of a checkpoint to go on from; true: the path of checkpoint, where that file exists.',
  },
  seed: { value: 0, text: 'Seeds the order of samples, augmentation and dropout; whole number, 0 … 2^53-1.' },
  strict: {
    value: false,
    text: 'Stop at the first file that cannot be read, instead of leaving it out with a warning.',
  },
  signal: { value: undefined, text: 'AbortSignal: ends the run after the current step.' },
  metrics: { value: undefined, text: 'Metrics of your own on validation: { name: (scores, targets) => number }.' },
} as const satisfies Record<string, Default>;

/** What `fineTune` has on top of the options of `fit`, and where its defaults differ. */
export const FINE_TUNE_DEFAULTS = {
  epochs: { value: 10, text: 'Passes with everything trained, after those of freezeEpochs.' },
  freezeEpochs: { value: 10, text: 'Epochs for the head alone, before everything is trained.' },
  baseLearningRate: {
    value: 1e-3,
    text: 'Rate of the head while the body is frozen; half of it at the head afterwards.',
  },
  rateRatio: { value: 100, text: 'How many times lower the rate of the lowest layer is than that of the head.' },
} as const satisfies Record<string, Default>;

/** Figures that are no options. */
export const FIXED = {
  /** Samples a batch when features are computed or data is only predicted. Bits do not depend on it. */
  inferenceBatch: 32,
  /** Most bytes of features in memory and on disk, where `cacheBytes` does not say. */
  memoryBytes: GiB,
  diskBytes: 8 * GiB,
  /** Bytes of decoded pictures kept from epoch to epoch, training and validation each. */
  decodedBytes: 256 * 1024 ** 2,
  /** Epochs without improvement before a run with early stopping ends. */
  patience: 3,
  /** A label of a multi-label head applies from this probability on. */
  threshold: 0.5,
  /** Labels of a prediction beyond which `top` must ask for more. */
  top: 5,
} as const;
