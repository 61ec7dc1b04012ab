import p3 from './p03.mjs';
import p4 from './p04.mjs';
import p6 from './p06.mjs';
import p8 from './p08.mjs';
import p9 from './p09.mjs';
import p10 from './p10.mjs';
import p11 from './p11.mjs';

const noBf16 = 'no bf16 plans yet';

/** @type {import('../lib/case.mjs').Case[]} */
export const cases = [
  { name: 'P1', title: 'frozen forward of ResNet-50, bf16, beside onnxruntime-node fp32', notMeasured: noBf16 },
  { name: 'P2', title: 'frozen forward of ResNet-50, bf16, beside PyTorch bf16', notMeasured: noBf16 },
  p3,
  p4,
  { name: 'P5', title: 'full training step of ResNet-50, bf16, beside PyTorch bf16 autocast', notMeasured: noBf16 },
  p6,
  { name: 'P7', title: 'last stage and head of ResNet-50 trained, no feature cache, bf16', notMeasured: noBf16 },
  p8,
  p9,
  p10,
  p11,
];
