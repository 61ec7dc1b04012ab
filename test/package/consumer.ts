/** A strict program that uses the types of the package; it is compiled, never run. */
import { create, imageFolder, layerwise, load, oneCycle, ThawError } from 'thaw';
import type { FitEvent, FitResult, LabelPrediction, Network } from 'thaw';

export async function main(signal: AbortSignal): Promise<LabelPrediction[]> {
  const net: Network = await load('squeezenet1_1.safetensors', { signal });
  net.freeze();
  net.replaceHead({ labels: ['cucumber', 'zucchini'] });
  const photos = await imageFolder('photos');
  const seen: FitEvent[] = [];
  for await (const event of net.fit(photos.train, { validation: photos.val, epochs: 5, signal })) {
    if (event.type === 'epoch') console.log(event.train.loss, event.validation?.loss);
    seen.push(event);
  }
  net.unfreeze({ from: 'features.9' });
  const options = { epochs: 3, learningRate: layerwise(1e-5, 1e-3), schedule: oneCycle() };
  const result: FitResult = await net.fit(photos.train, options);
  await net.save(`${result.steps}.safetensors`);
  const metrics = await net.evaluate(photos.train);
  if (metrics.kind === 'single') console.log(metrics.accuracy, metrics.confusion);
  const other = await create('resnet18', { classes: 2 });
  other[Symbol.dispose]();
  return net.predict('new.jpg');
}

main(new AbortController().signal).catch((error: unknown) => {
  if (error instanceof ThawError) console.error(error.code);
});

// @ts-expect-error: unknown options are mistakes
export const wrong = (net: Network) => net.fit([] as never, { epoch: 5 });
