import { besideOnnxRuntime } from '../lib/forward.mjs';

/** @type {import('../lib/case.mjs').Case} */
export default {
  name: 'P3',
  title: 'forward, batch 16, fp32 on both sides',
  async run(context) {
    return [
      ...(await besideOnnxRuntime({ network: 'resnet50', precision: 'fp32', must: 1.2, aim: 1.4 }, context)),
      ...(await besideOnnxRuntime({ network: 'resnet18', precision: 'fp32', must: 1.6, aim: 2 }, context)),
    ];
  },
};
