// The whole recipe in one call: the head first, then everything with lower rates for lower layers. Shows every event.
//   node examples/fine-tune.mjs [PHOTOS BASE]
import { formatEvent, imageFolder, load } from 'thaw';
import { baseWeights, drawPhotos, inFolder } from './shared/stand-ins.mjs';

await inFolder(async (folder) => {
  const data = await imageFolder(process.argv[2] ?? (await drawPhotos(`${folder}/photos`)));
  const net = await load(process.argv[3] ?? (await baseWeights(folder)));
  net.replaceHead({ labels: data.labels });

  const run = net.fineTune(data.train, { validation: data.val, epochs: 8, batch: 8, augment: { flip: true } });
  for await (const event of run) console.log(`${event.type.padEnd(8)}  ${formatEvent(event)}`);

  const { epochs, validation } = await run;
  console.log(`${epochs.length} epochs, validation accuracy ${validation.accuracy}`);
  net.dispose();
});
