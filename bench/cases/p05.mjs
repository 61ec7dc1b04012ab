import { besidePyTorch } from '../lib/training.mjs';

/** @type {import('../lib/case.mjs').Case} */
export default {
  name: 'P5',
  title: 'full training step of ResNet-50, batch 16, batch statistics, bf16 beside PyTorch’s bf16 autocast',
  async run(context) {
    // Rounding differs from layer to layer, and random weights amplify it.
    const goal = { precision: 'bf16', layouts: ['channels_last'], tolerance: 0.05, must: 3, aim: 5 };
    return [await besidePyTorch({ network: 'resnet50', ...goal }, context)];
  },
};
