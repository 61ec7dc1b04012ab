import { besideOnnxRuntime } from '../lib/forward.mjs';

/** @type {import('../lib/case.mjs').Case} */
export default {
  name: 'P4',
  title: 'forward, batch 16, fp32 on both sides (its bf16 part is not measured: no bf16 plans yet)',
  async run(context) {
    return [
      await besideOnnxRuntime({ network: 'mobilenet_v2', must: 1, aim: 1.3 }, context),
      await besideOnnxRuntime({ network: 'squeezenet1_1', must: 1, aim: 1.3 }, context),
    ];
  },
};
