/**
 * In bf16 too, bits follow from values alone: not from threads, from the batch around a picture, or from the instruction
 * set, whose vectors compute what the tiles of AMX do.
 */
import { afterEach, describe, expect, it } from 'vitest';
import { fromGraph, GraphBuilder } from '../../src/index.js';
import type { GraphDescription, Isa, Network, Tensor } from '../../src/index.js';
import { coreInfo } from '../../src/native.js';

const nets: Network[] = [];
afterEach(() => nets.splice(0).forEach((net) => net.dispose()));

/** A stem, a bottleneck with its shortcut, depthwise and grouped convolutions, squeeze and excite, two joined branches,
 * two linear layers. */
function network(): GraphDescription {
  const g = new GraphBuilder();
  const norm = (name: string, x: string, width: number) => g.batchNorm(name, x, width);
  let x = g.input('image', 'f32', ['N', 3, 'H', 'W']);
  const bare = { bias: false };
  x = g.conv2d('stem', x, { in: 3, out: 40, kernel: 7, stride: 2, padding: 3, ...bare });
  x = g.relu('stem.relu', norm('stem.bn', x, 40));
  x = g.maxPool('stem.pool', x, { kernel: 3, stride: 2, padding: 1 });
  let y = g.relu('a.relu', norm('a.bn1', g.conv2d('a.conv1', x, { in: 40, out: 24, kernel: 1, ...bare }), 24));
  y = g.conv2d('a.conv2', y, { in: 24, out: 64, kernel: 3, stride: 2, padding: 1, ...bare });
  const shortcut = g.conv2d('a.shortcut', x, { in: 40, out: 64, kernel: 1, stride: 2, ...bare });
  x = g.relu('a.out', g.add('a.sum', norm('a.bn2', y, 64), norm('a.bn3', shortcut, 64)));
  y = g.relu6(
    'b.relu',
    norm('b.bn', g.conv2d('b.conv', x, { in: 64, out: 64, kernel: 3, padding: 1, groups: 64, ...bare }), 64),
  );
  y = norm('b.bn2', g.conv2d('b.project', y, { in: 64, out: 64, kernel: 3, padding: 1, groups: 4, ...bare }), 64);
  x = g.add('b.sum', x, y);
  const gate = g.sigmoid('c.gate', g.conv2d('c.fc', g.globalAveragePool('c.pool', x), { in: 64, out: 64, kernel: 1 }));
  x = g.multiply('c.scaled', x, gate);
  const left = g.relu('d.left.relu', g.conv2d('d.left', x, { in: 64, out: 32, kernel: 1 }));
  const right = g.relu('d.right.relu', g.conv2d('d.right', x, { in: 64, out: 48, kernel: 3, padding: 1 }));
  x = g.flatten('flat', g.globalAveragePool('pool', g.concat('d', [left, right])));
  x = g.relu('hidden.relu', g.linear('hidden', x, { in: 80, out: 50 }));
  return g.build([g.linear('fc', x, { in: 50, out: 10 })]);
}

const SIDE = 47;
const CLASSES = 10;

function noise(count: number): Float32Array {
  let state = 5;
  return Float32Array.from(
    { length: count },
    () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 31 - 1,
  );
}

const PICTURES = 5;
const pixels = noise(PICTURES * 3 * SIDE * SIDE);
const target = Int32Array.from({ length: PICTURES }, (_, i) => (3 * i) % CLASSES);

function pictures(first: number, count: number): Tensor {
  const size = 3 * SIDE * SIDE;
  return { data: pixels.subarray(first * size, (first + count) * size), shape: [count, 3, SIDE, SIDE] };
}

const batch = { image: pictures(0, PICTURES), target: { data: target, shape: [PICTURES] } };

async function made(threads?: number): Promise<Network> {
  const net = await fromGraph(network(), { outputs: CLASSES, seed: 3, precision: 'bf16', ...(threads && { threads }) });
  nets.push(net);
  return net;
}

const forward = async (net: Network, first: number, count: number) =>
  Object.values(await net.forward(pictures(first, count)))[0]!.data as Float32Array;

const flat = (tensors: Record<string, Tensor>) =>
  Object.entries(tensors).map(([name, { data }]) => ({ name, data: [...(data as Float32Array)] }));

it('the same with one, two and three threads: answers, losses and gradients', async () => {
  const results = [];
  for (const threads of [1, 2, 3]) {
    const net = await made(threads);
    const answers = [...(await forward(net, 0, PICTURES))];
    expect(answers.every(Number.isFinite)).toBe(true);
    const { loss, gradients } = await net.gradients(batch, { seed: 1 });
    results.push({ answers, loss, gradients: flat(gradients) });
  }
  expect(results[0]!.gradients.length).toBeGreaterThan(20);
  expect(results[1]).toEqual(results[0]);
  expect(results[2]).toEqual(results[0]);
});

it('the same for a picture alone and in any batch', async () => {
  const net = await made();
  const whole = await forward(net, 0, PICTURES);
  for (const [first, count] of [
    [0, 1],
    [4, 1],
    [1, 3],
    [2, 2],
    [1, 4],
  ] as const) {
    const part = await forward(net, first, count);
    expect([...part]).toEqual([...whole.subarray(first * CLASSES, (first + count) * CLASSES)]);
  }
});

/** Answers, or gradients, computed with the instructions of that set alone. */
async function computed(net: Network, isa: Isa, mode: 'run' | 'gradients'): Promise<Float32Array> {
  const graph = mode === 'run' ? net.graph : net.trainingGraph();
  const inputs: Record<string, Tensor> = mode === 'run' ? { image: batch.image } : batch;
  const shapes = Object.fromEntries(Object.entries(inputs).map(([name, { shape }]) => [name, shape]));
  const trainable = mode === 'run' ? [] : net.trainable;
  const batchNorm = mode === 'run' ? {} : net.batchNormModes;
  const request = { graph, mode, inputs: shapes, trainable, batchNorm, precision: 'bf16', isa };
  const { reply: plan } = await net.session.submit('compile', request);
  expect(plan.isa).toBe(isa);
  expect(plan.precision).toBe('bf16');
  const names = Object.keys(inputs);
  const command = { plan: plan.plan, inputs: names, ...(mode === 'gradients' && { gradients: true, seed: 1 }) };
  const { buffers } = await net.session.submit('run', command, names.map((name) => inputs[name]!.data)); // prettier-ignore
  return Float32Array.from(buffers.flatMap((buffer) => [...new Float32Array(buffer)]));
}

const best = coreInfo().isa;
const sets: Isa[] = ['scalar', 'avx2', 'avx512', 'amx'];
const usable = sets.slice(0, sets.indexOf(best) + 1);

describe.each(['run', 'gradients'] as const)('%s', (mode) => {
  it(`the same on ${usable.slice(1).join(', ') || 'one instruction set'}`, async () => {
    const net = await made();
    const wanted = await computed(net, best, mode);
    expect(wanted.length).toBeGreaterThan(PICTURES * CLASSES - 1);
    for (const isa of usable.slice(1)) expect(await computed(net, isa, mode), isa).toEqual(wanted);
    // Without fused multiply-add the few sums in float32 round differently.
    const scalar = await computed(net, 'scalar', mode);
    let [difference, norm] = [0, 0];
    scalar.forEach((value, i) => {
      difference += (value - wanted[i]!) ** 2;
      norm += wanted[i]! ** 2;
    });
    expect(Math.sqrt(difference / norm)).toBeLessThan(mode === 'run' ? 1e-3 : 1e-2);
  });
});
