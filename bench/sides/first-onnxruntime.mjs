// onnxruntime-node's side of P9: first-onnxruntime.mjs ONNX PIXELS, 256 x 256 RGB bytes
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';

const { InferenceSession, Tensor } = createRequire(import.meta.url)('onnxruntime-node');
const [weights, pixels] = process.argv.slice(2);
const session = await InferenceSession.create(weights, { intraOpNumThreads: availableParallelism() });
const raw = readFileSync(pixels);
const image = new Float32Array(3 * 224 * 224);
const mean = [0.485, 0.456, 0.406];
const std = [0.229, 0.224, 0.225];
for (let c = 0, i = 0; c < 3; c++)
  for (let y = 16; y < 240; y++)
    for (let x = 16; x < 240; x++) image[i++] = (raw[(y * 256 + x) * 3 + c] / 255 - mean[c]) / std[c];
const { output } = await session.run({ image: new Tensor('float32', image, [1, 3, 224, 224]) });
let index = 0;
for (let i = 1; i < output.data.length; i++) if (output.data[i] > output.data[index]) index = i;
console.log(JSON.stringify({ index }));
