// Trains a new head on a frozen body: the safe choice for little data.
//   node examples/head-only.mjs [PHOTOS BASE]      PHOTOS has one folder a label, BASE is a weight file
import { imageFolder, load } from 'thaw';
import { baseWeights, drawPhotos, inFolder } from './shared/stand-ins.mjs';

await inFolder(async (folder) => {
  const photos = process.argv[2] ?? (await drawPhotos(`${folder}/photos`));
  const base = process.argv[3] ?? (await baseWeights(folder));

  const data = await imageFolder(photos);
  data.report.notes.forEach((note) => console.log(note));

  const net = await load(base);
  net.freeze();
  const report = net.replaceHead({ labels: data.labels });
  console.log(`new head: ${report}`);

  const result = await net.fit(data.train, { validation: data.val, epochs: 30, batch: 8, learningRate: 0.02 });
  console.log(`validation accuracy ${result.validation.accuracy}`);

  await net.save(`${folder}/mine.safetensors`);
  const [best] = await net.predict((await data.val.get(0)).input.picture);
  console.log(`${best.label}, probability ${best.probability.toFixed(3)}`);
  net.dispose();
});
