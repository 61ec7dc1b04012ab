// thaw's side of P9: first.mjs WEIGHTS PIXELS, 256 x 256 RGB bytes
import { readFileSync } from 'node:fs';
import { load } from '../../dist/index.js';

const [weights, pixels] = process.argv.slice(2);
const net = await load(weights);
const [{ index }] = await net.predict({ data: readFileSync(pixels), width: 256, height: 256, channels: 3 });
console.log(JSON.stringify({ index }));
