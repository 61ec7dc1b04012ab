/** Small ONNX models, written field by field. */
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bytesField, floatField, integerField, messageField } from '../../src/formats/protobuf.js';

export const folder = mkdtempSync(join(tmpdir(), 'thaw-onnx-'));

export type Attribute = number | number[] | string | { float: number };

export interface ModelNode {
  op: string;
  inputs: string[];
  outputs: string[];
  name?: string;
  domain?: string;
  attributes?: Record<string, Attribute>;
  /** Attribute `value` of a Constant. */
  value?: ModelTensor;
}

export interface ModelTensor {
  name: string;
  shape: number[];
  values: number[];
  /** Default 'f32'. */
  type?: 'f32' | 'i64';
  /** How it is stored; default raw. */
  stored?: 'raw' | 'packed' | { location: string; offset: number };
}

export interface Model {
  opset?: number;
  nodes: ModelNode[];
  tensors?: ModelTensor[];
  input?: (number | string)[];
  output: string;
}

export function bytesOf({ values, type }: ModelTensor): Buffer {
  const array = type === 'i64' ? BigInt64Array.from(values, BigInt) : Float32Array.from(values);
  return Buffer.from(array.buffer);
}

function tensor(field: number, t: ModelTensor): Buffer {
  const { stored = 'raw', type = 'f32' } = t;
  const head = [
    ...t.shape.map((n) => integerField(1, n)),
    integerField(2, type === 'f32' ? 1 : 7),
    bytesField(8, t.name),
  ];
  if (stored === 'raw') return messageField(field, ...head, bytesField(9, bytesOf(t)));
  if (stored === 'packed') {
    const packed = type === 'f32' ? [bytesField(4, bytesOf(t))] : t.values.map((n) => integerField(7, n));
    return messageField(field, ...head, ...packed);
  }
  const entries = Object.entries({ location: stored.location, offset: String(stored.offset) });
  const external = entries.map(([key, value]) => messageField(13, bytesField(1, key), bytesField(2, value)));
  return messageField(field, ...head, ...external, integerField(14, 1));
}

function attribute(name: string, value: Attribute): Buffer {
  const content =
    typeof value === 'number'
      ? [integerField(3, value)]
      : typeof value === 'string'
        ? [bytesField(4, value)]
        : Array.isArray(value)
          ? value.map((n) => integerField(8, n))
          : [floatField(2, value.float)];
  return messageField(5, bytesField(1, name), ...content);
}

function node(n: ModelNode): Buffer {
  return messageField(
    1,
    ...n.inputs.map((name) => bytesField(1, name)),
    ...n.outputs.map((name) => bytesField(2, name)),
    bytesField(3, n.name ?? ''),
    bytesField(4, n.op),
    ...Object.entries(n.attributes ?? {}).map(([name, value]) => attribute(name, value)),
    ...(n.value ? [messageField(5, bytesField(1, 'value'), tensor(5, n.value))] : []),
    bytesField(7, n.domain ?? ''),
  );
}

function described(field: number, name: string, shape: (number | string)[]): Buffer {
  const dims = shape.map((n) => messageField(1, typeof n === 'number' ? integerField(1, n) : bytesField(2, n)));
  const type = messageField(2, messageField(1, integerField(1, 1), messageField(2, ...dims)));
  return messageField(field, bytesField(1, name), type);
}

export function modelBytes(model: Model): Buffer {
  const graph = [
    ...model.nodes.map(node),
    ...(model.tensors ?? []).map((t) => tensor(5, t)),
    described(11, 'x', model.input ?? ['N', 2, 4, 4]),
    described(12, model.output, []),
  ];
  const opset = messageField(8, bytesField(1, ''), integerField(2, model.opset ?? 13));
  return Buffer.concat([integerField(1, 8), bytesField(2, 'test'), opset, messageField(7, ...graph)]);
}

export function writeModel(file: string, model: Model): string {
  const path = join(folder, file);
  writeFileSync(path, modelBytes(model));
  return path;
}
