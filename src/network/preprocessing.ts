/** How pictures come into a network: as its file says, as the caller says, or by the name of a convention. */
import { expected } from '../errors.js';
import { preprocessingOf } from '../formats/keras-preprocessing.js';
import type { PreprocessingMode } from '../formats/keras-preprocessing.js';
import type { GraphDescription } from '../graph/types.js';
import type { Preprocessing } from '../zoo/index.js';
import type { Design } from './design.js';
import { freshName } from './graph-edit.js';

export const PREPROCESSING_MODES: readonly PreprocessingMode[] = ['tf', 'torch', 'caffe', 'raw'];

/** Fields in place of the file's or the architecture's, or a convention. */
export type GivenPreprocessing = Partial<Omit<Preprocessing, 'source'>> | PreprocessingMode;

/** Side of pictures where nothing says one. */
const USUAL_SIDE = 224;

/** Throws ERR_OPTION. */
export function givenPreprocessing(design: Design, given: GivenPreprocessing | undefined): Preprocessing | null {
  const usual = design.preprocessing;
  if (given === undefined) return usual;
  const fields = typeof given === 'string' ? fieldsOf(given, design) : given;
  const merged = { ...usual, ...fields, source: 'given' } as Preprocessing;
  const { resize, crop, interpolation, mean, std, channels } = merged;
  const missing = Object.entries({ resize, crop, interpolation, mean, std, channels }).find(
    ([, value]) => value === undefined,
  );
  if (missing) throw expected('ERR_OPTION', `preprocessing with ${missing[0]}`, 'a network without one', given);
  if (mean.length !== channels || std.length !== channels) {
    throw expected(
      'ERR_OPTION',
      `${channels} numbers, one for each channel`,
      'mean and std of preprocessing',
      `${mean.length} and ${std.length}`,
    );
  }
  return merged;
}

/**
 * The graph as the convention wants it. Pictures come in as RGB whatever it is: for 'caffe' the graph turns them around
 * before anything reads them.
 */
export function givenGraph(graph: GraphDescription, given: GivenPreprocessing | undefined): GraphDescription {
  const picture = graph.inputs[0]?.name;
  if (given !== 'caffe' || picture === undefined) return graph;
  const turned = freshName(graph, `${picture}.bgr`);
  const planes = [2, 1, 0].map((start) => ({
    name: `${turned}.plane${start}`,
    op: 'slice',
    inputs: [picture],
    attrs: { axis: 1, start, end: start + 1 },
  }));
  const joined = { name: turned, op: 'concat', inputs: planes.map(({ name }) => name), attrs: { axis: 1 } };
  const readers = graph.nodes.map((node) => ({
    ...node,
    inputs: node.inputs.map((input) => (input === picture ? turned : input)),
  }));
  return { ...graph, nodes: [...planes, joined, ...readers] };
}

/** Of a network that has a size of its own only mean and deviation change. */
function fieldsOf(mode: PreprocessingMode, { preprocessing, graph }: Design): Partial<Preprocessing> {
  if (!PREPROCESSING_MODES.includes(mode))
    throw expected('ERR_OPTION', `an object, or ${PREPROCESSING_MODES.join(', ')}`, 'preprocessing', mode);
  const [, channels, ...sizes] = graph.inputs[0]?.shape ?? [];
  if (sizes.length !== 2 || channels !== 3)
    throw expected(
      'ERR_OPTION',
      `a network of pictures of 3 channels`,
      `preprocessing '${mode}'`,
      graph.inputs[0]?.shape,
    );
  const [height, width] = sizes.map((size) => (typeof size === 'number' ? size : USUAL_SIDE)) as [number, number];
  const { mean, std, ...rest } = preprocessingOf(mode, [height, width]);
  return { ...(preprocessing ?? rest), mean, std };
}
