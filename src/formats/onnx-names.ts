/** Names of layers, from the names that exporters give to nodes and weights. */

/** Ends of the names of weights, after which the layer's name is left. */
const WEIGHT = /^(.+?)[._/](?:weight|weights|kernel|gamma|scale|w|W)(?:_0|:0)?$/;

/** Operators that are a layer of their own in PyTorch: `/features/features.0/Conv` is `features.0`. */
const MODULES = new Set(
  'Conv Gemm MatMul BatchNormalization LayerNormalization Relu LeakyRelu Clip HardSwish HardSigmoid Sigmoid MaxPool AveragePool GlobalAveragePool Dropout LRN'.split(
    ' ',
  ),
);

/** 'layer1.0.conv1' of 'layer1.0.conv1.weight'; undefined for 'onnx::Conv_193'. */
export function layerOfWeight(weight: string): string | undefined {
  const layer = WEIGHT.exec(weight)?.[1];
  return layer && dotted(layer);
}

/** Name of a layer from its node's name; '' where that says nothing. */
export function layerOfNode(name: string, op: string): string {
  const segments = split(name);
  const last = segments.at(-1) ?? '';
  if (segments.length > 1 && MODULES.has(op) && last.replace(/_\d+$/, '') === op) segments.pop();
  return segments.join('.');
}

export const dotted = (name: string): string => split(name).join('.');

/** Segments without the ones that the next repeats: '/layer1/layer1.0/conv1' is layer1.0, conv1. */
function split(name: string): string[] {
  const segments = name.slice(0, 1000).replace(/:\d+$/, '').split(/[/:]+/).filter(Boolean);
  return segments.filter((segment, i) => !segments[i + 1]?.startsWith(`${segment}.`));
}
