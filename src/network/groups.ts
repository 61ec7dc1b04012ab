import type { GraphDescription } from '../graph/types.js';
import { matchesName } from './patterns.js';
import type { LayerGroup } from './types.js';

/**
 * Parameters by stage, in graph order. A parameter outside of every stage joins the stage of the parameter before it; where
 * no stages are known, the first segments of the names are the stages. Stages without parameters are left out.
 */
export function layerGroups(graph: GraphDescription, layers: readonly string[]): LayerGroup[] {
  const stages = layers.length > 0 ? [...layers] : firstSegments(graph);
  const groups = new Map<string, string[]>();
  let current = stages[0] ?? '';
  for (const name of inGraphOrder(graph)) {
    // The longest name wins: 'classifier.6' is not of 'classifier'.
    const own = stages.filter((stage) => matchesName(stage, name)).sort((a, b) => b.length - a.length)[0];
    current = own ?? current;
    groups.set(current, [...(groups.get(current) ?? []), name]);
  }
  return stages.filter((stage) => groups.has(stage)).map((name) => ({ name, parameters: groups.get(name)! }));
}

/** The first segments of the parameters' names, in graph order. */
export function firstSegments(graph: GraphDescription): string[] {
  return [...new Set(inGraphOrder(graph).map((name) => name.split('.')[0]!))];
}

/** Parameters in the order in which nodes first read them; those that nobody reads come last. */
function inGraphOrder(graph: GraphDescription): string[] {
  const parameters = new Set(graph.parameters.map(({ name }) => name));
  const read = graph.nodes.flatMap((node) => node.inputs.filter((name): name is string => parameters.has(name ?? '')));
  return [...new Set([...read, ...parameters])];
}
