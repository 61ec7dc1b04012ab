// thaw's side of P8: eurosat.mjs EPOCHS WEIGHTS DATA OUT
import { imageFolder, load } from '../../dist/index.js';

const OPTIONS = { batch: 32, learningRate: 1e-3 };
const [epochs, weights, folder, out] = process.argv.slice(2);
const net = await load(weights);
const data = await imageFolder(folder);
net.freeze();
net.replaceHead(data.labels);
const { validation } = await net.fit(data.train, { ...OPTIONS, epochs: Number(epochs), validation: data.val });
await net.save(out);
console.log(JSON.stringify({ accuracy: validation.accuracy }));
