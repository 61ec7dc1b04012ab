/**
 * A graph of thaw's as a layers model of TensorFlow.js: `model.json` with the topology and the list of weights, which lie
 * one after the other in files of 4 MB. Inference only: dropout is left out. Source: tensorflow.org/js, "Save and load
 * models"; Keras' functional configuration.
 */
import type { GraphDescription } from '../graph/types.js';
import type { Shapes } from './onnx-export.js';
import { TFJS_EXPORTS } from './tfjs-export-rules.js';
import { TfjsWriter } from './tfjs-writer.js';
import type { LayerWeight } from './tfjs-writer.js';
import { elements } from './types.js';

/** Bytes of one file of weights, as the converter of TensorFlow.js makes them. */
export const SHARD = 4 << 20;

export interface TfjsModel {
  json: string;
  weights: LayerWeight[];
  /** Names of the files of weights. */
  files: string[];
}

/**
 * @param shapes of all values for one sample of the network's usual size
 * @throws ERR_TFJS_EXPORT for what TensorFlow.js has no layer for
 */
export function writeTfjs(graph: GraphDescription, shapes: Shapes, metadata: Record<string, string>): TfjsModel {
  const writer = new TfjsWriter(graph, shapes);
  const inputs = graph.inputs.map(({ name, dtype }) => {
    const input = { name, op: 'input', inputs: [] };
    if (dtype !== 'f32' || ![2, 4].includes(writer.shape(name).length))
      throw writer.lacking(input, `an input of ${dtype} [${writer.shape(name)}]`);
    const layer = writer.layer(input, 'InputLayer', [], { sparse: false });
    writer.is(input, layer);
    return layer;
  });
  for (const node of graph.nodes) {
    const rule = Object.hasOwn(TFJS_EXPORTS, node.op) ? TFJS_EXPORTS[node.op] : undefined;
    if (!rule) throw writer.lacking(node, `operator ${node.op}`);
    rule(writer, node);
  }
  graph.inputs.forEach((input, i) => {
    const { config } = writer.layers.find(({ name }) => name === inputs[i])!;
    config['batch_input_shape'] = inputShape(input.shape, writer.shape(input.name), writer.fixedSize);
  });
  const outputs = graph.outputs.map((name) => writer.operand({ name: 'output', op: 'output', inputs: [name] }));
  const ends = (names: string[]): [string, number, number][] => names.map((name) => [name, 0, 0]);
  const config = { name: 'thaw', layers: writer.layers, input_layers: ends(inputs), output_layers: ends(outputs) };
  return modelOf(writer.weights, { class_name: 'Model', config }, metadata);
}

/** [batch, height, width, channels]; null is any size. */
function inputShape(declared: (number | string)[], usual: number[], fixed: boolean): (number | null)[] {
  const sizes = declared.map((size, i) => (i === 0 ? null : typeof size === 'number' || fixed ? usual[i]! : null));
  return sizes.length === 4 ? [sizes[0]!, sizes[2]!, sizes[3]!, sizes[1]!] : sizes;
}

function modelOf(weights: LayerWeight[], model_config: object, metadata: Record<string, string>): TfjsModel {
  const bytes = 4 * weights.reduce((sum, { shape }) => sum + elements(shape), 0);
  const count = Math.max(1, Math.ceil(bytes / SHARD));
  const files = Array.from({ length: count }, (_, i) => `group1-shard${i + 1}of${count}.bin`);
  const listed = weights.map(({ name, shape }) => ({ name, shape, dtype: 'float32' }));
  const json = {
    format: 'layers-model',
    generatedBy: 'thaw',
    convertedBy: null,
    modelTopology: { keras_version: '2.4.0', backend: 'tensorflow', model_config },
    weightsManifest: [{ paths: files, weights: listed }],
    userDefinedMetadata: metadata,
  };
  return { json: JSON.stringify(json), weights, files };
}

/** Numbers computed at once between two turns of the event loop. */
const AT_ONCE = 1 << 18;

/** The elements of a tensor of shape `view` (row-major) in the order of its dimensions `perm`, piece by piece. */
export function* turned(data: Float32Array, view: number[], perm: number[]): Generator<Float32Array> {
  const shape = perm.map((axis) => view[axis]!);
  const steps = perm.map((axis) => elements(view.slice(axis + 1)));
  const index = shape.map(() => 0);
  for (let done = 0, from = 0; done < data.length; done += AT_ONCE) {
    const piece = new Float32Array(Math.min(AT_ONCE, data.length - done));
    for (let i = 0; i < piece.length; i++) {
      piece[i] = data[from]!;
      for (let axis = shape.length - 1; axis >= 0; axis--) {
        from += steps[axis]!;
        if (++index[axis]! < shape[axis]!) break;
        from -= steps[axis]! * shape[axis]!;
        index[axis] = 0;
      }
    }
    yield piece;
  }
}
