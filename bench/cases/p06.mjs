import { besidePyTorch } from '../lib/training.mjs';

/** Dropout, which MobileNetV2 has before its last layer, draws differently on both sides. */
const TOLERANCES = { resnet50: 1e-3, resnet18: 1e-3, mobilenet_v2: 0.05 };

/** @type {import('../lib/case.mjs').Case} */
export default {
  name: 'P6',
  title: 'full training step, batch 16, batch statistics, fp32 on both sides; the better of PyTorch’s layouts',
  async run(context) {
    const rows = [];
    for (const [network, tolerance] of Object.entries(TOLERANCES)) {
      const layouts = ['contiguous', 'channels_last'];
      rows.push(await besidePyTorch({ network, precision: 'fp32', layouts, tolerance, must: 2, aim: 3 }, context));
    }
    return rows;
  },
};
