// The convolutions of a network as text, one a line: what the core's own benchmark, the peers' and the tests of the
// kernels read.
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { createSession } from '../../dist/native.js';
import { build } from '../../dist/zoo/index.js';

export const NETWORKS = [
  ...['alexnet', 'vgg16', 'resnet18', 'resnet50', 'resnext50_32x4d', 'squeezenet1_1', 'densenet121', 'googlenet'],
  ...['inception_v3', 'mobilenet_v1', 'mobilenet_v2', 'mobilenet_v3_large', 'shufflenet_v2_x1_0', 'mnasnet1_0'],
  ...['efficientnet_b0', 'regnet_y_400mf', 'convnext_tiny', 'darknet53', 'cifar_resnet20'],
];

const COLUMNS = 'C H W K kh kw sy sx top left bottom right dy dx groups'.split(' ');

const ints = (node, name, otherwise) => node.attrs?.[name] ?? otherwise;

/** @typedef {{ name: string, numbers: number[] }} Layer its numbers in the order of the columns */

/** @returns {Promise<Layer[]>} the convolutions of a network in graph order, for one picture of its usual size */
export async function convolutions(network) {
  const { graph, input } = build(network, {});
  const size = input ?? { channels: 3, height: 224, width: 224 };
  const session = createSession({ threads: 1 });
  try {
    const image = [1, size.channels, size.height, size.width];
    const inputs = { [graph.inputs[0].name]: image };
    const { reply } = await session.submit('compile', { graph, mode: 'infer', inputs, trainable: [] });
    const shapes = new Map(reply.values.map(({ node, shape }) => [node, shape]));
    shapes.set(graph.inputs[0].name, image);
    const weights = new Map(graph.parameters.map(({ name, shape }) => [name, shape]));
    return graph.nodes.filter(({ op }) => op === 'conv2d').map((node) => layerOf(node, shapes, weights));
  } finally {
    session.dispose();
  }
}

function layerOf(node, shapes, weights) {
  const [, c, h, w] = shapes.get(node.inputs[0]);
  const [k, , kh, kw] = weights.get(node.inputs[1]);
  const numbers = [c, h, w, k, kh, kw, ...ints(node, 'stride', [1, 1]), ...ints(node, 'padding', [0, 0, 0, 0])];
  numbers.push(...ints(node, 'dilation', [1, 1]), ints(node, 'groups', 1));
  return { name: node.name, numbers };
}

/** @param {Layer[]} layers */
export function shapesText(network, layers) {
  const rows = [['#layer', ...COLUMNS], ...layers.map(({ name, numbers }) => [name, ...numbers.map(String)])];
  const widths = rows[0].map((_, i) => Math.max(...rows.map((row) => row[i].length)));
  const line = (row) => row.map((cell, i) => (i === 0 ? cell.padEnd(widths[0]) : cell.padStart(widths[i]))).join(' ');
  return `# convolutions of ${network}; made by: npm run bench -- shapes\n${rows.map(line).join('\n')}\n`;
}

/** A file of each network. */
export async function writeShapes(folder) {
  for (const network of NETWORKS)
    writeFileSync(path.join(folder, `${network}.txt`), shapesText(network, await convolutions(network)));
}
