/**
 * A Keras model as a graph: one translation for .h5, .keras and TensorFlow.js. Pictures become [N, C, H, W], weights
 * get PyTorch's layouts and names: `<layer>.weight`, `.bias`, `.running_mean`, `.running_var`. A softmax at the end is
 * left out, for outputs are scores.
 */
import { GraphBuilder } from '../graph/builder.js';
import type { GraphDescription } from '../graph/types.js';
import type { Preprocessing } from '../zoo/types.js';
import { kerasFault, type KerasInput, type KerasLayer, type PreprocessingModel } from './keras-config.js';
import { LayerContext, type KerasWeights, type Translation } from './keras-context.js';
import { WEIGHTED } from './keras-layers.js';
import { factors, PLAIN } from './keras-plain.js';
import { preprocessingOf, publishedMode, scaledPreprocessing, type PreprocessingMode } from './keras-preprocessing.js';
import { inputShape, type KerasValue } from './keras-shape.js';
import { withoutSoftmax } from './scores.js';
import { elements, type TensorEntry } from './types.js';

export interface KerasGraph {
  graph: GraphDescription;
  tensors: Map<string, TensorEntry>;
  preprocessing?: Preprocessing;
  notes: string[];
}

export interface KerasOptions {
  /** Version of Keras that wrote the file; default '2'. */
  version?: string | undefined;
  /** How pictures come in, where it is known. */
  mode?: PreprocessingMode | undefined;
  /** Height and width of the pictures, where the model leaves them open. */
  inputSize?: readonly [number, number] | undefined;
}

/** Throws ERR_KERAS for what is no model, ERR_KERAS_LAYER for a layer that thaw has not, ERR_INPUT_SIZE. */
export function translate(model: PreprocessingModel, weights: KerasWeights, options: KerasOptions = {}): KerasGraph {
  const walk = new Walk(weights, model, options);
  const outputs = walk.model(model, [], []);
  const graph = walk.all.g.build(outputs.map(({ value }) => value));
  const scores = withoutSoftmax(graph);
  for (const name of scores?.removed ?? [])
    walk.all.notes.add(`the softmax '${name}' at the end is left out: outputs are scores, predict gives probabilities`);
  return {
    graph: scores?.graph ?? graph,
    tensors: walk.all.tensors,
    ...(walk.preprocessing && { preprocessing: walk.preprocessing }),
    notes: [...walk.all.notes],
  };
}

class Walk {
  readonly all: Translation;
  preprocessing: Preprocessing | undefined;
  readonly #mode: PreprocessingMode | undefined;
  readonly #size: readonly number[];
  /** Values that pictures come in by, untouched. */
  readonly #raw = new Set<string>();
  #inputs = 0;

  constructor(weights: KerasWeights, model: PreprocessingModel, { version = '2', mode, inputSize }: KerasOptions) {
    this.all = {
      g: new GraphBuilder(),
      weights,
      tensors: new Map(),
      notes: new Set(),
      channelsFirst: channelsFirst(model),
      kerasMajor: Number.parseInt(version, 10) || 2,
    };
    this.#size = inputSize ?? [];
    this.#mode = mode ?? publishedMode(model.name);
  }

  /** Values of a model's outputs; `given` stands for its inputs where it is a layer itself. */
  model(model: PreprocessingModel, path: string[], given: KerasValue[]): KerasValue[] {
    const made = new Map<string, KerasValue>();
    const rest = [...given];
    for (const layer of inOrder(model)) {
      if (layer.kind === 'InputLayer') made.set(`${layer.name}/0`, rest.shift() ?? this.#input(layer));
      const uses = layer.kind === 'InputLayer' ? [] : layer.uses;
      uses.forEach((use, i) => {
        if (i > 0) throw this.#context(layer, path).unsupported('a layer with several uses');
        made.set(
          `${layer.name}/${i}`,
          this.#layer(
            layer,
            path,
            use.map((input) => valueOf(made, input, layer.name)),
          ),
        );
      });
    }
    return model.outputs.map((output) => valueOf(made, output, 'the outputs'));
  }

  #context(layer: KerasLayer, path: string[]): LayerContext {
    const full = [...path, layer.name];
    const name = full.join('.').replaceAll('/', '.').replaceAll(':', '_');
    return new LayerContext(this.all, name, full, layer.kind, layer.config);
  }

  #input(layer: KerasLayer): KerasValue {
    const context = this.#context(layer, []);
    const said = inputShape(layer.config, this.all.channelsFirst, context.where);
    const shape = said.length === 3 ? said.map((size, i) => size ?? this.#size[i] ?? null) : said;
    const symbols = ['H', 'W'];
    const sizes = shape.length === 3 ? [shape[2]!, shape[0]!, shape[1]!] : shape;
    if (shape.length === 3 && sizes[0] === null) throw context.unsupported('a picture of any number of channels');
    const named = sizes.map((size, i) => size ?? (shape.length === 3 ? symbols[i - 1]! : `D${i}`));
    const value = this.all.g.input(context.name, 'f32', ['N', ...named]);
    const first = this.#inputs++ === 0;
    if (first && shape.length === 3) this.#raw.add(value);
    const x = { value, shape };
    return first && shape.length === 3 && shape[2] === 3 && this.#mode ? this.#known(x, this.#mode) : x;
  }

  /** The input of a network whose pictures' form is known. */
  #known(x: KerasValue, mode: PreprocessingMode): KerasValue {
    this.preprocessing = preprocessingOf(mode, [x.shape[0]!, x.shape[1]!]);
    if (mode !== 'caffe') return x;
    const { g } = this.all;
    const planes = [2, 1, 0].map((c) => g.slice(`${x.value}.plane${c}`, x.value, { axis: 1, start: c, end: c + 1 }));
    this.all.notes.add('the network was trained on BGR: its graph turns RGB around by itself');
    return { ...x, value: g.concat(`${x.value}.bgr`, planes) };
  }

  #layer(layer: KerasLayer, path: string[], inputs: KerasValue[]): KerasValue {
    const context = this.#context(layer, path);
    if (layer.model) {
      const outputs = this.model(layer.model, [...path, layer.name], inputs);
      if (outputs.length !== 1) throw context.unsupported('a model with several outputs');
      return outputs[0]!;
    }
    const rule = WEIGHTED[layer.kind] ?? PLAIN[layer.kind];
    if (!Object.hasOwn(WEIGHTED, layer.kind) && !Object.hasOwn(PLAIN, layer.kind) && layer.kind !== 'Normalization')
      throw context.unsupported(layer.kind.slice(0, 80));
    if (inputs.length === 0) throw kerasFault('something to read', context.where, 'nothing');
    return (
      this.#absorbed(context, inputs[0]!) ?? (rule ? rule(context, inputs) : this.#normalisation(context, inputs[0]!))
    );
  }

  /** A first layer that only scales pictures becomes the network's preprocessing. */
  #absorbed(context: LayerContext, x: KerasValue): KerasValue | undefined {
    if (!this.#raw.has(x.value) || this.preprocessing?.source === 'file') return undefined;
    const { scale, offset } = context.kind === 'Rescaling' ? factors(context.config) : this.#statistics(context);
    if (!scale || !offset) return undefined;
    const found = scaledPreprocessing(scale, offset, x.shape[2]!, [x.shape[0]!, x.shape[1]!]);
    if (!found) return undefined;
    this.preprocessing = found;
    this.all.notes.add(`${context.where} became the preprocessing of pictures`);
    return x;
  }

  /** (x - mean) / deviation as a factor and an offset. */
  #statistics(context: LayerContext): { scale?: number[]; offset?: number[] } {
    if (context.kind !== 'Normalization') return {};
    const read = (key: string): number[] | undefined => {
      const given = context.config[key];
      if (given !== null && given !== undefined) return factors({ scale: given }).scale;
      return smallFloats(this.all.weights, context.path, key);
    };
    const [mean, variance] = [read('mean'), read('variance')];
    if (!mean || !variance || mean.length !== variance.length) return {};
    const scale = variance.map((v) => 1 / Math.max(Math.sqrt(v), 1e-7));
    return { scale, offset: mean.map((m, i) => -m * scale[i]!) };
  }

  #normalisation(context: LayerContext, x: KerasValue): KerasValue {
    const { scale, offset } = this.#statistics(context);
    if (!scale || !offset) throw context.unsupported('Normalization without numbers');
    const config = { scale, offset };
    return PLAIN.Rescaling!(new LayerContext(this.all, context.name, context.path, 'Rescaling', config), [x]);
  }
}

function smallFloats(weights: KerasWeights, path: readonly string[], variable: string): number[] | undefined {
  const found = weights.find(path, variable);
  if (!found || !(found.source instanceof Uint8Array) || found.dtype !== 'F32' || elements(found.shape) > 4)
    return undefined;
  return [...new Float32Array(found.source.slice().buffer)];
}

function valueOf(made: Map<string, KerasValue>, { layer, node, tensor }: KerasInput, reader: string): KerasValue {
  const value = tensor === 0 ? made.get(`${layer}/${node}`) : undefined;
  if (value) return value;
  throw kerasFault('outputs of layers before', `'${reader}'`, `output ${tensor} of use ${node} of '${layer}'`);
}

/** Every layer after what it reads. Throws ERR_KERAS for a ring and for a name used twice. */
function inOrder({ layers }: PreprocessingModel): KerasLayer[] {
  const named = new Map(layers.map((layer) => [layer.name, layer]));
  if (named.size !== layers.length) throw kerasFault('each name once', 'layers', 'a name twice');
  const waiting = new Map(layers.map((layer) => [layer, new Set(layer.uses.flat().map((i) => i.layer)).size]));
  const readers = new Map<string, KerasLayer[]>();
  for (const layer of layers)
    for (const name of new Set(layer.uses.flat().map((i) => i.layer)))
      readers.set(name, [...(readers.get(name) ?? []), layer]);
  const ready = layers.filter((layer) => waiting.get(layer) === 0);
  for (let i = 0; i < ready.length; i++)
    for (const reader of readers.get(ready[i]!.name) ?? []) {
      waiting.set(reader, waiting.get(reader)! - 1);
      if (waiting.get(reader) === 0) ready.push(reader);
    }
  if (ready.length !== layers.length)
    throw kerasFault('layers that read earlier ones', 'the model', 'a ring, or a name of none');
  return ready;
}

function channelsFirst(model: PreprocessingModel): boolean {
  const found = model.layers.find(({ config }) => typeof config.data_format === 'string');
  const nested = model.layers.map((layer) => layer.model).find((inner) => inner !== undefined);
  if (!found) return nested !== undefined && channelsFirst(nested);
  return found.config.data_format === 'channels_first';
}
