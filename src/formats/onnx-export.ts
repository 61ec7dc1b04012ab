/**
 * A graph of thaw's in ONNX's words: opset 17, IR version 8, weights as f32 initializers. Dropout is left out and batch
 * norm uses its running statistics: the file is for inference. Tensors are written behind their headers by the caller,
 * so that no second copy of the weights is made.
 */
import type { GraphDescription, GraphDType } from '../graph/types.js';
import { EXPORTS, Exporter } from './onnx-export-rules.js';
import { bytesField, integerField, lengthPrefix, messageField } from './protobuf.js';
import { elements } from './types.js';

const OPSET = 17;
const IR_VERSION = 8;
/** A protobuf message ends at 2 GB, and readers refuse larger ones. */
const MAX_BYTES = 2 ** 31 - 1;
/** Of tensors in a file of their own: a cache line, which readers that map the file are glad of. */
const ALIGNMENT = 64;

const TYPES: Readonly<Record<GraphDType, number>> = { f32: 1, bf16: 16, i32: 6, i64: 7, bool: 9 };

/** A value's shape at the size that the network is exported for. */
export type Shapes = ReadonlyMap<string, { shape: number[]; dtype: GraphDType }>;

/** A file as a sequence of bytes and names of tensors, whose f32 bytes go in that place. */
export type Piece = Uint8Array | { tensor: string; bytes: number };

export interface OnnxFiles {
  model: Piece[];
  /** What the file beside the model holds: empty where the model holds all itself. */
  data: Piece[];
}

export const bytesOf = (pieces: readonly Piece[]): number =>
  pieces.reduce((sum, piece) => sum + (piece instanceof Uint8Array ? piece.length : piece.bytes), 0);

/**
 * @param shapes of all values for one sample of the network's usual size
 * @param beside the name of a file for the tensors in the model's folder
 * @param external tensors go there; undefined: where the model would be larger than 2 GB
 * @throws ERR_ONNX_EXPORT for an operator that ONNX has no words for
 */
export function writeOnnx(
  graph: GraphDescription,
  shapes: Shapes,
  metadata: Record<string, string>,
  beside: string,
  external?: boolean,
): OnnxFiles {
  const exporter = new Exporter(graph, shapes);
  for (const node of graph.nodes) {
    const rule = Object.hasOwn(EXPORTS, node.op) ? EXPORTS[node.op] : undefined;
    if (!rule) throw exporter.lacking(node, `operator ${node.op}`);
    rule(exporter, node);
  }
  const outputs = graph.outputs.map((name) => outputField(exporter, name, shapes));
  const nodes = exporter.nodes;
  const described = [...graph.inputs.map((input) => inputField(input, exporter, shapes)), ...outputs];
  const properties = Object.entries(metadata).map(([key, value]) =>
    messageField(14, bytesField(1, key), bytesField(2, value)),
  );
  const modelWith = (tensors: Piece[]): Piece[] => {
    const graphPieces = [...nodes, bytesField(2, 'thaw'), ...tensors, ...exporter.constants, ...described];
    return [
      integerField(1, IR_VERSION),
      bytesField(2, 'thaw'),
      messageField(8, bytesField(1, ''), integerField(2, OPSET)),
      ...properties,
      lengthPrefix(7, bytesOf(graphPieces)),
      ...graphPieces,
    ];
  };
  const inside = modelWith([...exporter.tensors].flatMap(([name, shape]) => tensorInside(name, shape)));
  if (!(external ?? bytesOf(inside) > MAX_BYTES)) return { model: inside, data: [] };
  const data = new DataFile(beside);
  return { model: modelWith([...exporter.tensors].map(([name, shape]) => data.add(name, shape))), data: data.pieces };
}

/** TensorProto's dims, data_type and name. */
const tensorHead = (name: string, shape: readonly number[]): Buffer =>
  Buffer.concat([...shape.map((size) => integerField(1, size)), integerField(2, 1), bytesField(8, name)]);

/** TensorProto without its raw data, whose header comes last. */
function tensorInside(name: string, shape: readonly number[]): Piece[] {
  const bytes = 4 * elements(shape);
  const inner = Buffer.concat([tensorHead(name, shape), lengthPrefix(9, bytes)]);
  return [Buffer.concat([lengthPrefix(5, inner.length + bytes), inner]), { tensor: name, bytes }];
}

/** Tensors one behind the other in a file of their own. */
class DataFile {
  readonly pieces: Piece[] = [];
  #length = 0;

  constructor(private readonly name: string) {}

  /** TensorProto of a tensor that lies here: external_data 13, data_location 14. */
  add(name: string, shape: readonly number[]): Uint8Array {
    const bytes = 4 * elements(shape),
      gap = (ALIGNMENT - (this.#length % ALIGNMENT)) % ALIGNMENT;
    if (gap > 0) this.pieces.push(new Uint8Array(gap));
    this.pieces.push({ tensor: name, bytes });
    const place = { location: this.name, offset: this.#length + gap, length: bytes };
    this.#length += gap + bytes;
    const entries = Object.entries(place).map(([key, value]) =>
      messageField(13, bytesField(1, key), bytesField(2, String(value))),
    );
    return messageField(5, tensorHead(name, shape), ...entries, integerField(14, 1));
  }
}

/** ValueInfoProto. Sizes are those of the graph: a symbol stays a symbol, but where the operators need a fixed size. */
function inputField(input: GraphDescription['inputs'][number], exporter: Exporter, shapes: Shapes): Uint8Array {
  const usual = shapes.get(input.name)?.shape ?? [];
  const shape = input.shape.map((size, i) =>
    typeof size === 'string' && i > 0 && exporter.fixedSize ? usual[i]! : size,
  );
  return valueField(11, input.name, input.dtype, shape);
}

/** Of an output only the batch is told where the picture may have any size. */
function outputField(exporter: Exporter, name: string, shapes: Shapes): Uint8Array {
  const value = shapes.get(name);
  const written = exporter.name(name);
  // What is renamed (dropout at the end) or an input still needs a node that makes the output.
  if (written !== name) exporter.add('Identity', [name], name);
  const flat = (value?.shape.length ?? 0) <= 2;
  const shape = value?.shape.map((size, i) => (i === 0 ? 'N' : flat || exporter.fixedSize ? size : `${name}_${i}`));
  return valueField(12, name, value?.dtype ?? 'f32', shape ?? []);
}

function valueField(field: number, name: string, dtype: GraphDType, shape: readonly (number | string)[]): Uint8Array {
  const dims = shape.map((size) =>
    messageField(1, typeof size === 'number' ? integerField(1, size) : bytesField(2, size)),
  );
  const type = messageField(1, integerField(1, TYPES[dtype]), messageField(2, ...dims));
  return messageField(field, bytesField(1, name), messageField(2, type));
}
