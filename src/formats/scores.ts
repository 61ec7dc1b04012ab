import type { GraphDescription, NodeDescription } from '../graph/types.js';

/** Operators that only reorder or rename scores on their way to the output. */
const THROUGH = new Set(['flatten', 'reshape']);

/**
 * The graph without a softmax at its end. A network's outputs are scores: training's loss and `predict` take the
 * softmax themselves. null where there is none.
 */
export function withoutSoftmax(graph: GraphDescription): { graph: GraphDescription; removed: string[] } | null {
  const ends = graph.outputs.map((output) => softmaxBefore(graph, output)).filter((node) => node !== undefined);
  const replaced = new Map(ends.map(({ name, inputs }) => [name, inputs[0]!]));
  if (replaced.size === 0) return null;
  const renamed = (value: string | null): string | null => (value === null ? null : (replaced.get(value) ?? value));
  const nodes = graph.nodes
    .filter(({ name }) => !replaced.has(name))
    .map((node) => ({ ...node, inputs: node.inputs.map(renamed) }));
  return { graph: { ...graph, nodes, outputs: graph.outputs.map((o) => renamed(o)!) }, removed: [...replaced.keys()] };
}

function softmaxBefore(graph: GraphDescription, output: string): NodeDescription | undefined {
  const producers = new Map(graph.nodes.map((node) => [node.name, node]));
  const uses = (value: string): number =>
    graph.nodes.filter(({ inputs }) => inputs.includes(value)).length +
    graph.outputs.filter((name) => name === value).length;
  let node = producers.get(output);
  while (node && THROUGH.has(node.op)) {
    const from: string = node.inputs[0] ?? '';
    if (uses(from) > 1) return undefined;
    node = producers.get(from);
  }
  return node?.op === 'softmax' && uses(node.name) <= 1 ? node : undefined;
}
