import { besideOnnxRuntime } from '../lib/forward.mjs';

/** torchvision's, a family's smaller members. */
const NETWORKS = [
  ...['alexnet', 'vgg16', 'resnet18', 'resnet50', 'resnext50_32x4d', 'squeezenet1_1', 'densenet121', 'googlenet'],
  ...['inception_v3', 'mobilenet_v2', 'mobilenet_v3_large', 'shufflenet_v2_x1_0', 'mnasnet1_0', 'efficientnet_b0'],
  ...['regnet_y_400mf', 'convnext_tiny'],
];

/** @type {import('../lib/case.mjs').Case} */
export default {
  name: 'ZOO',
  title: 'forward of every family, batch 8, bf16 and fp32 beside onnxruntime-node’s fp32; no goal but to be faster',
  onlyNamed: true,
  async run(context) {
    const rows = [];
    for (const network of NETWORKS)
      for (const precision of ['bf16', 'fp32'])
        rows.push(...(await besideOnnxRuntime({ network, precision, batch: 8, must: 1, aim: 1.5 }, context)));
    return rows;
  },
};
