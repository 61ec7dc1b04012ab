/** What is read of an ONNX file before its operators are looked at. */
import type { TensorEntry } from './types.js';

export interface OnnxModel {
  path: string;
  /** Of the domain '' (ai.onnx). */
  opset: number;
  /** Without Constant nodes, which are among `constants`. */
  nodes: OnnxNode[];
  /** Initializers and Constant nodes by the name of their value. */
  constants: Map<string, OnnxConstant>;
  /** Files of IR version 3 list initializers here too. */
  inputs: OnnxInput[];
  outputs: string[];
  metadata: Record<string, string>;
}

export interface OnnxNode {
  name: string;
  op: string;
  domain: string;
  /** '' is an operand left out. */
  inputs: string[];
  outputs: string[];
  attributes: Map<string, OnnxAttribute>;
}

export interface OnnxAttribute {
  int?: number;
  float?: number;
  string?: string;
  ints?: number[];
  floats?: number[];
  tensor?: OnnxConstant;
}

export interface OnnxConstant {
  entry: TensorEntry;
  /** The elements, row-major, of a small tensor: what shapes and limits are computed from. */
  numbers?: number[];
}

export interface OnnxInput {
  name: string;
  /** TensorProto.DataType. */
  type: number;
  /** null: not said; '' is a dimension without name or size. */
  shape: (number | string)[] | null;
}
