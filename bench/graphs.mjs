// Writes the graphs of networks as files for bench/cpp/network_bench.cpp: node bench/graphs.mjs FOLDER NAME[@SIDE]…
// The name `product@N` is one linear layer, N numbers by N: with a batch of N a plain matrix product.
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { create, GraphBuilder } from '../dist/index.js';
import { headParameters } from '../dist/train/head.js';

const [folder, ...names] = process.argv.slice(2);
mkdirSync(folder, { recursive: true });

function product(name, side) {
  const g = new GraphBuilder();
  const x = g.input('image', 'f32', ['N', side]);
  const run = g.build([g.linear('product', x, { in: side, out: side, bias: false })]);
  return { name, input: [side], classes: side, run };
}

const DRAWING = new Set(['dropout', 'stochastic_depth']);

/** Random draws differ from library to library: nothing is dropped. */
function withoutDraws(graph) {
  const quiet = (node) => (DRAWING.has(node.op) ? { ...node, attrs: { ...node.attrs, p: 0 } } : node);
  return { ...graph, nodes: graph.nodes.map(quiet) };
}

async function network(name, architecture, side) {
  const net = await create(architecture);
  const [, channels] = net.graph.inputs[0].shape;
  const size = side || (net.preprocessing?.size?.[0] ?? 224);
  const head = headParameters(net);
  const classes = net.head?.outputs ?? 1000;
  const step = withoutDraws(net.trainingGraph());
  const file = { name, input: [channels, size, size], classes, run: net.graph, step, head };
  net.dispose();
  return file;
}

for (const name of names) {
  const [architecture, side] = name.split('@');
  const file = await (architecture === 'product'
    ? product(name, Number(side))
    : network(name, architecture, Number(side)));
  writeFileSync(path.join(folder, `${name}.json`), JSON.stringify(file));
}
