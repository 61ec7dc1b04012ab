// What a user of the package does: base, new head, fit on pictures, save, load, predict. Prints one line of JSON.
import path from 'node:path';
import { create, imageFolder, load } from 'thaw';
import { Worker, isMainThread, parentPort } from 'node:worker_threads';

export async function use(folder, name) {
  const [base, out] = ['base', 'trained'].map((kind) => path.join(folder, `${kind}-${name}.safetensors`));
  const fresh = await create('cifar_resnet20', { seed: 3 });
  await fresh.save(base);
  fresh.dispose();

  const net = await load(base);
  net.freeze({ until: 'layer2' });
  net.replaceHead({ labels: ['green', 'red'] });
  const photos = await imageFolder(path.join(folder, 'photos'));
  const result = await net.fit(photos.train, { validation: photos.val, epochs: 12, batch: 4, learningRate: 0.003 });
  await net.save(out);
  net.dispose();

  const again = await load(out);
  const [best] = await again.predict(path.join(folder, 'photos', 'red', '0.jpg'));
  again.dispose();
  return { node: process.versions.node, loss: result.train.loss, accuracy: result.validation.accuracy, best };
}

const [folder, where] = process.argv.slice(2);
if (!isMainThread) parentPort.postMessage(await use(folder, 'worker'));
else if (where === 'worker') {
  const worker = new Worker(new URL(import.meta.url), { argv: [folder] });
  worker.on('message', (answer) => console.log(JSON.stringify(answer)));
} else console.log(JSON.stringify(await use(folder, process.versions.node)));
