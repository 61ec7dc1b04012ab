// onnxruntime-node's side of P10: memory-onnxruntime.mjs ONNX, forward, batch 16, three times. Prints the peak.
import { createRequire } from 'node:module';
import { pictures } from '../lib/networks.mjs';
import { THREADS } from '../lib/machine.mjs';

const { InferenceSession, Tensor } = createRequire(import.meta.url)('onnxruntime-node');
const session = await InferenceSession.create(process.argv[2], { intraOpNumThreads: THREADS });
const image = pictures(16);
for (let i = 0; i < 3; i++) await session.run({ image: new Tensor('float32', image.data, image.shape) });
console.log(JSON.stringify({ bytes: process.resourceUsage().maxRSS * 1024 }));
