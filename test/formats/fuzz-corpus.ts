/** Small sound files of every format, from which damaged ones are made. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { COUNT, darknetWeights, SMALL } from './darknet-small.js';
import { unzipped } from './zip-reader.js';
import { bytesField, integerField, messageField } from '../../src/formats/protobuf.js';
import { modelBytes } from './onnx-models.js';
import type { Model } from './onnx-models.js';
import { hdf5 } from './hdf5-writer.js';
import { zip } from './zip-writer.js';
import type { ZipEntry } from './zip-writer.js';

export interface Sample {
  /** Name of the file that is damaged. */
  name: string;
  bytes: Buffer;
  /** Files that lie beside it and stay sound. */
  beside?: Record<string, Buffer>;
  /** What the archive holds: members are damaged too, and packed anew. */
  members?: ZipEntry[];
}

const floats = (count: number): Buffer =>
  Buffer.from(Float32Array.from({ length: count }, (_, i) => Math.sin(i)).buffer);

function npy(shape: string, bytes: Buffer): Buffer {
  const text = `{'descr': '<f4', 'fortran_order': True, 'shape': (${shape}), }`.padEnd(69) + '\n';
  return Buffer.concat([Buffer.from('\x93NUMPY\x01\x00\x46\x00', 'latin1'), Buffer.from(text), bytes]);
}

function archive(name: string, members: ZipEntry[]): Sample {
  return { name, bytes: zip(members), members };
}

function npz(): Sample[] {
  const array = npy('2, 3', floats(6));
  return [
    archive('a.npz', [
      { name: 'a.npy', bytes: array },
      { name: 'b.npy', bytes: array, deflate: true },
    ]),
  ];
}

function safetensors(): Sample[] {
  const header = {
    __metadata__: { format: 'pt' },
    'conv.weight': { dtype: 'F32', shape: [2, 1, 3, 3], data_offsets: [0, 72] },
    'conv.bias': { dtype: 'BF16', shape: [2], data_offsets: [72, 76] },
  };
  const text = Buffer.from(JSON.stringify(header).padEnd(256));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return [{ name: 'a.safetensors', bytes: Buffer.concat([length, text, floats(19)]) }];
}

function darknet(): Sample[] {
  const cfg = Buffer.from(SMALL.replace('[maxpool]', '[shortcut]\nfrom=-1\n\n[maxpool]'));
  const weights = darknetWeights(COUNT);
  return [
    { name: 'a.cfg', bytes: cfg, beside: { 'a.weights': weights } },
    { name: 'b.weights', bytes: weights, beside: { 'b.cfg': cfg } },
  ];
}

const layer = (class_name: string, config: object): object => ({ class_name, config });
const KERAS = layer('Sequential', {
  name: 'tiny',
  layers: [
    layer('Conv2D', {
      name: 'conv',
      batch_input_shape: [null, 4, 6, 1],
      filters: 2,
      kernel_size: [3, 3],
      padding: 'same',
    }),
    layer('BatchNormalization', { name: 'norm', axis: -1, epsilon: 0.001 }),
    layer('MaxPooling2D', { name: 'pool', pool_size: [2, 2], strides: [2, 2], padding: 'valid' }),
    layer('UpSampling2D', { name: 'up', size: [2, 2] }),
    layer('Flatten', { name: 'flat' }),
    layer('Dense', { name: 'top', units: 2, activation: 'softmax' }),
  ],
});
const SHAPES: Record<string, number[]> = {
  'conv/kernel': [3, 3, 1, 2],
  'conv/bias': [2],
  'norm/gamma': [2],
  'norm/beta': [2],
  'norm/moving_mean': [2],
  'norm/moving_variance': [2],
  'top/kernel': [48, 2],
  'top/bias': [2],
};
const count = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

function tfjs(): Sample[] {
  const of = (paths: string[], more: object): Buffer => {
    const weights = Object.entries(SHAPES).map(([name, shape]) => ({ name, shape, dtype: 'float32', ...more }));
    const modelTopology = { keras_version: '2.4.0', model_config: KERAS };
    return Buffer.from(JSON.stringify({ modelTopology, weightsManifest: [{ paths, weights }] }));
  };
  const total = Object.values(SHAPES).reduce((sum, shape) => sum + count(shape), 0);
  const beside = { 'a.bin': floats(20), 'b.bin': floats(total - 20) };
  const quantization = { dtype: 'uint8', scale: 0.1, min: -1 };
  return [
    { name: 'model.json', bytes: of(['a.bin', 'b.bin'], {}), beside },
    { name: 'quantized.json', bytes: of(['q.bin'], { quantization }), beside: { 'q.bin': Buffer.alloc(total, 9) } },
  ];
}

const arraysOf = (name: (weight: string) => string): Parameters<typeof hdf5>[0] =>
  Object.fromEntries(
    Object.entries(SHAPES).map(([weight, shape], i) => {
      const values = Array.from({ length: count(shape) }, (_, k) => 0.1 + ((i + k) % 5));
      return [name(weight), { shape, values, ...(weight === 'top/kernel' && { chunks: [16, 2] }) }];
    }),
  );

async function keras(): Promise<Sample[]> {
  const layers = ['conv', 'norm', 'top'];
  const names = (of: string): string[] =>
    Object.keys(SHAPES)
      .filter((weight) => weight.startsWith(`${of}/`))
      .map((weight) => `${weight}:0`);
  const texts = {
    '': { model_config: JSON.stringify(KERAS), keras_version: '2.4.0' },
    model_weights: { layer_names: layers },
  };
  const groups = layers.map((of) => [`model_weights/${of}`, { weight_names: names(of) }]);
  const h5 = await hdf5(
    arraysOf((weight) => `model_weights/${weight.split('/')[0]}/${weight}:0`),
    { ...texts, ...Object.fromEntries(groups) },
  );
  const variables = new Map<string, number>();
  const weights = await hdf5(
    arraysOf((weight) => {
      const of = weight.split('/')[0]!;
      variables.set(of, (variables.get(of) ?? -1) + 1);
      return `layers/${of}/vars/${variables.get(of)}`;
    }),
  );
  const members = [
    { name: 'metadata.json', bytes: Buffer.from('{"keras_version": "3.8.0"}') },
    { name: 'config.json', bytes: Buffer.from(JSON.stringify(KERAS)) },
    { name: 'model.weights.h5', bytes: weights },
  ];
  return [{ name: 'a.h5', bytes: h5 }, archive('a.keras', members)];
}

function onnx(): Sample[] {
  const whole = (name: string, ...values: number[]) => ({ name, shape: [values.length], values, type: 'i64' as const });
  const net: Model = {
    nodes: [
      {
        op: 'Conv',
        name: 'conv',
        inputs: ['x', 'w', 'b'],
        outputs: ['c'],
        attributes: { pads: [1, 1, 1, 1], group: 1 },
      },
      {
        op: 'BatchNormalization',
        inputs: ['c', 'g', 'b', 'b', 'g'],
        outputs: ['n'],
        attributes: { epsilon: { float: 1e-3 } },
      },
      {
        op: 'MaxPool',
        inputs: ['n'],
        outputs: ['m'],
        attributes: { kernel_shape: [2, 2], strides: [2, 2], auto_pad: 'SAME_UPPER' },
      },
      { op: 'Resize', inputs: ['m', '', 's'], outputs: ['r'], attributes: { mode: 'nearest' } },
      { op: 'Shape', inputs: ['r'], outputs: ['shape'] },
      { op: 'Gather', inputs: ['shape', 'first'], outputs: ['n0'], attributes: { axis: 0 } },
      { op: 'Concat', inputs: ['n0', 'rest'], outputs: ['to'], attributes: { axis: 0 } },
      { op: 'Reshape', inputs: ['r', 'to'], outputs: ['f'] },
      { op: 'Gemm', inputs: ['f', 'm2'], outputs: ['y'], attributes: { alpha: { float: 0.5 } } },
    ],
    tensors: [
      { name: 'w', shape: [3, 2, 3, 3], values: Array.from({ length: 54 }, (_, i) => i % 7) },
      { name: 'b', shape: [3], values: [1, 2, 3], stored: 'packed' },
      { name: 'g', shape: [3], values: [1, 1, 2], stored: { location: 'data.bin', offset: 4 } },
      { name: 's', shape: [4], values: [1, 1, 2, 2] },
      { name: 'm2', shape: [48, 2], values: Array.from({ length: 96 }, (_, i) => i % 5) },
      whole('first', 0),
      { ...whole('rest', -1), stored: 'packed' },
    ],
    output: 'y',
  };
  return [{ name: 'a.onnx', bytes: modelBytes(net), beside: { 'data.bin': floats(8) } }, nested()];
}

/** A subgraph in an attribute, many times over. */
function nested(): Sample {
  let graph = messageField(1, bytesField(4, 'Relu'));
  for (let i = 0; i < 60; i++)
    graph = messageField(1, bytesField(4, 'If'), messageField(5, bytesField(1, 'then'), graph));
  const opset = messageField(8, bytesField(1, ''), integerField(2, 13));
  return {
    name: 'nested.onnx',
    bytes: Buffer.concat([integerField(1, 8), bytesField(2, 'x'), opset, messageField(7, graph)]),
  };
}

/** Of the files that fixtures.py writes, small ones of both containers, sound and forbidden. */
async function torch(folder: string): Promise<Sample[]> {
  const names = ['plain', 'views', 'tied', 'deep', 'nested'].flatMap((n) => [`${n}.zip.pth`, `${n}.legacy.pth`]);
  const files = [...names, 'evil.pth', 'evil.legacy.pth', 'protocol4.pth', 'protocol4.legacy.pth'];
  return Promise.all(
    files.map(async (name) => {
      const bytes = readFileSync(join(folder, name));
      const members = bytes[0] === 0x50 ? await unzipped(join(folder, name)) : undefined;
      return { name, bytes, ...(members && { members }) };
    }),
  );
}

/** By format. `fixtures`: the folder that fixtures.py has written into. */
export async function corpus(fixtures: string | undefined): Promise<Record<string, Sample[]>> {
  return {
    safetensors: safetensors(),
    npz: npz(),
    darknet: darknet(),
    tfjs: tfjs(),
    keras: await keras(),
    onnx: onnx(),
    ...(fixtures !== undefined && { torch: await torch(fixtures) }),
  };
}
