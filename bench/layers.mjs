// Time of each launch of a whole network, forward or a training step, with its share of the whole, its rate, that rate's
// share of the machine's peak, and oneDNN's time for the same convolution.
import { load } from '../dist/index.js';
import { aligned } from './lib/report.mjs';
import { oneDnn } from './lib/onednn.mjs';
import { networkFiles, pictures, targets } from './lib/networks.mjs';

/** Multiply-adds of these run over the same index set: output pixels, output channels, and a weight each. */
const CONVOLUTIONS = new Set(['conv2d', 'conv2d_backward_data', 'conv2d_backward_weights']);

/** Multiplications and additions of each convolution and linear layer of the graph, by the name of its node. */
async function operations(net, graph, shapes) {
  const { reply } = await net.session.submit('compile', { graph, mode: 'infer', inputs: shapes, trainable: [] });
  const outputs = new Map(reply.values.map(({ node, shape }) => [node, shape]));
  const weights = new Map(net.parameters().map(({ name, shape }) => [name, shape]));
  const counted = new Map();
  for (const node of graph.nodes) {
    const weight = weights.get(node.inputs[1]);
    const out = outputs.get(node.name);
    if (!weight || !out || !['conv2d', 'linear'].includes(node.op)) continue;
    const perOutput = weight.slice(1).reduce((a, b) => a * b, 1);
    counted.set(node.name, { flops: 2 * out.reduce((a, b) => a * b, 1) * perOutput, weight, out });
  }
  return counted;
}

/** A gradient by weights of single pictures computes as much as one of the batch. */
const passOf = ({ op }) => (op === 'conv2d_backward_weights_sums' ? 'conv2d_backward_weights' : op);

/** The graph's node that a launch belongs to: gradient nodes are named `<node>/<operator>`. */
const ownerOf = ({ node }) => node.split('/')[0];

/**
 * Prints the launches of one pass, each at the least of its times over the repeats: a disturbance only ever adds.
 * @param {{ net: string, mode: string, precision: string, batch: number, repeats: number, top: number }} options
 */
export async function layers({ net: name, mode, precision, batch, repeats, top }) {
  if (!['run', 'step'].includes(mode)) throw new Error(`expected --mode run or step, received ${mode}`);
  const net = await load((await networkFiles(name)).pth, { precision });
  const inputs = { image: pictures(batch), ...(mode === 'step' && { target: targets(batch) }) };
  const graph = mode === 'step' ? net.trainingGraph() : net.graph;
  if (mode === 'step') net.unfreeze();
  const update = mode === 'step' && { update: { optimizer: 'sgd', learningRate: 1e-4, momentum: 0.9 } };
  const request = { profile: true, discardOutputs: true, ...update };
  const shapes = Object.fromEntries(Object.entries(inputs).map(([key, { shape }]) => [key, shape]));
  const counted = await operations(net, graph, shapes);

  const plan = await net.compile(mode, shapes, { graph });
  let best;
  let whole = Infinity;
  let outside = Infinity;
  for (let i = 0; i <= repeats; i++) {
    const begin = performance.now();
    const { reply } = await net.execute(mode, inputs, request, { graph });
    const ms = performance.now() - begin;
    // The first run packs the weights.
    if (i === 0) continue;
    whole = Math.min(whole, ms);
    outside = Math.min(outside, ms - reply.launches.reduce((total, launch) => total + launch.ms, 0));
    best = best
      ? best.map((launch, k) => ({ ...launch, ms: Math.min(launch.ms, reply.launches[k].ms) }))
      : reply.launches;
  }
  net.dispose();
  const peer = await oneDnn({ network: name, batch, precision: plan.precision });
  if (peer.absent) process.stderr.write(`no times of oneDNN: ${peer.absent}\n`);
  print({ name, mode, plan, batch, whole, outside, top, peer }, best, counted);
}

function print({ name, mode, plan, batch, whole, outside, top, peer }, launches, counted) {
  const sum = launches.reduce((total, { ms }) => total + ms, 0);
  const share = (ms) => `${((100 * ms) / sum).toFixed(1)}%`;
  const rate = (launch) => {
    const owner = counted.get(ownerOf(launch));
    const computes = CONVOLUTIONS.has(passOf(launch)) || launch.op.startsWith('linear') || launch.op === 'matmul';
    return owner && computes && !launch.op.endsWith('_pack') ? owner.flops / launch.ms / 1e6 : NaN;
  };
  const ofPeak = (launch) => (peer.peak ? `${((100 * rate(launch)) / peer.peak).toFixed(0)}%` : '');
  const oneDnnMs = (launch) => peer.ms.get(`${passOf(launch)} ${ownerOf(launch)}`)?.toFixed(2) ?? '';
  const shape = (launch) => {
    const owner = counted.get(ownerOf(launch));
    return owner ? `${owner.weight.join('x')} @${owner.out.slice(2).join('x')}` : '';
  };
  const shown = launches.filter(({ ms }) => ms > 0.005);
  const listed = top < shown.length ? [...shown].sort((a, b) => b.ms - a.ms).slice(0, top) : shown;
  const rows = listed.map((one) => [
    one.ms.toFixed(2),
    share(one.ms),
    Number.isNaN(rate(one)) ? '' : rate(one).toFixed(0),
    Number.isNaN(rate(one)) ? '' : ofPeak(one),
    oneDnnMs(one),
    one.op,
    one.kernel,
    one.node,
    shape(one),
  ]);
  const headings = ['ms', 'share', 'GFLOP/s', 'of peak', 'oneDNN ms', 'operator', 'kernel', 'node', 'weight'];
  console.log(aligned([headings, ...rows], new Set([0, 1, 2, 3, 4])));

  const groups = new Map();
  for (const launch of launches) {
    const key = [launch.op, launch.kernel].filter(Boolean).join(' ');
    groups.set(key, (groups.get(key) ?? 0) + launch.ms);
  }
  const totals = [...groups].sort((a, b) => b[1] - a[1]).filter(([, ms]) => ms > sum / 1000);
  const lines = totals.map(([key, ms]) => [ms.toFixed(2), share(ms), key]);
  console.log(`\n${aligned([['ms', 'share', 'operator'], ...lines], new Set([0, 1]))}`);
  const peers = peer.peak ? `; peak ${peer.peak.toFixed(0)} GFLOP/s` : '';
  console.log(
    `\n${name}, ${mode}, batch ${batch}, ${plan.precision} on ${plan.isa}: launches ${sum.toFixed(1)} ms at their fastest, the whole call ` +
      `${whole.toFixed(1)} ms; ${outside.toFixed(1)} ms outside launches (hand-over${mode === 'step' ? ', update' : ''})${peers}`,
  );
}
