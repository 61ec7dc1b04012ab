// thaw's side of P10: memory.mjs forward|step WEIGHTS, bf16, batch 16, three times. Prints the process's peak in bytes.
import { load } from '../../dist/index.js';
import { pictures, targets } from '../lib/networks.mjs';

const [what, weights] = process.argv.slice(2);
const net = await load(weights, { precision: 'bf16' });
const image = pictures(16);
if (what === 'step') {
  net.unfreeze();
  const update = { optimizer: 'sgd', learningRate: 1e-3, momentum: 0.9 };
  for (let i = 0; i < 3; i++) await net.step({ image, target: targets(16) }, { update });
} else {
  for (let i = 0; i < 3; i++) await net.forward(image);
}
console.log(JSON.stringify({ bytes: process.resourceUsage().maxRSS * 1024 }));
