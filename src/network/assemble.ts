import { expected } from '../errors.js';
import { createSession } from '../native.js';
import type { NativeSession, Precision } from '../native.js';
import { checkLabels } from './checks.js';
import type { Design } from './design.js';
import { checkDevice, checkInstalled } from './device.js';
import type { DeviceRequest } from './device.js';
import { Network } from './network.js';
import { givenGraph, givenPreprocessing } from './preprocessing.js';
import type { GivenPreprocessing } from './preprocessing.js';
import type { LoadReport } from './report.js';

/** What all ways to a network share. */
export interface NetworkOptions {
  /** Names of the outputs in order. Default: those of the file, else indices. */
  labels?: readonly string[] | undefined;
  /**
   * Overrides what is said here of the file's or the architecture's preprocessing. 'torch' (ImageNet's mean and deviation),
   * 'tf' (values -1 … 1), 'caffe' (0 … 255 less ImageNet's mean, for weights trained on BGR: the graph turns RGB around) or
   * 'raw' (0 … 255): the numbers of that convention, at the network's own size or 224.
   */
  preprocessing?: GivenPreprocessing;
  /**
   * Where the network computes: 'cpu' (default), 'cuda' (the first GPU), 'cuda:1', … or 'auto' (a GPU where one can be used, else
   * the processor; `net.deviceReport` says which). See `Network.to`.
   */
  device?: DeviceRequest;
  /** Seeds whatever is initialised, now and by `replaceHead`. Default 0. */
  seed?: number;
  /** Most threads that work on this network, 1 or more. Default: the processors this process may use. Results do not depend on it. */
  threads?: number;
  /**
   * 'auto' (default): bf16 on a GPU and where the processor has AMX, else fp32. 'bf16' keeps what convolutions read, write and weigh in
   * 16 bits and sums in 32; weights are trained and saved in 32 bits all the same. 'fp32' computes in 32 bits.
   */
  precision?: Precision | 'auto';
  signal?: AbortSignal;
}

/** As the core has it. */
const MOST_THREADS = 256;

/** @throws ERR_ARGUMENT, ERR_DEVICE, ERR_OPTION, ERR_CHANNELS */
export function checkOptions(options: NetworkOptions & { channels?: number | undefined }): void {
  const { device = 'cpu', seed = 0, threads = 1, channels = 3, precision = 'auto' } = options;
  checkDevice(device);
  checkInstalled(device);
  if (!Number.isInteger(threads) || threads < 1 || threads > MOST_THREADS)
    throw expected('ERR_OPTION', `a whole number from 1 to ${MOST_THREADS}`, 'threads', threads);
  if (!['auto', 'fp32', 'bf16'].includes(precision))
    throw expected('ERR_OPTION', "'auto', 'fp32' or 'bf16'", 'precision', precision);
  if (!Number.isSafeInteger(seed) || seed < 0) throw expected('ERR_OPTION', 'a whole number, 0 or more', 'seed', seed);
  if (![1, 3, 4].includes(channels)) throw expected('ERR_CHANNELS', '1, 3 or 4', 'channels', channels);
}

/** A network of a design, in a session of its own; `fill` gives it its weights. Nothing is left behind should that fail. */
export async function assemble(
  design: Design,
  options: NetworkOptions,
  report: LoadReport,
  fill: (net: Network, session: NativeSession) => Promise<void>,
): Promise<Network> {
  const { marks, preprocessing: _preprocessing, labels, prefix: _prefix, optional: _optional, ...rest } = design;
  const given = options.labels && checkLabels(options.labels, design.head.outputs);
  const preprocessed = givenPreprocessing(design, options.preprocessing);
  const session = createSession({ threads: options.threads });
  const net = new Network({
    ...rest,
    graph: givenGraph(design.graph, options.preprocessing),
    labels: given ?? labels,
    labelsSource: given ? 'given' : labels ? 'file' : 'index',
    preprocessing: preprocessed,
    session,
    report,
    seed: options.seed ?? 0,
    precision: options.precision ?? 'auto',
    ...marks,
  });
  try {
    // Ahead of the weights, so that a GPU that is not there is told before they are read.
    await net.to(options.device ?? 'cpu', { signal: options.signal });
    await fill(net, session);
    return net;
  } catch (error) {
    net.dispose();
    throw error;
  }
}
