import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { Tensor } from '../src/network/types.js';

interface Value {
  data(): Promise<Float32Array>;
  shape: number[];
  dispose(): void;
}

interface Library {
  setBackend(name: string): Promise<boolean>;
  tensor(data: Float32Array, shape: number[]): Value;
  transpose(x: Value, perm: number[]): Value;
  loadLayersModel(handler: object): Promise<{ predict(x: Value): Value; dispose(): unknown }>;
}

/** The folder that @tensorflow/tfjs is installed in: it is an oracle, not a dependency. */
const home = process.env['THAW_TFJS'] ?? '';

/** False, with a word on the console, where it is not there: `it.skipIf(!hasTfjs)`. */
export const hasTfjs = home !== '' && existsSync(join(home, 'node_modules/@tensorflow/tfjs'));
if (!hasTfjs) console.log('skipped: no @tensorflow/tfjs (THAW_TFJS: the folder with its node_modules)');

/** What a layers model in a folder gives for pictures [N, C, H, W], by TensorFlow.js on its plain backend. */
export async function runTfjs(folder: string, { data, shape }: Tensor): Promise<Tensor> {
  const tf = createRequire(join(home, 'package.json'))('@tensorflow/tfjs') as Library;
  await tf.setBackend('cpu');
  const model = await tf.loadLayersModel({ load: () => Promise.resolve(artifacts(folder)) });
  const x = tf.transpose(tf.tensor(data as Float32Array, shape), [0, 2, 3, 1]);
  const y = model.predict(x);
  const result = { data: await y.data(), shape: y.shape };
  model.dispose();
  return result;
}

/** What TensorFlow.js' own loaders make of the files. */
function artifacts(folder: string): object {
  const { weightsManifest, ...json } = JSON.parse(readFileSync(join(folder, 'model.json'), 'utf8')) as {
    weightsManifest: { paths: string[]; weights: object[] }[];
  };
  const files = weightsManifest.flatMap(({ paths }) => paths.map((file) => readFileSync(join(folder, file))));
  const bytes = Uint8Array.from(Buffer.concat(files));
  return { ...json, weightSpecs: weightsManifest.flatMap(({ weights }) => weights), weightData: bytes.buffer };
}
