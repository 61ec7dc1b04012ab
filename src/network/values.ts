import type { GraphDescription } from '../graph/types.js';
import { producer, tensors } from './graph-edit.js';
import { matchesName, noMatch } from './patterns.js';

/** The value that a layer ends with: that of its last node. @throws ERR_NO_MATCH */
export function lastValue(graph: GraphDescription, layer: unknown): string {
  const names = graph.nodes.map(({ name }) => name);
  const found = typeof layer === 'string' ? names.filter((name) => matchesName(layer, name)).at(-1) : undefined;
  if (found === undefined) throw noMatch(layer, names, 'a layer');
  return found;
}

/** The value that a name stands for: the one of just that name, else what the layer of that name ends with. @throws ERR_NO_MATCH */
export function valueNamed(graph: GraphDescription, name: string): string {
  const given = [...graph.inputs, ...tensors(graph)].some((value) => value.name === name);
  return given || producer(graph, name) ? name : lastValue(graph, name);
}
