/**
 * ShuffleNetV2 as the body of one detector in two formats: PyTorch's file as it was trained, and ONNX with its batch
 * norms folded and its shuffles written out.
 */
import { describe, expect, it } from 'vitest';
import { GraphBuilder, load } from '../../src/index.js';
import type { Tensor } from '../../src/index.js';
import { sharedPath } from '../shared.js';

const onnx = sharedPath('weights', 'shufflenetv2-fastestdet', 'example', 'onnx-runtime', 'FastestDet.onnx');
const torch = sharedPath('weights', 'shufflenetv2-fastestdet', 'weights', 'weight_AP05_0.253207_280-epoch.pth');

const g = new GraphBuilder();

interface Sizes {
  in: number;
  out: number;
  kernel?: number;
  stride?: number;
  groups?: number;
}

/** Convolution `name.<i>` and batch norm after it. */
function normed(name: string, i: number, x: string, { kernel = 1, ...sizes }: Sizes): string {
  const conv = g.conv2d(`${name}.${i}`, x, { ...sizes, kernel, padding: kernel >> 1, bias: false });
  return g.batchNorm(`${name}.${i + 1}`, conv, sizes.out);
}

function main(name: string, x: string, inputs: number, width: number, stride: number): string {
  const wide = g.relu(`${name}.2`, normed(name, 0, x, { in: inputs, out: width }));
  const deep = normed(name, 3, wide, { in: width, out: width, kernel: 3, stride, groups: width });
  return g.relu(`${name}.7`, normed(name, 5, deep, { in: width, out: width }));
}

/** A stage halves the picture, then goes on with every second channel in turn. */
function stage(name: string, x: string, inputs: number, width: number, repeats: number): string {
  const beside = `${name}.0.branch_proj`;
  const deep = normed(beside, 0, x, { in: inputs, out: inputs, kernel: 3, stride: 2, groups: inputs });
  const projected = g.relu(`${beside}.4`, normed(beside, 2, deep, { in: inputs, out: width }));
  let y = g.concat(`${name}.0`, [projected, main(`${name}.0.branch_main`, x, inputs, width, 2)]);
  for (let i = 1; i < repeats; i++) {
    const even = g.slice(`${name}.${i}.even`, y, { axis: 1, start: 0, step: 2 });
    const odd = g.slice(`${name}.${i}.odd`, y, { axis: 1, start: 1, step: 2 });
    y = g.concat(`${name}.${i}`, [even, main(`${name}.${i}.branch_main`, odd, width, width, 1)]);
  }
  return y;
}

function body(): ReturnType<GraphBuilder['build']> {
  const image = g.input('image', 'f32', ['N', 3, 'H', 'W']);
  const first = normed('backbone.first_conv', 0, image, { in: 3, out: 24, kernel: 3, stride: 2 });
  const pooled = g.maxPool('pool', g.relu('first', first), { kernel: 3, stride: 2, padding: 1 });
  const stage2 = stage('backbone.stage2', pooled, 24, 24, 4);
  const stage3 = stage('backbone.stage3', stage2, 48, 48, 8);
  return g.build([stage2, stage3, stage('backbone.stage4', stage3, 96, 96, 4)]);
}

function difference(a: Tensor, b: Tensor): number {
  expect(a.shape).toEqual(b.shape);
  const largest = Math.max(...Array.from(b.data as Float32Array, Math.abs));
  return Math.max(...Array.from(a.data as Float32Array, (v, i) => Math.abs(v - (b.data[i] as number)))) / largest;
}

describe.skipIf(!onnx || !torch)('ShuffleNetV2 in two formats', () => {
  it('gives the same features', async () => {
    using fromOnnx = await load(onnx!);
    using fromTorch = await load(torch!, { architecture: body(), drop: ['SPP', 'detect_head'] });
    const count = 3 * 352 * 352;
    const x = {
      data: Float32Array.from({ length: count }, (_, i) => 0.5 + 0.5 * Math.sin(i * 0.37)),
      shape: [1, 3, 352, 352],
    };
    const nodes = fromOnnx.graph.nodes;
    // The detector joins its three scales, the first pooled, the third enlarged: back to what was joined in the body.
    const joined = nodes.find(({ op, inputs }) => op === 'concat' && inputs.length === 3)!;
    const inBody = (value: string): string => {
      const { name, op, inputs } = nodes.find((node) => node.name === value)!;
      return op === 'concat' && new Set(inputs).size === 2 ? name : inBody(inputs[0]!);
    };
    const names = joined.inputs.map((value) => inBody(value!));
    const wanted = await fromOnnx.forward(x, { outputs: names });
    const got = Object.values(await fromTorch.forward(x));
    expect(got.map(({ shape }) => shape)).toEqual([
      [1, 48, 44, 44],
      [1, 96, 22, 22],
      [1, 192, 11, 11],
    ]);
    names.forEach((name, i) => expect(difference(got[i]!, wanted[name]!)).toBeLessThan(1e-4));
  });
});
