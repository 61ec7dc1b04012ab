/** Layers with weights: convolutions, linear layers, normalisations. */
import { inMemory, transposed } from './onnx-import.js';
import type { Call, Computed, Known } from './onnx-import.js';
import { layerOfWeight } from './onnx-names.js';
import type { Rule } from './onnx-rules.js';
import { broadcast } from './onnx-shape.js';
import { windowOf, windowSizes } from './onnx-windows.js';
import { elements } from './types.js';

/** The layer is called as its weight says, where that says something. */
function nameAfter(call: Call, weight: Known | undefined): void {
  const layer = weight && layerOfWeight(weight.name);
  if (layer) call.layer = layer;
}

/** Operand i as the parameter `<layer>.<role>`, or what computes it. */
function weightAt(call: Call, i: number, role: string, kind: 'parameter' | 'state' = 'parameter'): Computed {
  const known = call.known(i);
  return known ? call.tensor(known, `${call.layer}.${role}`, kind) : call.x(i);
}

function conv(call: Call): void {
  const x = call.x(0);
  nameAfter(call, call.known(1));
  const weight = call.value(1);
  if (weight.shape.length !== 4) throw call.lacking('only pictures [N, C, H, W] are supported');
  const kernel = weight.shape.slice(2).map(Number);
  const window = windowOf(call, x.shape, kernel);
  const operands = [x, weightAt(call, 1, 'weight'), call.has(2) ? weightAt(call, 2, 'bias') : null];
  const { stride, dilation, padding } = window;
  const groups = call.int('group', 1);
  const shape = [x.shape[0]!, weight.shape[0]!, ...windowSizes(call, x.shape, window)];
  call.out(call.emit('conv2d', operands, { stride, padding, dilation, groups }, shape));
}

/** alpha · A · B + beta · C, with B [K, N] or, with transB, [N, K]. */
function gemm(call: Call): void {
  const [alpha, beta] = [call.float('alpha', 1), call.float('beta', 1)];
  const weight = call.known(1);
  nameAfter(call, weight);
  let x = call.x(0);
  if (call.int('transA', 0)) x = call.emit('transpose', [x], { perm: [1, 0] }, [x.shape[1]!, x.shape[0]!]);
  if (!weight) return gemmOfValues(call, x, alpha, beta);
  const matrix = call.int('transB', 0) ? weight : transposed(weight, [1, 0]);
  const bias = call.has(2) ? call.known(2) : undefined;
  const plain = alpha === 1 && (beta === 1 || !call.has(2)) && weight.shape.length === 2 && (!call.has(2) || bias);
  const y = plain && matrix && linear(call, x, matrix, bias, call.int('transB', 0) ? '' : 'transposed');
  if (!y) return gemmOfValues(call, x, alpha, beta);
  call.out(y);
}

function gemmOfValues(call: Call, x: Computed, alpha: number, beta: number): void {
  const b = call.x(1);
  const turned = call.int('transB', 0) === 1;
  const times = (y: Computed, factor: number): Computed =>
    factor === 1 ? y : call.emit('scale', [y], { factor }, y.shape);
  const width = b.shape[turned ? 0 : 1]!;
  let y = times(call.emit('matmul', [x, b], { transpose_b: turned }, [x.shape[0]!, width]), alpha);
  if (call.has(2)) y = call.emit('add', [y, times(call.x(2), beta)], {}, y.shape);
  call.out(y);
}

/** x […, K] by a matrix [N, K]; undefined where the bias is not one number an output. */
function linear(call: Call, x: Computed, matrix: Known, bias: Known | undefined, form: string): Computed | undefined {
  const width = matrix.shape[0]!;
  const row = bias && rowOf(bias, width);
  if (bias && !row) return undefined;
  const weight = call.tensor(matrix, `${call.layer}.weight`, 'parameter', form);
  const offset = row ? call.tensor(row, `${call.layer}.bias`, 'parameter') : null;
  return call.emit('linear', [x, weight, offset], {}, [...x.shape.slice(0, -1), width]);
}

/** A bias [N], [1, N] or of one number as [N]. */
function rowOf(bias: Known, width: number): Known | undefined {
  if (elements(bias.shape) === width && bias.shape.at(-1) === width)
    return { ...bias, shape: [width], entry: bias.entry && { ...bias.entry, shape: [width] } };
  if (elements(bias.shape) !== 1 || typeof bias.numbers?.[0] !== 'number') return undefined;
  return inMemory(
    bias,
    [width],
    Array.from({ length: width }, () => bias.numbers![0] as number),
  );
}

/** With a known matrix a linear layer, which takes the Add of its bias with it. */
function matmul(call: Call): void {
  const known = call.known(1);
  const x = call.x(0);
  const matrix = known?.shape.length === 2 ? transposed(known, [1, 0]) : undefined;
  if (!known || !matrix) return void call.out(matmulOfValues(call, x));
  nameAfter(call, known);
  const added = call.importer.onlyReader(call.node.outputs[0]!);
  const other = added?.op === 'Add' ? added.inputs.find((name) => name !== call.node.outputs[0]) : undefined;
  const bias = other === undefined ? undefined : call.importer.values.get(other);
  const row = bias?.kind === 'known' && bias.entry ? rowOf(bias, matrix.shape[0]!) : undefined;
  const y = linear(call, x, matrix, row, 'transposed')!;
  call.out(y);
  if (!row || !added) return;
  call.importer.skip(added);
  call.importer.values.set(added.outputs[0]!, y);
}

function matmulOfValues(call: Call, a: Computed): Computed {
  const b = call.x(1);
  if (a.shape.length < 2 || b.shape.length < 2) throw call.lacking('operands of one dimension');
  const batch = broadcast(a.shape.slice(0, -2), b.shape.slice(0, -2));
  if (!batch) throw call.lacking('shapes that do not fit');
  return call.emit('matmul', [a, b], {}, [...batch, a.shape.at(-2)!, b.shape.at(-1)!]);
}

/** ONNX's momentum is the share of the old statistics. */
function batchNorm(call: Call): void {
  const x = call.x(0);
  nameAfter(call, call.known(1));
  // Before opset 14 the statistics of the batch as further outputs tell the mode.
  const trains =
    call.opset < 14 ? call.node.outputs.some((name, i) => i > 0 && name !== '') : call.int('training_mode', 0);
  if (trains) throw call.lacking('training mode: export the network for inference');
  const [mean, variance] = [weightAt(call, 3, 'running_mean', 'state'), weightAt(call, 4, 'running_var', 'state')];
  const operands = [x, weightAt(call, 1, 'weight'), weightAt(call, 2, 'bias'), mean, variance];
  if (call.int('spatial', 1) !== 1) throw call.lacking('spatial 0');
  const momentum = Math.min(1, Math.max(0, 1 - call.float('momentum', 0.9)));
  call.out(call.emit('batch_norm', operands, { eps: call.float('epsilon', 1e-5), momentum }, x.shape));
}

function layerNorm(call: Call): void {
  const x = call.x(0);
  nameAfter(call, call.known(1));
  const axis = call.int('axis', -1);
  const normalised = x.shape.slice(axis).map(Number);
  if (normalised.some(Number.isNaN)) throw call.lacking('axes of unknown size');
  const operands = [x, weightAt(call, 1, 'weight'), call.has(2) ? weightAt(call, 2, 'bias') : null];
  call.out(
    call.emit('layer_norm', operands, { normalized_shape: normalised, eps: call.float('epsilon', 1e-5) }, x.shape),
  );
}

function localResponseNorm(call: Call): void {
  const x = call.x(0);
  const size = call.int('size', 1);
  // ONNX puts the odd channel of an even window behind, PyTorch before.
  if (size % 2 === 0) throw call.lacking(`an even size, ${size}`);
  const attrs = { size, alpha: call.float('alpha', 1e-4), beta: call.float('beta', 0.75), k: call.float('bias', 1) };
  call.out(call.emit('local_response_norm', [x], attrs, x.shape));
}

export const layerRules: Record<string, Rule> = {
  Conv: conv,
  Gemm: gemm,
  MatMul: matmul,
  BatchNormalization: batchNorm,
  LayerNormalization: layerNorm,
  LRN: localResponseNorm,
};
