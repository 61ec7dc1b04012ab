import { besideOnnxRuntime } from '../lib/forward.mjs';

/** @type {import('../lib/case.mjs').Case} */
export default {
  name: 'P4',
  title: 'forward of small networks, batch 16, bf16 and fp32, both beside onnxruntime-node’s fp32',
  async run(context) {
    const rows = [];
    for (const network of ['mobilenet_v2', 'squeezenet1_1']) {
      rows.push(...(await besideOnnxRuntime({ network, precision: 'bf16', must: 3, aim: 5 }, context)));
      rows.push(...(await besideOnnxRuntime({ network, precision: 'fp32', must: 1, aim: 1.3 }, context)));
    }
    return rows;
  },
};
