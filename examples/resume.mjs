// Stops a run half-way and goes on from its checkpoint. The weights are those of a run that was never stopped, bit for bit.
import { createHash } from 'node:crypto';
import { imageFolder, load } from 'thaw';
import { baseWeights, drawPhotos, inFolder } from './shared/stand-ins.mjs';

await inFolder(async (folder) => {
  const data = await imageFolder(await drawPhotos(`${folder}/photos`));
  const base = await baseWeights(folder);
  const network = async () => {
    const net = await load(base);
    net.freeze({ until: 'layer2' });
    net.replaceHead({ labels: data.labels });
    return net;
  };
  const options = { validation: data.val, epochs: 4, batch: 8 };
  const digest = async (net) =>
    createHash('sha256')
      .update((await net.tensor('linear.weight')).data)
      .digest('hex')
      .slice(0, 16);

  const whole = await network();
  await whole.fit(data.train, options);
  console.log('never stopped   ', await digest(whole));

  const checkpoint = `${folder}/run.checkpoint`;
  const stopped = await network();
  const controller = new AbortController();
  const run = stopped.fit(data.train, {
    ...options,
    checkpoint: { path: checkpoint, every: 2 },
    signal: controller.signal,
  });
  for await (const event of run) if (event.type === 'epoch' && event.epoch === 2) controller.abort();
  console.log('stopped         ', (await run).reason, await digest(stopped));

  // As after a crash: a new process would do just this.
  const resumed = await network();
  await resumed.fit(data.train, { ...options, checkpoint, resume: true });
  console.log('resumed         ', await digest(resumed));
  if ((await digest(resumed)) !== (await digest(whole))) throw new Error('the bits differ');
  [whole, stopped, resumed].forEach((net) => net.dispose());
});
