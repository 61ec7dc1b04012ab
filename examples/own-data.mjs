// Data that comes from anywhere (here: drawn on demand), and a metric of one's own.
import { load } from 'thaw';
import { baseWeights, inFolder, random, randomDrawing } from './shared/stand-ins.mjs';

const LABELS = ['disc', 'square'];

/** A data set is a length and a `get`; every order of reads must give the same samples. */
function drawings(length, seed) {
  return {
    length,
    labels: LABELS,
    kind: 'single',
    async get(index) {
      const label = LABELS[index % 2];
      const picture = await randomDrawing(label, random(seed * 1000 + index));
      // The id is the key of cached features; by default it is the SHA-256 of the picture's bytes.
      return { input: { picture }, target: label, id: `${seed}/${index}` };
    },
  };
}

/** Share of samples whose right label has a score at least 1 above the other. Scores are row-major [n, 2]. */
function clear({ data: scores, shape: [n, width] }, { data: targets }) {
  let count = 0;
  for (let i = 0; i < n; i++) {
    const right = scores[i * width + targets[i]];
    if (right - scores[i * width + 1 - targets[i]] >= 1) count++;
  }
  return count / n;
}

await inFolder(async (folder) => {
  const net = await load(await baseWeights(folder));
  net.freeze();
  net.replaceHead({ labels: LABELS });
  const run = net.fit(drawings(60, 1), {
    validation: drawings(20, 2),
    epochs: 20,
    batch: 8,
    learningRate: 0.02,
    metrics: { clear },
  });
  for await (const event of run) {
    if (event.type === 'epoch') console.log(event.epoch, event.validation.accuracy, event.validation.custom.clear);
  }
  net.dispose();
});
