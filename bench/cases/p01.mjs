import { besideOnnxRuntime } from '../lib/forward.mjs';

/** @type {import('../lib/case.mjs').Case} */
export default {
  name: 'P1',
  title: 'frozen forward of ResNet-50, batch 16 and 1, bf16 beside onnxruntime-node’s fp32',
  async run(context) {
    const goal = { network: 'resnet50', precision: 'bf16' };
    return [
      ...(await besideOnnxRuntime({ ...goal, must: 6, aim: 8 }, context)),
      ...(await besideOnnxRuntime({ ...goal, must: 4, aim: 6, batch: 1 }, context)),
    ];
  },
};
