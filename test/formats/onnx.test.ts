import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openCheckpoint } from '../../src/formats/checkpoint.js';
import { load } from '../../src/network/load.js';
import { bytesOf, folder, writeModel } from './onnx-models.js';
import type { Attribute, Model, ModelTensor } from './onnx-models.js';

const x = { data: Float32Array.from({ length: 64 }, (_, i) => Math.sin(i * 1.7) * 4), shape: [2, 2, 4, 4] };

async function run(model: Model, file = 'model.onnx'): Promise<{ data: number[]; shape: number[] }> {
  using net = await load(writeModel(file, model));
  const [y] = Object.values(await net.forward(x));
  return { data: Array.from(y!.data as Float32Array), shape: y!.shape };
}

const whole = (name: string, ...values: number[]): ModelTensor => ({
  name,
  shape: [values.length],
  values,
  type: 'i64',
});
const number = (name: string, value: number): ModelTensor => ({ name, shape: [], values: [value] });

/** One node on x, with constants. */
const one = (
  op: string,
  attributes: Record<string, Attribute> = {},
  tensors: ModelTensor[] = [],
  opset = 13,
): Model => ({
  opset,
  nodes: [{ op, name: 'node', inputs: ['x', ...tensors.map(({ name }) => name)], outputs: ['y'], attributes }],
  tensors,
  output: 'y',
});

const clip = (v: number, a: number, b: number): number => Math.min(b, Math.max(a, v));

describe('elementwise operators', () => {
  it.each<[string, Model, (v: number) => number]>([
    ['Relu', one('Relu'), (v) => Math.max(0, v)],
    ['Clip by attributes', one('Clip', { min: { float: 0 }, max: { float: 6 } }, [], 7), (v) => clip(v, 0, 6)],
    ['Clip by operands', one('Clip', {}, [number('a', -1), number('b', 2)]), (v) => clip(v, -1, 2)],
    ['Clip from above', one('Clip', { max: { float: 1 } }, [], 10), (v) => Math.min(1, v)],
    ['LeakyRelu', one('LeakyRelu', { alpha: { float: 0.5 } }), (v) => (v < 0 ? v / 2 : v)],
    ['HardSigmoid', one('HardSigmoid'), (v) => clip(0.2 * v + 0.5, 0, 1)],
    ['HardSwish', one('HardSwish', {}, [], 14), (v) => (v * clip(v + 3, 0, 6)) / 6],
    ['Sub', one('Sub', {}, [number('a', 3)]), (v) => v - 3],
    ['Div', one('Div', {}, [number('a', 4)]), (v) => v / 4],
    ['Pow', one('Pow', {}, [number('a', 2)]), (v) => v * v],
    ['Sigmoid', one('Sigmoid'), (v) => 1 / (1 + Math.exp(-v))],
  ])('%s', async (_name, model, expected) => {
    const y = await run(model);
    expect(y.shape).toEqual([2, 2, 4, 4]);
    y.data.forEach((value, i) => expect(value).toBeCloseTo(expected(x.data[i]!), 5));
  });

  it('finds a gelu in its Erf', async () => {
    const y = await run({
      nodes: [
        { op: 'Div', inputs: ['x', 'root'], outputs: ['a'] },
        { op: 'Erf', inputs: ['a'], outputs: ['b'] },
        { op: 'Add', inputs: ['b', 'one'], outputs: ['c'] },
        { op: 'Mul', inputs: ['x', 'c'], outputs: ['d'] },
        { op: 'Mul', inputs: ['d', 'half'], outputs: ['y'] },
      ],
      tensors: [number('root', Math.SQRT2), number('one', 1), number('half', 0.5)],
      output: 'y',
    });
    expect(Math.min(...y.data)).toBeCloseTo(-0.17, 2);
    expect(Math.max(...y.data)).toBeCloseTo(Math.max(...x.data), 2);
  });
});

describe('layer norm in single steps', () => {
  const mean = (input: string, output: string) => ({
    op: 'ReduceMean',
    inputs: [input],
    outputs: [output],
    attributes: { axes: [-1] },
  });
  /** As PyTorch writes it at opset 14; `square` is the node between `c` and `s`. */
  const steps = (square: Model['nodes'][number], eps = 'eps'): Model['nodes'] => [
    mean('x', 'm'),
    { op: 'Sub', inputs: ['x', 'm'], outputs: ['c'] },
    square,
    mean('s', 'v'),
    { op: 'Add', inputs: ['v', eps], outputs: ['e'] },
    { op: 'Sqrt', name: 'root', inputs: ['e'], outputs: ['r'] },
    { op: 'Div', inputs: ['c', 'r'], outputs: ['n'] },
  ];
  const tensors = [number('eps', 0.01), number('two', 2), { name: 'norm.weight', shape: [4], values: [1, 2, 3, 4] }];
  const bias = { name: 'norm.bias', shape: [4], values: [0.5, 0, -1, 2] };
  const pow = { op: 'Pow', inputs: ['c', 'two'], outputs: ['s'] };
  const wanted = (weight: number[], bias: number[]): number[] =>
    Array.from({ length: 16 }, (_, row) => [...x.data.subarray(row * 4, row * 4 + 4)]).flatMap((row) => {
      const centre = row.reduce((a, b) => a + b) / 4;
      const variance = row.reduce((sum, v) => sum + (v - centre) ** 2, 0) / 4;
      return row.map((v, i) => ((v - centre) / Math.sqrt(variance + 0.01)) * weight[i]! + bias[i]!);
    });
  const expectClose = (found: number[], numbers: number[]): void =>
    numbers.forEach((value, i) => expect(found[i]).toBeCloseTo(value, 4));

  it('is one operator with the names of its weights', async () => {
    const nodes: Model['nodes'] = [
      ...steps(pow),
      { op: 'Mul', inputs: ['n', 'norm.weight'], outputs: ['p'] },
      { op: 'Add', inputs: ['p', 'norm.bias'], outputs: ['y'] },
    ];
    const model: Model = { nodes, tensors: [...tensors, bias], output: 'y' };
    using net = await load(writeModel('norm.onnx', model));
    expect(net.graph.nodes.map(({ name, op }) => [name, op])).toEqual([['norm', 'layer_norm']]);
    expect(net.graph.parameters.map(({ name }) => name)).toEqual(['norm.weight', 'norm.bias']);
    expectClose((await run(model)).data, wanted([1, 2, 3, 4], [0.5, 0, -1, 2]));
  });

  it('is found without weights, and by a product in place of the power', async () => {
    const nodes = steps({ op: 'Mul', inputs: ['c', 'c'], outputs: ['s'] });
    expectClose((await run({ nodes, tensors, output: 'n' })).data, wanted([1, 1, 1, 1], [0, 0, 0, 0]));
    const weighted = [...nodes, { op: 'Mul', inputs: ['n', 'norm.weight'], outputs: ['y'] }];
    expectClose((await run({ nodes: weighted, tensors, output: 'y' })).data, wanted([1, 2, 3, 4], [0, 0, 0, 0]));
  });

  it.each([
    ['another power', steps({ op: 'Pow', inputs: ['c', 'three'], outputs: ['s'] })],
    ['another divisor', [...steps(pow).slice(0, -1), { op: 'Div', inputs: ['x', 'r'], outputs: ['n'] }]],
    ['another mean', steps(pow).map((node, i) => (i === 3 ? { ...node, attributes: { axes: [2] } } : node))],
    ['a root alone', [{ op: 'Sqrt', name: 'root', inputs: ['x'], outputs: ['n'] }]],
  ])('is not read into %s', async (_what, nodes) => {
    const model: Model = { nodes, tensors: [...tensors, number('three', 3)], output: 'n' };
    await expect(load(writeModel('no-norm.onnx', model))).rejects.toMatchObject({ code: 'ERR_ONNX_OPERATOR' });
  });
});

describe('batch norm', () => {
  const norm = (outputs: string[], opset: number, training_mode?: number): Model => ({
    opset,
    nodes: [
      {
        op: 'BatchNormalization',
        inputs: ['x', 's', 's', 's', 's'],
        outputs,
        attributes: { epsilon: { float: 1e-5 }, ...(training_mode !== undefined && { training_mode }) },
      },
    ],
    tensors: [{ name: 's', shape: [2], values: [1, 1] }],
    output: 'y',
  });

  it.each([
    ['by the statistics of the batch among its outputs', norm(['y', 'mean', 'var', '', ''], 11)],
    ['by its attribute', norm(['y', 'mean', 'var'], 15, 1)],
  ])('of a network exported for training is told %s', async (_how, model) => {
    const wanted = { code: 'ERR_ONNX_OPERATOR', message: expect.stringMatching(/training mode/) as string };
    await expect(load(writeModel('training.onnx', model))).rejects.toMatchObject(wanted);
  });

  it('for inference normalises by what it is given', async () => {
    const { data } = await run(norm(['y'], 11));
    data.forEach((value, i) => expect(value).toBeCloseTo((x.data[i]! - 1) / Math.sqrt(1 + 1e-5) + 1, 4));
  });
});

describe('shapes', () => {
  it('are computed from the shape of the input and leave nothing behind', async () => {
    const file = writeModel('fold.onnx', {
      nodes: [
        { op: 'Shape', inputs: ['x'], outputs: ['s'] },
        { op: 'Constant', inputs: [], outputs: ['zero'], value: { name: '', shape: [], values: [0], type: 'i64' } },
        { op: 'Gather', inputs: ['s', 'zero'], outputs: ['n'], attributes: { axis: 0 } },
        { op: 'Unsqueeze', inputs: ['n', 'axes'], outputs: ['n1'] },
        { op: 'Concat', inputs: ['n1', 'rest'], outputs: ['shape'], attributes: { axis: 0 } },
        { op: 'Reshape', inputs: ['x', 'shape'], outputs: ['y'] },
      ],
      tensors: [whole('axes', 0), { ...whole('rest', -1), stored: 'packed' }],
      output: 'y',
    });
    using net = await load(file);
    expect(net.graph.nodes.map(({ op }) => op)).toEqual(['flatten']);
    expect(Object.values(await net.forward(x))[0]!.shape).toEqual([2, 32]);
  });

  it('are broadcast where two of them meet', async () => {
    const y = await run({
      nodes: [
        { op: 'Mul', inputs: ['rows', 'columns'], outputs: ['table'] },
        { op: 'Add', inputs: ['x', 'table'], outputs: ['y'] },
      ],
      tensors: [
        { name: 'rows', shape: [4, 1], values: [1, 2, 3, 4] },
        { name: 'columns', shape: [1, 4], values: [10, 20, 30, 40] },
      ],
      output: 'y',
    });
    y.data.forEach((v, i) => expect(v).toBeCloseTo(x.data[i]! + 10 * (1 + (Math.floor(i / 4) % 4)) * (1 + (i % 4)), 4));
  });

  it('made for one picture take any batch', async () => {
    const y = await run({ ...one('Reshape', {}, [whole('s', 1, -1)]), input: [1, 2, 4, 4] });
    expect(y.shape).toEqual([2, 32]);
  });

  it.each<[string, Model, number[]]>([
    ['ReduceMean', one('ReduceMean', { axes: [2, 3], keepdims: 0 }), [2, 2]],
    [
      'Squeeze',
      {
        ...one('GlobalMaxPool'),
        nodes: [
          { op: 'GlobalMaxPool', inputs: ['x'], outputs: ['p'] },
          { op: 'Squeeze', inputs: ['p', 'a'], outputs: ['y'] },
        ],
        tensors: [whole('a', 2, 3)],
      },
      [2, 2],
    ],
    ['Slice', one('Slice', {}, [whole('a', 1), whole('b', 2 ** 52), whole('c', 3), whole('d', 2)]), [2, 2, 4, 2]],
    ['Pad', one('Pad', {}, [whole('a', 0, 0, 1, 0, 0, 0, 0, 2)]), [2, 2, 5, 6]],
    ['Gather', one('Gather', { axis: 1 }, [{ name: 'a', shape: [], values: [1], type: 'i64' }]), [2, 4, 4]],
    ['Transpose', one('Transpose', { perm: [0, 2, 3, 1] }), [2, 4, 4, 2]],
    [
      'Resize',
      one('Resize', { mode: 'nearest', coordinate_transformation_mode: 'asymmetric', nearest_mode: 'floor' }, [
        { name: 'roi', shape: [0], values: [] },
        { name: 's', shape: [4], values: [1, 1, 2, 3] },
      ]),
      [2, 2, 8, 12],
    ],
    ['MaxPool, same', one('MaxPool', { kernel_shape: [3, 3], strides: [2, 2], auto_pad: 'SAME_UPPER' }), [2, 2, 2, 2]],
    ['AveragePool', one('AveragePool', { kernel_shape: [2, 2], strides: [2, 2], pads: [1, 1, 1, 1] }), [2, 2, 3, 3]],
  ])('%s', async (_name, model, shape) => {
    expect((await run(model)).shape).toEqual(shape);
  });

  it('Resize repeats pixels', async () => {
    const scales = { name: 's', shape: [4], values: [1, 1, 2, 2] };
    const y = await run(one('Upsample', {}, [scales], 9));
    expect(y.data.slice(0, 4)).toEqual([x.data[0], x.data[0], x.data[1], x.data[1]]);
    expect(y.data.slice(8, 12)).toEqual(y.data.slice(0, 4));
  });
});

describe('layers', () => {
  const weight: ModelTensor = { name: 'body.conv.weight', shape: [3, 2, 1, 1], values: [1, 2, 3, 4, 5, 6] };
  const nodes = [
    { op: 'Conv', name: '/body/body.conv/Conv', inputs: ['x', weight.name], outputs: ['c'] },
    { op: 'GlobalAveragePool', inputs: ['c'], outputs: ['p'] },
    { op: 'Flatten', inputs: ['p'], outputs: ['f'] },
    { op: 'MatMul', name: '/fc/MatMul', inputs: ['f', 'onnx::MatMul_7'], outputs: ['m'] },
    { op: 'Add', inputs: ['fc.bias', 'm'], outputs: ['y'] },
    { op: 'Softmax', inputs: ['y'], outputs: ['p2'], attributes: { axis: 1 } },
  ];
  const matrix = { name: 'onnx::MatMul_7', shape: [3, 2], values: [1, 0, 0, 1, 1, 1] };
  const model: Model = {
    nodes,
    tensors: [weight, matrix, { name: 'fc.bias', shape: [2], values: [10, 20] }],
    output: 'p2',
  };

  it('bear the names of their weights; the classifier is found, and a new head goes in its place', async () => {
    using net = await load(writeModel('layers.onnx', model));
    expect(net.graph.nodes.map(({ name, op }) => [name, op])).toEqual([
      ['body.conv', 'conv2d'],
      ['p', 'global_average_pool'],
      ['f', 'flatten'],
      ['fc', 'linear'],
    ]);
    expect(net.parameters().map(({ name, shape }) => [name, shape])).toEqual([
      ['body.conv.weight', [3, 2, 1, 1]],
      ['fc.weight', [2, 3]],
      ['fc.bias', [2]],
    ]);
    expect(Array.from((await net.tensor('fc.weight')).data as Float32Array)).toEqual([1, 0, 1, 0, 1, 1]);
    expect(net.head).toMatchObject({ classifier: 'fc', outputs: 2 });
    expect(net.loadReport.notes.join()).toMatch(/Softmax.*classifier found: 'fc'/);
    net.freeze();
    expect(net.replaceHead(['a', 'b', 'c']).initialised.map(({ name }) => name)).toEqual(['fc.weight', 'fc.bias']);
    expect(Object.values(await net.forward(x))[0]!.shape).toEqual([2, 3]);
  });

  it('gives a body without a classifier a head on its output', async () => {
    const body: Model = {
      nodes: [
        { op: 'Conv', name: 'conv', inputs: ['x', weight.name], outputs: ['c'] },
        { op: 'HardSwish', name: 'act', inputs: ['c'], outputs: ['r'] },
      ],
      tensors: [weight],
      output: 'r',
    };
    using net = await load(writeModel('body.onnx', body));
    expect(net.head).toMatchObject({ classifier: '', boundary: 'act', outputs: 0 });
    net.replaceHead(['a', 'b']);
    expect(Object.values(await net.forward(x))[0]!.shape).toEqual([2, 2]);
  });

  it('reads external data in the folder, and nothing outside of it', async () => {
    const home = join(folder, 'home');
    mkdirSync(join(home, 'data'), { recursive: true });
    writeFileSync(join(folder, 'outside.bin'), Buffer.alloc(100));
    symlinkSync(join(folder, 'outside.bin'), join(home, 'link.bin'));
    writeFileSync(join(home, 'data', 'w.bin'), Buffer.concat([Buffer.alloc(8), bytesOf(weight)]));
    const at = (location: string, offset = 8): Model => ({
      ...one('Conv', {}, [{ ...weight, stored: { location, offset } }]),
    });
    using net = await load(writeModel('home/ok.onnx', at('data/w.bin')));
    expect((await net.tensor('body.conv.weight')).data[5]).toBe(6);
    const wrong = {
      ERR_PATH_OUTSIDE: ['../outside.bin', join(folder, 'outside.bin'), 'link.bin', ''],
      ERR_FILE_NOT_FOUND: ['none.bin'],
      ERR_ONNX_EXTERNAL: ['data'],
    };
    for (const [code, locations] of Object.entries(wrong))
      for (const bad of locations)
        await expect(openCheckpoint(writeModel('home/bad.onnx', at(bad)))).rejects.toMatchObject({ code });
    await expect(openCheckpoint(writeModel('home/bad.onnx', at('data/w.bin', 12)))).rejects.toMatchObject({
      code: 'ERR_ONNX_EXTERNAL',
    });
  });
});

describe('what cannot be read', () => {
  it('names operator, node and opset, and still lists nodes and tensors', async () => {
    const file = writeModel('lacking.onnx', one('GridSample', {}, [number('a', 1)], 16));
    await expect(load(file)).rejects.toMatchObject({
      code: 'ERR_ONNX_OPERATOR',
      message: expect.stringMatching(/node 'node'.*GridSample \(opset 16\)/),
    });
    const { nodes, tensors } = await openCheckpoint(file);
    expect(nodes).toMatchObject([{ op: 'GridSample', name: 'node' }]);
    expect([...tensors.keys()]).toEqual(['a']);
  });
});
