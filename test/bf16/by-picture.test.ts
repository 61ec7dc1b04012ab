/**
 * Training steps in bf16 whose maps are large: batch norms and gradients by weights are sums of each picture and what joins
 * them, and stretches between two joins run a picture at a time. None of that may show in the results but as rounding.
 */
import { afterEach, describe, expect, it } from 'vitest';
import { fromGraph, GraphBuilder } from '../../src/index.js';
import type { GraphDescription, Isa, Network, Precision, Tensor } from '../../src/index.js';
import { coreInfo } from '../../src/native.js';

const SIDE = 48;
const WIDTH = 64;
const CLASSES = 6;
const PICTURES = 8;

const nets: Network[] = [];
afterEach(() => nets.splice(0).forEach((net) => net.dispose()));

/** A stem and two residual blocks of two kinds, the second with half the pixels: 288 KiB a picture, and 8 pictures leave
 * a cache of 2 MiB. Batch norms with and without an activation, one that two nodes read, one that ends the network. */
function network(): GraphDescription {
  const g = new GraphBuilder();
  const conv = (name: string, x: string, ins: number, out: number, kernel: number, stride = 1) => {
    const y = g.conv2d(name, x, { in: ins, out, kernel, stride, padding: kernel >> 1, bias: false });
    return g.batchNorm(`${name}.bn`, y, out);
  };
  let x = g.relu('stem.relu', conv('stem', g.input('image', 'f32', ['N', 3, 'H', 'W']), 3, WIDTH, 3));
  let y = g.relu('a.relu1', conv('a.conv1', x, WIDTH, WIDTH, 1));
  y = g.relu6('a.relu2', conv('a.conv2', y, WIDTH, WIDTH, 3));
  x = g.relu('a.out', g.add('a.sum', conv('a.conv3', y, WIDTH, WIDTH, 1), x));
  y = g.silu('b.relu1', conv('b.conv1', x, WIDTH, WIDTH, 3, 2));
  y = conv('b.conv2', y, WIDTH, 2 * WIDTH, 3);
  x = g.relu('b.out', g.add('b.sum', y, conv('b.shortcut', x, WIDTH, 2 * WIDTH, 1, 2)));
  x = g.flatten('flat', g.globalAveragePool('pool', x));
  return g.build([g.linear('fc', x, { in: 2 * WIDTH, out: CLASSES })]);
}

function noise(count: number): Float32Array {
  let state = 9;
  return Float32Array.from(
    { length: count },
    () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 31 - 1,
  );
}

const pixels = noise(PICTURES * 3 * SIDE * SIDE);

const batchOf = (count: number): Record<string, Tensor> => ({
  image: { data: pixels.subarray(0, count * 3 * SIDE * SIDE), shape: [count, 3, SIDE, SIDE] },
  target: { data: Int32Array.from({ length: count }, (_, i) => (5 * i) % CLASSES), shape: [count] },
});

async function made(threads?: number, precision: Precision = 'bf16'): Promise<Network> {
  const net = await fromGraph(network(), { outputs: CLASSES, seed: 4, precision, ...(threads && { threads }) });
  nets.push(net);
  return net;
}

/** The step's operators, and its loss, statistics and gradients, with the instructions of `isa` alone. */
async function step(net: Network, count: number, isa: Isa) {
  const inputs = batchOf(count);
  const shapes = Object.fromEntries(Object.entries(inputs).map(([name, { shape }]) => [name, shape]));
  const { trainable, batchNormModes: batchNorm } = net;
  const request = { graph: net.trainingGraph(), mode: 'gradients', inputs: shapes, trainable, batchNorm };
  const { reply: plan } = await net.session.submit('compile', { ...request, precision: 'bf16', isa });
  const command = { plan: plan.plan, inputs: Object.keys(inputs), gradients: true, seed: 1 };
  const data = Object.values(inputs).map((tensor) => tensor.data);
  const { buffers } = await net.session.submit('run', command, data);
  return {
    ops: (plan.launches as { op: string }[]).map(({ op }) => op),
    values: Float32Array.from(buffers.flatMap((buffer) => [...new Float32Array(buffer)])),
  };
}

const valuesOf = (tensors: Record<string, Tensor>) =>
  Float32Array.from(Object.values(tensors).flatMap(({ data }) => [...(data as Float32Array)]));

function distance(a: Float32Array, b: Float32Array): number {
  let [difference, norm] = [0, 0];
  a.forEach((value, i) => {
    difference += (value - b[i]!) ** 2;
    norm += b[i]! ** 2;
  });
  return Math.sqrt(difference / norm);
}

const best = coreInfo().isa;
const sets: Isa[] = ['scalar', 'avx2', 'avx512', 'amx'];
const usable = sets.slice(1, sets.indexOf(best) + 1);

describe('a step with maps larger than the cache', () => {
  it('is taken apart, one with smaller maps is not', async () => {
    const net = await made();
    const parts = (ops: string[]) => ops.filter((op) => /_(sums|join|apply|statistics)$/.test(op));
    const large = parts((await step(net, PICTURES, best)).ops);
    for (const op of ['batch_norm_sums', 'batch_norm_backward_sums', 'conv2d_backward_weights_sums'])
      expect(large.filter((name) => name === op).length, op).toBeGreaterThan(2);
    expect(parts((await step(net, PICTURES - 1, best)).ops)).toEqual([]);
  });

  it('gives the same bits with any number of threads, more than pictures too', async () => {
    const results = [];
    for (const threads of [1, 2, 3, PICTURES + 1]) {
      const { loss, gradients } = await (await made(threads)).gradients(batchOf(PICTURES), { seed: 1 });
      results.push({ loss, names: Object.keys(gradients), values: valuesOf(gradients) });
    }
    expect(results[0]!.names.length).toBeGreaterThan(20);
    expect(results[0]!.values.every(Number.isFinite)).toBe(true);
    for (const other of results.slice(1)) expect(other).toEqual(results[0]);
  });

  it(`gives the same bits on ${usable.join(', ') || 'one instruction set'}`, async () => {
    const net = await made();
    const wanted = (await step(net, PICTURES, best)).values;
    expect(wanted.length).toBeGreaterThan(1000);
    for (const isa of usable) expect((await step(net, PICTURES, isa)).values, isa).toEqual(wanted);
  });

  it('is as near to float32 as a step with smaller maps', async () => {
    const [net, reference] = [await made(), await made(1, 'fp32')];
    const far = async (count: number) => {
      const [got, exact] = [await net.gradients(batchOf(count)), await reference.gradients(batchOf(count))];
      expect(Math.abs(got.loss / exact.loss - 1)).toBeLessThan(0.02);
      return distance(valuesOf(got.gradients), valuesOf(exact.gradients));
    };
    const [small, large] = [await far(PICTURES - 1), await far(PICTURES)];
    expect(small).toBeGreaterThan(0);
    expect(large).toBeLessThan(1.3 * small);
  });

  it('moves the running statistics as float32 does', async () => {
    const moved = async (precision: Precision) => {
      const net = await made(2, precision);
      await net.step(batchOf(PICTURES));
      const running = net.parameters().flatMap(({ name }) => (/running_(mean|var)$/.test(name) ? [name] : []));
      return Promise.all(running.map(async (name) => [name, await net.tensor(name)] as const));
    };
    const [got, wanted] = [await moved('bf16'), await moved('fp32')];
    expect(got.length).toBeGreaterThan(10);
    got.forEach(([name, { data }], i) => {
      expect(distance(data as Float32Array, wanted[i]![1].data as Float32Array), name).toBeLessThan(0.01);
    });
  });
});
