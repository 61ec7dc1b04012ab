/** Layer norm as exporters write it before opset 17: in single steps, told by its root. */
import type { Call, Computed, Known, Value } from './onnx-import.js';
import { dotted, layerOfWeight } from './onnx-names.js';
import type { OnnxNode } from './onnx-model.js';
import { axisOf } from './onnx-shape.js';

/** Looks around in the nodes of a file. */
class Around {
  constructor(private readonly call: Call) {}

  /** The node that makes a value, of that operator. */
  maker(name: string | undefined, op: string): OnnxNode | undefined {
    return this.call.importer.model.nodes.find((node) => node.op === op && node.outputs[0] === name);
  }

  reader(node: OnnxNode | undefined, op: string): OnnxNode | undefined {
    const found = node && this.call.importer.onlyReader(node.outputs[0]!);
    return found?.op === op ? found : undefined;
  }

  value(name: string | undefined): Value | undefined {
    return this.call.importer.values.get(name ?? '');
  }

  /** A number that is known at import. */
  number(name: string | undefined): number | undefined {
    const value = this.value(name);
    const [number, ...more] = value?.kind === 'known' ? (value.numbers ?? []) : [];
    return typeof number === 'number' && more.length === 0 ? number : undefined;
  }

  /** The operand beside `name`, where it is a tensor of the file of these sizes. */
  tensorBeside(node: OnnxNode | undefined, name: string, shape: readonly number[]): Known | undefined {
    const value = this.value(node?.inputs.find((input) => input !== name));
    return value?.kind === 'known' && String(value.shape) === String(shape) ? value : undefined;
  }

  /** Mean of the last dimensions, which stay as 1. The number of them; 0 where it is none. */
  meanOf(node: OnnxNode | undefined, rank: number): number {
    const operand = this.value(node?.inputs[1]);
    const given = node?.inputs[1]
      ? operand?.kind === 'known'
        ? operand.numbers
        : []
      : node?.attributes.get('axes')?.ints;
    const axes = (given ?? []).map((axis) => axisOf(Number(axis), rank)).sort((a, b) => a - b);
    const last = axes.every((axis, i) => axis === rank - axes.length + i);
    return last && node?.attributes.get('keepdims')?.int !== 0 ? axes.length : 0;
  }
}

/** (x - mean) / √(mean((x - mean)²) + eps) · weight + bias: what the steps before the root made is left unused. */
export function squareRoot(call: Call): void {
  const { importer, node } = call;
  const around = new Around(call);
  const plus = around.maker(node.inputs[0], 'Add');
  const eps = plus?.inputs.map((name) => around.number(name)).find((number) => number !== undefined);
  const mean = plus?.inputs.map((name) => around.maker(name, 'ReduceMean')).find((found) => found !== undefined);
  const centred = around.maker(squared(around, mean?.inputs[0]), 'Sub');
  const x = around.value(centred?.inputs[0]);
  const first = around.maker(centred?.inputs[1], 'ReduceMean');
  const divided = around.reader(node, 'Div');
  const rank = x?.shape.length ?? 0;
  const count = x ? around.meanOf(mean, rank) : 0;
  const shape = count > 0 ? x!.shape.slice(-count).map(Number) : [];
  const sound =
    count > 0 &&
    around.meanOf(first, rank) === count &&
    first!.inputs[0] === centred!.inputs[0] &&
    String(divided?.inputs) === String([centred!.outputs[0], node.outputs[0]]) &&
    x!.kind === 'computed' &&
    !shape.some(Number.isNaN);
  if (!sound || eps === undefined) throw call.lacking('outside of a layer norm');
  emit(call, around, x as Computed, { shape, eps, divided: divided! });
  importer.skip(divided!);
}

/** What is squared: y · y or y to the power of 2. */
function squared(around: Around, name: string | undefined): string | undefined {
  const power = around.maker(name, 'Pow');
  if (power) return around.number(power.inputs[1]) === 2 ? power.inputs[0] : undefined;
  const product = around.maker(name, 'Mul');
  return product?.inputs[0] === product?.inputs[1] ? product?.inputs[0] : undefined;
}

interface Norm {
  shape: number[];
  eps: number;
  divided: OnnxNode;
}

/** With the weight and the bias behind it, where there are both: one without the other stays a step of its own. */
function emit(call: Call, around: Around, x: Computed, { shape, eps, divided }: Norm): void {
  const { importer } = call;
  const times = around.reader(divided, 'Mul');
  const weight = around.tensorBeside(times, divided.outputs[0]!, shape);
  const plus = around.reader(times, 'Add');
  const bias = weight && around.tensorBeside(plus, times!.outputs[0]!, shape);
  const affine = weight && bias ? { weight, bias } : undefined;
  if (affine) call.layer = layerOfWeight(affine.weight.name) ?? dotted(affine.weight.name);
  const parameter = (role: 'weight' | 'bias'): Computed | null =>
    affine ? call.tensor(affine[role], `${call.layer}.${role}`, 'parameter') : null;
  const operands = [x, parameter('weight'), parameter('bias')];
  const y = call.emit('layer_norm', operands, { normalized_shape: shape, eps }, x.shape);
  if (affine) for (const done of [times!, plus!]) importer.skip(done);
  importer.values.set((affine ? plus! : divided).outputs[0]!, y);
}
