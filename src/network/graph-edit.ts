import { expected } from '../errors.js';
import type { GraphDescription, NodeDescription, ParameterDescription } from '../graph/types.js';

/** The node that makes a value ('a:1' is made by 'a'); undefined for inputs, parameters and states. */
export function producer(graph: GraphDescription, value: string): NodeDescription | undefined {
  const made = graph.nodes.find((node) => node.name === value);
  if (made) return made;
  const colon = value.lastIndexOf(':');
  return colon < 0 ? undefined : graph.nodes.find((node) => node.name === value.slice(0, colon));
}

/** Parameters and states. */
export function tensors(graph: GraphDescription): ParameterDescription[] {
  return [...graph.parameters, ...graph.states];
}

/** @throws ERR_GRAPH */
export function tensorOf(graph: GraphDescription, name: string): ParameterDescription {
  const found = tensors(graph).find((tensor) => tensor.name === name);
  if (!found) throw expected('ERR_GRAPH', 'the name of a parameter or state', 'tensor', name);
  return found;
}

/** The same for a name that a user gave. @throws ERR_NO_TENSOR */
export function namedTensor(graph: GraphDescription, name: string, network: string): ParameterDescription {
  const found = tensors(graph).find((tensor) => tensor.name === name);
  if (!found) throw expected('ERR_NO_TENSOR', `the name of a tensor of '${network}'`, 'tensor', name);
  return found;
}

/** What the given values depend on, and nothing else; these become the outputs. Losses are dropped. */
export function upTo(graph: GraphDescription, outputs: string[]): GraphDescription {
  const byName = new Map(graph.nodes.map((node) => [node.name, node]));
  const updates = new Map(graph.states.map(({ name, update }) => [name, update]));
  const wanted = new Set<string>();
  const open: (string | null | undefined)[] = [...outputs];
  while (open.length > 0) {
    const value = open.pop();
    if (typeof value !== 'string') continue;
    const name = byName.has(value) ? value : (producer(graph, value)?.name ?? value);
    if (wanted.has(name)) continue;
    wanted.add(name);
    open.push(...(byName.get(name)?.inputs ?? []), updates.get(name));
  }
  const kept = <T extends { name: string }>(all: T[]): T[] => all.filter(({ name }) => wanted.has(name));
  const { inputs, parameters, states, nodes } = graph;
  return { inputs: kept(inputs), parameters: kept(parameters), states: kept(states), nodes: kept(nodes), outputs };
}

/** The graph with one parameter's shape changed. */
export function reshaped(graph: GraphDescription, name: string, shape: number[]): GraphDescription {
  const parameters = graph.parameters.map((parameter) =>
    parameter.name === name ? { ...parameter, shape } : parameter,
  );
  return { ...graph, parameters };
}

/** First parameter-reading node of the input's pictures: the convolution that `channels` adapts. */
export function firstConvolution(
  graph: GraphDescription,
): { node: NodeDescription; input: string; weight: string } | null {
  const inputs = new Set(graph.inputs.map(({ name }) => name));
  const node = graph.nodes.find(({ op, inputs: [x] }) => op === 'conv2d' && typeof x === 'string' && inputs.has(x));
  const [input, weight] = node?.inputs ?? [];
  return node && typeof input === 'string' && typeof weight === 'string' ? { node, input, weight } : null;
}

/** A name that no node, value or tensor has, nor begins with by whole segments. */
export function freshName(graph: GraphDescription, wanted: string): string {
  const names = [...graph.inputs, ...tensors(graph), ...graph.nodes].map(({ name }) => name);
  const taken = (name: string): boolean => names.some((other) => other === name || other.startsWith(`${name}.`));
  let name = wanted;
  for (let i = 2; taken(name); i++) name = `${wanted}${i}`;
  return name;
}
