/** Real published weights against what other software computed with them. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { load } from '../../src/index.js';
import type { Network, Tensor } from '../../src/index.js';
import { sharedPath } from '../shared.js';

/** A float32 array of numpy's .npy format. */
function readNpy(file: string): Tensor {
  const bytes = readFileSync(file);
  const header = bytes.readUInt16LE(8);
  const shape = /'shape': \(([^)]*)\)/.exec(bytes.toString('latin1', 10, 10 + header))![1]!;
  const data = bytes.buffer.slice(bytes.byteOffset + 10 + header, bytes.byteOffset + bytes.byteLength);
  return {
    data: new Float32Array(data as ArrayBuffer),
    shape: shape
      .split(',')
      .filter((d) => d.trim())
      .map(Number),
  };
}

async function scores(net: Network, image: Tensor): Promise<Float32Array> {
  return Object.values(await net.forward(image))[0]!.data as Float32Array;
}

const squeezenet = sharedPath('weights', 'squeezenet1_1');

describe.skipIf(!squeezenet)('SqueezeNet 1.1', () => {
  it.each(['squeezenet1_1.safetensors', 'squeezenet1_1.pth', 'squeezenet1_1-legacy.pth'])(
    'gives the reference outputs from %s',
    async (file) => {
      const net = await load(path.join(squeezenet!, file));
      expect(net.name).toBe('squeezenet1_1');
      for (const i of [0, 1, 2]) {
        const wanted = readNpy(path.join(squeezenet!, 'reference', `output_${i}.npy`)).data as Float32Array;
        const got = await scores(net, readNpy(path.join(squeezenet!, 'reference', `input_${i}.npy`)));
        const worst = Math.max(...wanted.map((w, k) => Math.abs(w - got[k]!)));
        expect(worst).toBeLessThan(2e-3);
      }
      net.dispose();
    },
  );

  it('gives the same bits from all four containers', async () => {
    const image = readNpy(path.join(squeezenet!, 'reference', 'input_0.npy'));
    const answers: Float32Array[] = [];
    for (const file of [
      'squeezenet1_1.safetensors',
      'squeezenet1_1.pth',
      'squeezenet1_1-legacy.pth',
      'squeezenet1.1.onnx',
    ]) {
      using net = await load(path.join(squeezenet!, file));
      answers.push(await scores(net, image));
    }
    for (const answer of answers.slice(1)) expect(answer).toEqual(answers[0]);
  });

  it('sees a giant panda', async () => {
    const labels = readFileSync(sharedPath('data', 'test-photos', 'labels', 'labels1000.txt')!, 'utf8')
      .trim()
      .split('\n');
    const net = await load(path.join(squeezenet!, 'squeezenet1_1.pth'), { labels });
    const [best] = await net.predict(sharedPath('data', 'test-photos', 'panda.jpg')!);
    expect(best!.label).toContain('giant panda');
    expect(best!.index).toBe(388);
    expect(best!.probability).toBeGreaterThan(0.9);
    net.dispose();
  });
});

interface Expected {
  predictions_2000: string;
  logits_lossless20: number[][];
}

const MEAN = [0.485, 0.456, 0.406];
const STD = [0.229, 0.224, 0.225];

/** One picture of the CIFAR-10 binary layout: a label byte, then the red, green and blue planes. */
function cifarTensor(file: string, rows: number): Tensor {
  const bytes = readFileSync(file);
  const data = new Float32Array(rows * 3072);
  for (let n = 0; n < rows; n++)
    for (let i = 0; i < 3072; i++) {
      const c = i >> 10;
      data[n * 3072 + i] = (bytes[n * 3073 + 1 + i]! / 255 - MEAN[c]!) / STD[c]!;
    }
  return { data, shape: [rows, 3, 32, 32] };
}

const cifar = sharedPath('data', 'cifar10');
const resnets = sharedPath('weights', 'resnet-cifar10');

describe.skipIf(!cifar || !resnets)('CIFAR-10 ResNets', () => {
  it.each(['resnet20-12fca82f', 'resnet32-d509ac18', 'resnet44-014dd654', 'resnet56-4bfd9763'])(
    '%s answers as PyTorch does',
    async (name) => {
      const all = JSON.parse(readFileSync(path.join(cifar!, 'expected-akamaster-resnets.json'), 'utf8')) as {
        models: Record<string, Expected>;
        lossless20_files: string[];
      };
      const wanted = all.models[name]!;
      const net = await load(path.join(resnets!, `${name}.th`));
      const pictures = cifarTensor(path.join(cifar!, 'test2000-from-jpeg.bin'), 2000);
      for (let start = 0; start < 2000; start += 250) {
        const part = (pictures.data as Float32Array).subarray(start * 3072, (start + 250) * 3072);
        const got = await scores(net, { data: part, shape: [250, 3, 32, 32] });
        for (let n = 0; n < 250; n++) {
          const row = got.subarray(n * 10, n * 10 + 10);
          const right = row[Number(wanted.predictions_2000[start + n])]!;
          // Equal but for ties.
          expect(Math.max(...row) - right, `picture ${start + n}`).toBeLessThan(1e-4);
        }
      }
      // Through the decoder and the network's own preprocessing.
      const files = all.lossless20_files.map((file) => path.join(cifar!, 'lossless20', file));
      const logits = await net.features(files, { layer: net.graph.outputs[0]! });
      wanted.logits_lossless20.flat().forEach((w, i) => expect(Math.abs(logits.data[i]! - w)).toBeLessThan(1e-3));
      net.dispose();
    },
  );
});
