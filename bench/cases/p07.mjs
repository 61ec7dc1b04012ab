import { besidePyTorch } from '../lib/training.mjs';

/** @type {import('../lib/case.mjs').Case} */
export default {
  name: 'P7',
  title:
    'layer4 and fc of ResNet-50 trained, the rest frozen, no feature cache, batch 16, bf16 beside PyTorch’s bf16 autocast',
  async run(context) {
    const goal = { precision: 'bf16', layouts: ['channels_last'], tolerance: 0.05, must: 3, aim: 6 };
    return [await besidePyTorch({ network: 'resnet50', train: ['layer4', 'fc'], ...goal }, context)];
  },
};
