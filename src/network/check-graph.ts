import { expected } from '../errors.js';
import type { GraphDescription } from '../graph/types.js';

/** More elements than this in one tensor are refused before memory is taken. */
const MAX_ELEMENTS = 2 ** 40;

/**
 * The form of a graph description: what JavaScript relies on. Operators, attributes and shapes are the core's to check.
 * @throws ERR_GRAPH
 */
export function checkGraph(graph: unknown, where: string): asserts graph is GraphDescription {
  const fail = (what: string, received: unknown): Error =>
    expected('ERR_GRAPH', what, `the graph of ${where}`, received);
  if (!isObject(graph)) throw fail('an object', graph);
  const seen = new Set<string>();
  const declare = (name: unknown, what: string): void => {
    if (typeof name !== 'string' || name === '') throw fail(`a name for each ${what}`, name);
    if (seen.has(name)) throw fail('each name once', name);
    seen.add(name);
  };
  for (const input of list(graph, 'inputs', fail)) {
    declare(input.name, 'input');
    if (!isShape(input.shape, true)) throw fail(`a shape for input '${input.name}'`, input.shape);
  }
  for (const tensor of [...list(graph, 'parameters', fail), ...list(graph, 'states', fail)]) {
    declare(tensor.name, 'tensor');
    if (!isShape(tensor.shape, false)) throw fail(`a shape for tensor '${tensor.name}'`, tensor.shape);
    if (!isObject(tensor.init)) throw fail(`an initialiser for tensor '${tensor.name}'`, tensor.init);
  }
  for (const node of list(graph, 'nodes', fail)) {
    if (typeof node.op !== 'string' || !Array.isArray(node.inputs))
      throw fail(`op and inputs for node '${node.name}'`, node.op);
    for (const input of node.inputs) {
      if (input !== null && !known(seen, input)) throw fail(`an earlier value for node '${node.name}'`, input);
    }
    declare(node.name, 'node');
  }
  checkEnds(graph, seen, fail);
}

type Fail = (what: string, received: unknown) => Error;

function checkEnds(graph: Record<string, unknown>, seen: Set<string>, fail: Fail): void {
  const { outputs, losses = [] } = graph;
  if (!Array.isArray(outputs)) throw fail('a list of outputs', outputs);
  for (const output of outputs) if (!known(seen, output)) throw fail('a value for each output', output);
  if (!Array.isArray(losses)) throw fail('a list of losses', losses);
  for (const loss of losses) {
    if (!isObject(loss) || !known(seen, loss.value) || !Number.isFinite(loss.weight))
      throw fail('a value and a weight for each loss', loss);
  }
  for (const { name, update } of list(graph, 'states', fail)) {
    if (update !== undefined && !known(seen, update)) throw fail(`a value for state '${String(name)}'`, update);
  }
}

/** A value: declared, or a further output ('name:1') of a node. */
function known(seen: Set<string>, value: unknown): boolean {
  return typeof value === 'string' && (seen.has(value) || seen.has(value.replace(/:\d+$/, '')));
}

function list(graph: Record<string, unknown>, key: string, fail: Fail): Record<string, unknown>[] {
  const items = graph[key];
  if (!Array.isArray(items) || !items.every(isObject)) throw fail(`a list of ${key}`, items);
  return items;
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function isShape(shape: unknown, symbols: boolean): boolean {
  if (!Array.isArray(shape)) return false;
  const sizes = shape.filter((size) => !(symbols && typeof size === 'string'));
  if (!sizes.every((size) => Number.isSafeInteger(size) && size >= 0)) return false;
  return sizes.reduce((product: number, size: number) => product * size, 1) <= MAX_ELEMENTS;
}
