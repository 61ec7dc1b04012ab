/** Published Keras networks whose weights travel without their graph, told by names and shapes. */
import type { KerasInput, KerasLayer, PreprocessingModel } from './keras-config.js';
import type { PreprocessingMode } from './keras-preprocessing.js';

export interface KnownModel {
  model: PreprocessingModel;
  mode: PreprocessingMode;
}

interface Named {
  name: string;
  shape: number[];
}

/** `weights`: names as 'conv1/kernel'. null: none that is known. */
export function knownModel(weights: readonly Named[]): KnownModel | null {
  const shapes = new Map(weights.map(({ name, shape }) => [name, shape]));
  return squeezenet(shapes) ?? mobilenet(shapes);
}

/** Layers one after the other, with branches where they are named. */
class Stack {
  readonly layers: KerasLayer[] = [];

  add(kind: string, name: string, config: Record<string, unknown> = {}, from?: string[]): string {
    const inputs = from ?? (this.layers.length > 0 ? [this.layers.at(-1)!.name] : []);
    const uses: KerasInput[] = inputs.map((layer) => ({ layer, node: 0, tensor: 0 }));
    this.layers.push({ name, kind, config, uses: uses.length > 0 ? [uses] : [] });
    return name;
  }

  model(name: string): PreprocessingModel {
    return { name, layers: this.layers, outputs: [{ layer: this.layers.at(-1)!.name, node: 0, tensor: 0 }] };
  }
}

/** SqueezeNet 1.1 of github.com/rcmalli/keras-squeezenet, with or without its top. */
function squeezenet(shapes: Map<string, number[]>): KnownModel | null {
  const first = shapes.get('conv1/kernel');
  if (!shapes.has('fire2/squeeze1x1/kernel') || !shapes.has('fire9/expand3x3/kernel') || first?.[3] !== 64) return null;
  const s = new Stack();
  s.add('InputLayer', 'input_1', { batch_input_shape: [null, 227, 227, first[2]] });
  s.add('Conv2D', 'conv1', { filters: 64, kernel_size: [3, 3], strides: [2, 2], padding: 'valid' });
  s.add('Activation', 'relu_conv1', { activation: 'relu' });
  for (let fire = 2; fire <= 9; fire++) {
    if (fire === 2 || fire === 4 || fire === 6)
      s.add('MaxPooling2D', `pool${fire - 1}`, { pool_size: [3, 3], strides: [2, 2], padding: 'valid' });
    addFire(s, `fire${fire}`, (size) => shapes.get(`fire${fire}/${size}/kernel`)?.[3] ?? 0);
  }
  const top = shapes.get('conv10/kernel');
  if (top) {
    s.add('Dropout', 'drop9', { rate: 0.5 });
    s.add('Conv2D', 'conv10', { filters: top[3], kernel_size: [1, 1], padding: 'valid' });
    s.add('Activation', 'relu_conv10', { activation: 'relu' });
    s.add('GlobalAveragePooling2D', 'global_average_pooling2d_1');
  }
  return { model: s.model('squeezenet'), mode: 'caffe' };
}

function addFire(s: Stack, fire: string, filters: (size: string) => number): void {
  const conv = (size: string, kernel: number, from?: string[]): string => {
    const kernel_size = [kernel, kernel];
    const padding = kernel === 1 ? 'valid' : 'same';
    s.add('Conv2D', `${fire}/${size}`, { filters: filters(size), kernel_size, padding }, from);
    return s.add('Activation', `${fire}/relu_${size}`, { activation: 'relu' });
  };
  const squeezed = conv('squeeze1x1', 1);
  const wide = [conv('expand1x1', 1, [squeezed]), conv('expand3x3', 3, [squeezed])];
  s.add('Concatenate', `${fire}/concat`, { axis: 3 }, wide);
}

/** Strides of the thirteen blocks of MobileNet v1 (Howard et al. 2017, table 1). */
const STRIDES = [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1];

/** MobileNet v1 of Keras Applications, any width, with or without its top. */
function mobilenet(shapes: Map<string, number[]>): KnownModel | null {
  const first = shapes.get('conv1/kernel');
  if (!first || !shapes.has('conv_dw_13/depthwise_kernel') || !shapes.has('conv_pw_13/kernel')) return null;
  const s = new Stack();
  s.add('InputLayer', 'input_1', { batch_input_shape: [null, 224, 224, first[2]] });
  const block = (kind: string, name: string, config: Record<string, unknown>): void => {
    s.add(kind, name, { kernel_size: [3, 3], padding: 'same', use_bias: false, ...config });
    s.add('BatchNormalization', `${name}_bn`, { axis: -1, epsilon: 1e-3 });
    s.add('ReLU', `${name}_relu`, { max_value: 6 });
  };
  block('Conv2D', 'conv1', { filters: first[3], strides: [2, 2] });
  STRIDES.forEach((stride, i) => {
    block('DepthwiseConv2D', `conv_dw_${i + 1}`, { strides: [stride, stride] });
    block('Conv2D', `conv_pw_${i + 1}`, { filters: shapes.get(`conv_pw_${i + 1}/kernel`)?.[3], kernel_size: [1, 1] });
  });
  const top = shapes.get('conv_preds/kernel');
  if (top) {
    s.add('GlobalAveragePooling2D', 'global_average_pooling2d', { keepdims: true });
    s.add('Dropout', 'dropout', { rate: 1e-3 });
    s.add('Conv2D', 'conv_preds', { filters: top[3], kernel_size: [1, 1] });
    s.add('Reshape', 'reshape_2', { target_shape: [top[3]] });
  }
  return { model: s.model('mobilenet'), mode: 'tf' };
}
