// A head that gives numbers: the radius of a drawn disc, in pixels. Targets are scaled for training and given back in pixels.
import { fromPictures, load } from 'thaw';
import { baseWeights, drawing, inFolder, random } from './shared/stand-ins.mjs';

async function discs(count, seed) {
  const next = random(seed);
  const entries = [];
  for (let i = 0; i < count; i++) {
    const radius = 5 + 10 * next();
    entries.push({ picture: await drawing('disc', { radius }), target: radius });
  }
  return fromPictures(entries, { kind: 'regression', targetNames: ['radius'] });
}

await inFolder(async (folder) => {
  const net = await load(await baseWeights(folder));
  net.replaceHead({ targets: ['radius'] });
  const validation = await discs(20, 2);
  const { validation: metrics } = await net.fineTune(await discs(120, 1), { validation, epochs: 12, batch: 10 });
  console.log(`mean absolute error ${metrics.mae.toFixed(2)} pixels, R2 ${metrics.r2.toFixed(3)}`);

  await net.save(`${folder}/radius.safetensors`);
  const again = await load(`${folder}/radius.safetensors`);
  const [{ label, value }] = await again.predict(await drawing('disc', { radius: 12 }));
  console.log(`${label} of a disc of radius 12: ${value.toFixed(2)}`);
  net.dispose();
  again.dispose();
});
