/**
 * ONNX files: a protobuf message `ModelProto` with a graph of nodes and named tensors. Only the description and small
 * constants are read; the bytes of weights stay in the file, or in the files beside it that hold external data.
 * Source: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3 (numbers of fields) and docs/IR.md.
 */
import type { RangeFile } from './file.js';
import { importOnnx } from './onnx-import.js';
import type { OnnxAttribute, OnnxConstant, OnnxInput, OnnxModel, OnnxNode } from './onnx-model.js';
import { readTensor } from './onnx-tensor.js';
import { ProtoFile } from './protobuf.js';
import type { Field } from './protobuf.js';
import type { Checkpoint, OpenOptions, TensorEntry } from './types.js';

/** Numbers of one attribute. */
const MAX_NUMBERS = 1 << 20;
/** Ten times the nodes of the largest classifiers that exporters write. */
const MAX_NODES = 20_000;

/** `ir_version` comes first, then a field that ModelProto has; safetensors' length has zeros where names stand here. */
export function isOnnx(head: Buffer): boolean {
  if (head.length < 8 || head[0] !== 0x08 || head[1]! < 1 || head[1]! > 63) return false;
  return [0x12, 0x1a, 0x22, 0x28, 0x32, 0x3a, 0x42, 0x72].includes(head[2]!) && head.readUInt32LE(4) !== 0;
}

/**
 * Throws ERR_ONNX for a damaged file, ERR_ONNX_EXTERNAL for external data that is too short, ERR_PATH_OUTSIDE for such
 * outside of the model's folder, ERR_FILE_NOT_FOUND, ERR_FILE_TRUNCATED. Operators are not looked at until `network` is
 * called (ERR_ONNX_OPERATOR, ERR_INPUT_SIZE).
 */
export async function readOnnx(file: RangeFile, { inputSize }: OpenOptions = {}): Promise<Checkpoint> {
  const model = await readModel(new ProtoFile(file, 'ERR_ONNX'));
  const tensors = [...model.constants].map(([name, { entry }]): [string, TensorEntry] => [name, entry]);
  return {
    path: file.path,
    format: 'onnx',
    tensors: new Map(tensors),
    metadata: model.metadata,
    aliases: new Map(),
    nodes: model.nodes.map(({ name, op, inputs, outputs }) => ({ name, op, inputs, outputs })),
    network: () => importOnnx(model, inputSize),
  };
}

async function readModel(proto: ProtoFile): Promise<OnnxModel> {
  const model: OnnxModel = {
    path: proto.file.path,
    opset: 0,
    nodes: [],
    constants: new Map(),
    inputs: [],
    outputs: [],
    metadata: {},
  };
  const top = await proto.fields(0, proto.file.size);
  for (const field of top.filter(({ number }) => number === 14)) await readMetadata(proto, field, model);
  for (const field of top.filter(({ number }) => number === 8)) await readOpset(proto, field, model);
  const graphs = top.filter(({ number, wire }) => number === 7 && wire === 2);
  if (graphs.length !== 1) throw proto.fail('one graph', 'model', graphs.length);
  await readGraph(proto, graphs[0]!, model);
  return model;
}

const within = (proto: ProtoFile, field: Field): Promise<Field[]> => {
  if (field.wire !== 2) throw proto.fail('a message', `field ${field.number}`, `wire type ${field.wire}`);
  return proto.fields(field.start, field.end);
};

async function readMetadata(proto: ProtoFile, field: Field, model: OnnxModel): Promise<void> {
  const [key, value] = await keyAndValue(proto, field);
  model.metadata[key] = value;
}

/** StringStringEntryProto: key 1, value 2. */
async function keyAndValue(proto: ProtoFile, field: Field): Promise<[string, string]> {
  let [key, value] = ['', ''];
  for (const part of await within(proto, field)) {
    if (part.number === 1) key = await proto.string(part);
    if (part.number === 2) value = (await proto.bytes(part, 1 << 24, 'metadata')).toString('utf8');
  }
  return [key, value];
}

/** OperatorSetIdProto: domain 1, version 2. */
async function readOpset(proto: ProtoFile, field: Field, model: OnnxModel): Promise<void> {
  let [domain, version] = ['', 0];
  for (const part of await within(proto, field)) {
    if (part.number === 1) domain = await proto.string(part);
    if (part.number === 2) version = part.value;
  }
  if (domain === '' || domain === 'ai.onnx') model.opset = version;
}

/** GraphProto: node 1, initializer 5, input 11, output 12, sparse_initializer 15. */
async function readGraph(proto: ProtoFile, graph: Field, model: OnnxModel): Promise<void> {
  for (const field of await within(proto, graph)) {
    if (field.number === 1) await readNode(proto, field, model);
    else if (field.number === 5) addConstant(model, await readTensor(proto, field, keyAndValue));
    else if (field.number === 11) model.inputs.push(await readInput(proto, field));
    else if (field.number === 12) model.outputs.push((await readInput(proto, field)).name);
    else if (field.number === 15) throw proto.fail('dense initializers', 'graph', 'a sparse one');
  }
}

function addConstant(model: OnnxModel, constant: OnnxConstant): void {
  model.constants.set(constant.entry.name, constant);
}

/** NodeProto: input 1, output 2, name 3, op_type 4, attribute 5, domain 7. */
async function readNode(proto: ProtoFile, field: Field, model: OnnxModel): Promise<void> {
  if (model.nodes.length >= MAX_NODES) throw proto.fail(`at most ${MAX_NODES} nodes`, 'graph', 'more');
  const node: OnnxNode = { name: '', op: '', domain: '', inputs: [], outputs: [], attributes: new Map() };
  const attributes: Field[] = [];
  for (const part of await within(proto, field)) {
    if (part.number === 1) node.inputs.push(await proto.string(part));
    else if (part.number === 2) node.outputs.push(await proto.string(part));
    else if (part.number === 3) node.name = await proto.string(part);
    else if (part.number === 4) node.op = await proto.string(part);
    else if (part.number === 5) attributes.push(part);
    else if (part.number === 7) node.domain = await proto.string(part);
  }
  for (const attribute of attributes) await readAttribute(proto, attribute, node);
  const value = node.attributes.get('value')?.tensor;
  if (node.op !== 'Constant' || node.outputs.length !== 1) return void model.nodes.push(node);
  const constant = value ?? numbersOf(node);
  if (!constant) return void model.nodes.push(node);
  const name = node.outputs[0]!;
  addConstant(model, { ...constant, entry: { ...constant.entry, name } });
}

/** `value_float`, `value_ints` and the like of a Constant node. */
function numbersOf({ attributes }: OnnxNode): OnnxConstant | undefined {
  const floats = attributes.get('value_float')?.float ?? attributes.get('value_floats')?.floats;
  const ints = attributes.get('value_int')?.int ?? attributes.get('value_ints')?.ints;
  const given = floats ?? ints;
  if (given === undefined) return undefined;
  const numbers = typeof given === 'number' ? [given] : given;
  const shape = typeof given === 'number' ? [] : [given.length];
  const source =
    floats === undefined ? BigInt64Array.from(numbers, (n) => BigInt(Math.trunc(n))) : Float32Array.from(numbers);
  const dtype = floats === undefined ? 'I64' : 'F32';
  return { entry: { name: '', dtype, shape, source: new Uint8Array(source.buffer) }, numbers };
}

/** AttributeProto: name 1, f 2, i 3, s 4, t 5, floats 7, ints 8. Subgraphs are left alone: no operator of ours has one. */
async function readAttribute(proto: ProtoFile, field: Field, node: OnnxNode): Promise<void> {
  const attribute: OnnxAttribute = {};
  let name = '';
  for (const part of await within(proto, field)) {
    if (part.number === 1) name = await proto.string(part);
    else if (part.number === 2) attribute.float = await proto.float(part);
    else if (part.number === 3) attribute.int = part.value;
    else if (part.number === 4 && part.end - part.start < 1 << 20)
      attribute.string = await proto.string(part, 'attribute');
    else if (part.number === 5) attribute.tensor = await readTensor(proto, part, keyAndValue);
    else if (part.number === 7) (attribute.floats ??= []).push(...(await proto.floats(part, MAX_NUMBERS, 'attribute')));
    else if (part.number === 8)
      for (const n of await proto.integers(part, MAX_NUMBERS, 'attribute')) (attribute.ints ??= []).push(n);
  }
  node.attributes.set(name, attribute);
}

/** ValueInfoProto: name 1, type 2 → tensor_type 1 → elem_type 1, shape 2 → dim 1 → dim_value 1, dim_param 2. */
async function readInput(proto: ProtoFile, field: Field): Promise<OnnxInput> {
  const parts = await within(proto, field);
  const named = parts.find(({ number }) => number === 1);
  const input: OnnxInput = { name: named ? await proto.string(named) : '', type: 0, shape: null };
  for (const type of parts.filter(({ number }) => number === 2)) {
    for (const tensor of (await within(proto, type)).filter(({ number }) => number === 1)) {
      for (const part of await within(proto, tensor)) {
        if (part.number === 1) input.type = part.value;
        if (part.number === 2) input.shape = await readShape(proto, part);
      }
    }
  }
  return input;
}

async function readShape(proto: ProtoFile, field: Field): Promise<(number | string)[]> {
  const shape: (number | string)[] = [];
  for (const dim of await within(proto, field)) {
    if (dim.number !== 1) continue;
    let size: number | string = '';
    for (const part of await within(proto, dim)) {
      if (part.number === 1) size = part.value;
      if (part.number === 2) size = await proto.string(part);
    }
    shape.push(size);
  }
  return shape;
}
