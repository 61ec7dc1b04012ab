/** Networks whose .weights are told by their size alone, so that no .cfg has to lie beside them. */
import { build } from '../zoo/index.js';
import type { Piece } from './darknet-graph.js';
import { elements } from './types.js';

/** Bytes before the numbers, of old and of new files. */
const HEADERS = [16, 20];
/** Of a convolution, in the order of the file. */
const PARTS = ['norm.bias', 'norm.weight', 'norm.running_mean', 'norm.running_var', 'bias', 'weight'];

export interface KnownDarknet {
  name: string;
  pieces: Piece[];
}

/** Darknet-19 and Darknet-53 with their 1000 classes; null: a file of `bytes` bytes is none of them. */
export function knownDarknet(bytes: number): KnownDarknet | null {
  for (const name of ['darknet19', 'darknet53']) {
    const pieces = piecesOf(name);
    const numbers = pieces.reduce((sum, { shape }) => sum + elements(shape), 0);
    if (HEADERS.includes(bytes - 4 * numbers)) return { name, pieces };
  }
  return null;
}

function piecesOf(name: string): Piece[] {
  const { graph } = build(name);
  const shapes = new Map([...graph.parameters, ...graph.states].map((tensor) => [tensor.name, tensor.shape]));
  const names = graph.nodes
    .filter(({ op }) => op === 'conv2d')
    .flatMap((conv) => PARTS.map((p) => `${conv.name}.${p}`));
  return names.flatMap((own) => (shapes.has(own) ? [{ name: own, shape: shapes.get(own)! }] : []));
}
