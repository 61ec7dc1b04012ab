import { expected } from '../errors.js';
import { GraphBuilder } from '../graph/builder.js';
import type { GraphDescription } from '../graph/types.js';
import { alexnets } from './alexnet.js';
import { cifarResnets } from './cifar-resnet.js';
import { convnexts } from './convnext.js';
import { darknets } from './darknet.js';
import { densenets } from './densenet.js';
import { efficientnets } from './efficientnet.js';
import { googlenets } from './googlenet.js';
import { inceptions } from './inception.js';
import { mnasnets } from './mnasnet.js';
import { mobilenetV1s } from './mobilenet-v1.js';
import { mobilenetV3s } from './mobilenet-v3.js';
import { mobilenets } from './mobilenet.js';
import { preprocessingFor } from './preprocessing.js';
import { regnets } from './regnet.js';
import { resnets } from './resnet.js';
import { shufflenets } from './shufflenet.js';
import { squeezenets } from './squeezenet.js';
import type { Architecture, Config, Mark, Norm, Recipe } from './types.js';
import { vggs } from './vgg.js';

const RECIPES = new Map<string, Recipe>(
  Object.entries({
    ...{ ...alexnets, ...vggs, ...resnets, ...densenets, ...squeezenets, ...mobilenets },
    ...{ ...mobilenetV3s, ...shufflenets, ...mnasnets, ...efficientnets, ...regnets, ...convnexts },
    ...{ ...googlenets, ...inceptions },
    // What torchvision has not.
    ...{ ...mobilenetV1s, ...darknets, ...cifarResnets },
  }),
);

/** Names that `build` knows; see docs/networks.md. */
export function architectures(): string[] {
  return [...RECIPES.keys()];
}

/**
 * A network with new parameters. Throws ERR_ARCHITECTURE for an unknown name, ERR_OPTION for a number of classes that is
 * no whole number from 1 on, and for channels other than 1, 3 and 4.
 */
export function build(name: string, config: Config = {}): Architecture {
  const recipe = RECIPES.get(name);
  if (!recipe) throw expected('ERR_ARCHITECTURE', `one of ${architectures().join(', ')}`, 'architecture', name);
  const imagenet = recipe.trainedOn === 'imagenet';
  const { classes = imagenet ? 1000 : 10, channels = 3, norm } = config;
  const auxiliary = config.auxiliary === true && recipe.auxiliary !== undefined;
  if (!Number.isSafeInteger(classes) || classes < 1) {
    throw expected('ERR_OPTION', 'a whole number from 1 on', 'classes', classes);
  }
  if (channels !== 1 && channels !== 3 && channels !== 4)
    throw expected('ERR_OPTION', '1, 3 or 4', 'channels', channels);
  const g = new GraphBuilder();
  const image = g.input('image', 'f32', ['N', channels, 'H', 'W']);
  const { scores, ...facts } = recipe.write(g, image, { classes, channels, auxiliary });
  const graph = withNorm(g.build([scores]), norm);
  const side = imagenet ? (recipe.pictures?.crop ?? 224) : 32;
  return {
    name,
    config: { classes, channels, ...(auxiliary && { auxiliary }), ...(norm && { norm }) },
    graph,
    classes,
    ...facts,
    layers: stages(graph),
    preprocessing: preprocessingFor(recipe, channels),
    input: { channels, height: side, width: side },
  };
}

function withNorm(graph: GraphDescription, norm: Norm | undefined): GraphDescription {
  if (!norm) return graph;
  const { eps, momentum } = norm;
  const nodes = graph.nodes.map((node) =>
    node.op === 'batch_norm' ? { ...node, attrs: { ...node.attrs, eps, momentum } } : node,
  );
  return { ...graph, nodes };
}

/** Modules of an architecture's auxiliary heads, each with the layer that gives its scores; none: {}. */
export function auxiliaryHeads(name: string): Record<string, string> {
  return RECIPES.get(name)?.auxiliary ?? {};
}

/** What tells each architecture's weights, in the order of `architectures`. */
export function marks(): ReadonlyMap<string, Mark> {
  return new Map([...RECIPES].map(([name, { mark }]) => [name, mark]));
}

/** First segments of the parameters' names; two where the first is a sequence (`features.3`, `trunk_output.block2`). */
function stages({ parameters }: GraphDescription): string[] {
  const stage = /^((features|layers|trunk_output|blocks)\.\w+|classifier\.\d+|\w+)/;
  return [...new Set(parameters.map(({ name }) => stage.exec(name)![0]))];
}
