import { expected, ThawError } from '../errors.js';
import { GraphBuilder } from '../graph/builder.js';
import type { GraphDescription, NodeDescription, ParameterDescription } from '../graph/types.js';
import { checkNewLabels } from './checks.js';
import { featureShape } from './features.js';
import { freshName, producer, reshaped, tensorOf, tensors, upTo } from './graph-edit.js';
import { presetLayers } from './head-layers.js';
import type { HeadLayer, HeadOptions } from './head-layers.js';
import { matchesName } from './patterns.js';
import { LoadReport } from './report.js';
import type { HeadDescription, HeadKind } from './types.js';
import { lastValue } from './values.js';

/** What a new head is put on. */
export interface Headed {
  graph: GraphDescription;
  head: Readonly<HeadDescription>;
  layers: readonly string[];
  input: { channels: number; height: number; width: number } | null;
}

/** A network with its head replaced, not yet taken over. */
export interface HeadEdit {
  graph: GraphDescription;
  head: HeadDescription;
  layers: string[];
  /** null: none are known; undefined: those of before still stand. */
  labels: string[] | null;
  /** Tensors that the network has no more. */
  dropped: string[];
  /** Tensors to be drawn. */
  initialised: ParameterDescription[];
  report: LoadReport;
}

/** See `Network.replaceHead`. */
export function replaceHead(net: Headed, options: HeadOptions): HeadEdit {
  const outputs = namedOutputs(options);
  // A body without a classifier has no last layer to make anew.
  const body = net.head.classifier === '' && net.head.boundary !== '';
  const layered = body || options.layers !== undefined || options.preset !== undefined || options.after !== undefined;
  if (!layered && options.dropout !== undefined)
    throw expected('ERR_HEAD', "a preset ('linear' or 'fastai')", 'dropout', options.dropout);
  return layered ? stacked(net, options, outputs) : swapped(net, outputs);
}

interface Outputs {
  kind: HeadKind;
  count: number;
  labels: string[] | null;
  targets: string[] | null;
}

/** What the head is to answer. The number of outputs is that of the names, else `outputs`, else of the last layer. */
function namedOutputs(options: HeadOptions): Outputs {
  const kind = options.kind ?? (options.targets ? 'regression' : 'single');
  if (!['single', 'multi', 'regression'].includes(kind))
    throw expected('ERR_HEAD', "'single', 'multi' or 'regression'", 'kind', kind);
  if (kind !== 'regression' && options.targets)
    throw expected('ERR_HEAD', "kind 'regression'", 'a head with targets', kind);
  const given = options.targets ?? options.labels;
  const names = given ? checkNewLabels(given, options.targets ? 'targets' : 'labels') : null;
  const last = options.layers?.at(-1);
  const count = names?.length ?? options.outputs ?? (last?.kind === 'linear' ? last.outputs : undefined);
  if (count === undefined || !Number.isInteger(count) || count < 1) {
    throw expected('ERR_HEAD', 'labels, targets or a number of outputs', 'a new head', count);
  }
  if (names && options.outputs !== undefined && options.outputs !== count) {
    throw expected('ERR_HEAD', `${count} outputs, one for each name`, 'outputs', options.outputs);
  }
  if (kind === 'single' && count < 2)
    throw expected('ERR_LABELS', 'at least two labels', "a head of kind 'single'", count);
  return { kind, count, labels: kind === 'regression' ? null : names, targets: kind === 'regression' ? names : null };
}

/** The architecture's own last layer, under its own name, with another number of outputs. */
function swapped(net: Headed, outputs: Outputs): HeadEdit {
  const node = net.graph.nodes.find(({ name }) => name === net.head.classifier);
  const names = (node?.inputs.slice(1, 3) ?? []).filter((name): name is string => typeof name === 'string');
  if (!node || names.length === 0 || (node.op !== 'linear' && node.op !== 'conv2d')) {
    throw new ThawError(
      'ERR_HEAD',
      'expected layers, preset or after for a new head, received labels alone, and the last layer of this network is not known',
    );
  }
  let graph = net.graph;
  for (const name of names) {
    if (readers(graph, name).length !== 1) throw tied(name);
    graph = reshaped(graph, name, [outputs.count, ...tensorOf(graph, name).shape.slice(1)]);
  }
  return edit(net, graph, new Set(names), [...net.layers], outputs, {
    classifier: node.name,
    boundary: net.head.boundary,
  });
}

function readers(graph: GraphDescription, value: string): NodeDescription[] {
  return graph.nodes.filter(({ inputs }) => inputs.includes(value));
}

const tied = (name: string): ThawError =>
  new ThawError(
    'ERR_HEAD',
    `expected a last layer with weights of its own, received '${name}', which other layers read too; give layers or after`,
  );

/** A head of listed layers on the body's features, or on those of the layer `after`. */
function stacked(net: Headed, options: HeadOptions, outputs: Outputs): HeadEdit {
  const boundary = options.after === undefined ? net.head.boundary : lastValue(net.graph, options.after);
  if (!boundary)
    throw expected('ERR_HEAD', 'after: the last layer of the body', 'a network whose body is not known', options.after);
  const layers = options.layers ?? presetLayers(options.preset ?? 'linear', outputs.count, options.dropout);
  checkLast(layers, outputs.count);
  const body = upTo(net.graph, [boundary]);
  const name = freshName(body, 'head');
  const top = stack(name, boundary, featureShape(body, boundary, net.input), layers);
  const graph: GraphDescription = {
    inputs: body.inputs,
    parameters: [...body.parameters, ...top.parameters],
    states: [...body.states, ...top.states],
    nodes: [...body.nodes, ...top.nodes],
    outputs: top.outputs,
  };
  const left = net.layers.filter((stage) =>
    [...body.nodes, ...tensors(body)].some((part) => matchesName(stage, part.name)),
  );
  const fresh = new Set(tensors(top).map((tensor) => tensor.name));
  return edit(net, graph, fresh, [...left, name], outputs, { classifier: top.outputs[0]!, boundary });
}

function checkLast(layers: readonly HeadLayer[], outputs: number): void {
  const last = layers.at(-1);
  if (last?.kind === 'linear' && last.outputs === outputs) return;
  const received = last?.kind === 'linear' ? `linear(${last.outputs})` : (last?.kind ?? 'no layer');
  throw new ThawError(
    'ERR_HEAD',
    `expected linear(${outputs}) for the last layer of a head with ${outputs} outputs, received ${received}`,
  );
}

/** Layers 'head.0', 'head.1', … on a value; pooling and flattening that a linear layer needs are put before it. */
function stack(head: string, from: string, features: number[], layers: readonly HeadLayer[]): GraphDescription {
  const g = new GraphBuilder();
  let x = { value: from, shape: features };
  layers.forEach((layer, i) => {
    const name = `${head}.${i}`;
    if (layer.kind === 'linear') x = flattened(g, pooled(g, x, `${name}.pool`), `${name}.flatten`);
    x = addLayer(g, name, layer, x);
  });
  return g.build([x.value]);
}

interface Features {
  value: string;
  shape: number[];
}

function addLayer(g: GraphBuilder, name: string, layer: HeadLayer, x: Features): Features {
  switch (layer.kind) {
    case 'linear': {
      const sizes = { in: x.shape[0]!, out: layer.outputs, bias: layer.bias };
      return { value: g.linear(name, x.value, sizes), shape: [layer.outputs] };
    }
    case 'relu':
      return { ...x, value: g.relu(name, x.value) };
    case 'dropout':
      return { ...x, value: g.dropout(name, x.value, { p: layer.p }) };
    case 'batchNorm':
      return { ...x, value: g.batchNorm(name, x.value, x.shape[0]!) };
    case 'flatten':
      return flattened(g, x, name);
    case 'globalAveragePool':
      return { value: g.globalAveragePool(name, spatial(x, layer.kind).value), shape: [x.shape[0]!, 1, 1] };
    case 'concatPool':
      return concatPooled(g, name, spatial(x, layer.kind));
    default:
      throw expected('ERR_HEAD', 'a layer made by linear(), relu(), dropout(), …', `layer '${name}'`, layer);
  }
}

function concatPooled(g: GraphBuilder, name: string, x: Features): Features {
  const parts = [g.globalAveragePool(`${name}.average`, x.value), g.globalMaxPool(`${name}.maximum`, x.value)];
  return { value: g.concat(name, parts, 1), shape: [2 * x.shape[0]!, 1, 1] };
}

function spatial(x: Features, layer: string): Features {
  if (x.shape.length === 3) return x;
  throw expected(
    'ERR_HEAD',
    'features with a height and a width',
    `${layer}()`,
    `${x.shape.length === 1 ? 'flat features' : x.shape}`,
  );
}

/** A linear layer reads one number a channel: what is still spread out is averaged. */
function pooled(g: GraphBuilder, x: Features, name: string): Features {
  if (x.shape.length !== 3 || (x.shape[1] === 1 && x.shape[2] === 1)) return x;
  return { value: g.globalAveragePool(name, x.value), shape: [x.shape[0]!, 1, 1] };
}

function flattened(g: GraphBuilder, x: Features, name: string): Features {
  if (x.shape.length === 1) return x;
  const size = x.shape.reduce((product, dimension) => product * dimension, 1);
  if (size === 0)
    throw expected(
      'ERR_HEAD',
      'features of known height and width',
      'flatten()',
      'a size that depends on the picture; pool first',
    );
  return { value: g.flatten(name, x.value), shape: [size] };
}

/** Compares the graphs and writes the report. `fresh`: tensors of the new graph that are drawn anew. */
function edit(
  net: Headed,
  graph: GraphDescription,
  fresh: ReadonlySet<string>,
  layers: string[],
  outputs: Outputs,
  place: { classifier: string; boundary: string },
): HeadEdit {
  const report = new LoadReport();
  const kept = new Set(
    tensors(graph)
      .map(({ name }) => name)
      .filter((name) => !fresh.has(name)),
  );
  const dropped = tensors(net.graph).filter(({ name }) => !kept.has(name));
  for (const { name, shape } of dropped) report.dropped.push({ name, received: shape });
  const initialised = tensors(graph).filter(({ name }) => fresh.has(name));
  for (const { name, shape } of initialised) report.initialised.push({ name, expected: shape });
  const { kind, count, labels, targets } = outputs;
  const head: HeadDescription = { kind, outputs: count, ...place, ...(targets && { targets }) };
  return { graph, head, layers, labels, dropped: dropped.map(({ name }) => name), initialised, report };
}

/** The last layer of a graph that says nothing about itself: the linear or 1x1 layer nearest to its output, if there is one. */
export function classifierOf(graph: GraphDescription): { classifier: string; boundary: string; outputs: number } {
  const through = new Set(
    'flatten reshape global_average_pool adaptive_average_pool average_pool relu softmax reduce dropout'.split(' '),
  );
  let node = producer(graph, graph.outputs[0] ?? '');
  while (node && through.has(node.op)) node = producer(graph, node.inputs[0] ?? '');
  const weight = graph.parameters.find(({ name }) => name === node?.inputs[1]);
  const pointwise = node?.op === 'conv2d' && weight?.shape.slice(2).every((size) => size === 1);
  if (!node || !weight || (node.op !== 'linear' && !pointwise)) return { classifier: '', boundary: '', outputs: 0 };
  return { classifier: node.name, boundary: node.inputs[0] ?? '', outputs: weight.shape[0]! };
}

/** Where the body ends below a value: what only pools and flattens is of the head, which chooses its own. */
export function bodyEnd(graph: GraphDescription, value: string): string {
  const through = new Set('flatten reshape global_average_pool adaptive_average_pool reduce dropout'.split(' '));
  let end = value;
  for (let node = producer(graph, end); node && through.has(node.op); node = producer(graph, end))
    end = node.inputs[0]!;
  return producer(graph, end) ? end : value;
}
