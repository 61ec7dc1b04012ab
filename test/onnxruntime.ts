import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { Tensor } from '../src/network/types.js';

interface Runtime {
  InferenceSession: {
    create(
      path: string,
      options: object,
    ): Promise<{
      inputNames: string[];
      outputNames: string[];
      run(feeds: object): Promise<Record<string, { data: Float32Array; dims: number[] }>>;
      release(): Promise<void>;
    }>;
  };
  Tensor: new (type: string, data: unknown, dims: readonly number[]) => object;
}

/** The folder that onnxruntime-node is installed in: it is an oracle, not a dependency. */
const home = process.env['THAW_ORT'] ?? '';

/** False, with a word on the console, where onnxruntime is not there: `it.skipIf(!hasOnnxRuntime)`. */
export const hasOnnxRuntime = home !== '' && existsSync(join(home, 'node_modules/onnxruntime-node'));
if (!hasOnnxRuntime) console.log('skipped: no onnxruntime-node (THAW_ORT: the folder with its node_modules)');

/** First output of a model for its only input, by onnxruntime. */
export async function runOnnx(path: string, input: Tensor): Promise<Tensor> {
  const ort = createRequire(join(home, 'package.json'))('onnxruntime-node') as Runtime;
  const session = await ort.InferenceSession.create(path, { intraOpNumThreads: 1 });
  try {
    const feeds = { [session.inputNames[0]!]: new ort.Tensor('float32', input.data, input.shape) };
    const { data, dims } = (await session.run(feeds))[session.outputNames[0]!]!;
    return { data: Float32Array.from(data), shape: [...dims] };
  } finally {
    await session.release();
  }
}
