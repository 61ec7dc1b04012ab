// thaw as a user has it, on a GPU beside the processor: create, save, load, predict, freeze, fit, fineTune, save again, and an
// error. `node end_to_end.mjs DEVICE NETWORK [ROWS]`; one line of JSON a check, status 1 where one fails.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { create, devices, load } from '../../dist/index.js';

const [device = 'cuda', architecture = 'resnet18', rows = '48'] = process.argv.slice(2);
const LABELS = ['across', 'down', 'dots'];
const SIDE = 48;
const folder = mkdtempSync(path.join(tmpdir(), 'thaw-gpu-'));
let failures = 0;

function report(what, good, found = {}) {
  if (!good) failures++;
  console.log(JSON.stringify({ case: what, network: architecture, device, good, ...found }));
}

/** Stripes across, stripes down, or dots, each with its own phase and colours. */
function picture(index) {
  const data = new Uint8Array(SIDE * SIDE * 3);
  const kind = index % LABELS.length;
  for (let y = 0; y < SIDE; y++)
    for (let x = 0; x < SIDE; x++) {
      const [across, down] = [Math.sin((y + index) * 0.7), Math.sin((x + index) * 0.7)];
      const value = [across, down, across * down][kind];
      for (let c = 0; c < 3; c++) data[(y * SIDE + x) * 3 + c] = 128 + 100 * value + ((index * 31 + c * 17) % 20);
    }
  return { data, width: SIDE, height: SIDE, channels: 3 };
}

const samples = (count, from = 0) => ({
  length: count,
  labels: LABELS,
  get: (index) => ({
    input: { picture: picture(from + index) },
    target: (from + index) % LABELS.length,
    id: `picture ${from + index}`,
  }),
});

function apart(one, other) {
  let [difference, size] = [0, 0];
  one.forEach((value, i) => {
    difference += (value - other[i]) ** 2;
    size += other[i] ** 2;
  });
  return Math.sqrt(difference / Math.max(size, 1e-30));
}

async function trained(file, where, precision) {
  const net = await load(file, { device: where, precision });
  net.replaceHead(LABELS);
  net.freeze();
  net.unfreeze(net.head.classifier === '' ? (name) => name.startsWith('classifier') : net.head.classifier);
  const data = samples(Number(rows));
  const options = { batch: 8, seed: 3, keepBest: false };
  const begun = performance.now();
  const head = await net.fit(data, { ...options, epochs: 6, optimizer: 'adam', learningRate: 0.01 });
  const between = performance.now();
  net.unfreeze();
  const all = await net.fit(data, { ...options, epochs: 1, optimizer: 'sgd', learningRate: 1e-5 });
  const ended = performance.now();
  const losses = [...head.epochs, ...all.epochs].map(({ train }) => train.loss);
  return { net, losses, headMs: between - begun, allMs: ended - between, times: all.times };
}

async function compare(precision, tolerance) {
  const file = path.join(folder, 'fresh.safetensors');
  const there = await load(file, { device, precision });
  const here = await load(file, { precision: there.device === 'cpu' ? precision : await precisionOf(there) });
  const data = samples(16, 1000);
  const [a, b] = await Promise.all([there.features(data, { batch: 4 }), here.features(data, { batch: 4 })]);
  report(`features ${precision}`, apart(a.data, b.data) < tolerance.forward, { apart: apart(a.data, b.data) });
  there.dispose();
  here.dispose();

  const gpu = await trained(file, device, precision);
  const cpu = await trained(file, 'cpu', await precisionOf(gpu.net));
  const worst = Math.max(...gpu.losses.map((loss, i) => Math.abs(loss / cpu.losses[i] - 1)));
  const { losses, headMs, allMs, times } = gpu;
  report(`training ${precision}`, worst < tolerance.loss && losses[5] < losses[0] / 2, {
    apart: worst,
    losses,
    cpuLosses: cpu.losses,
    headMs,
    allMs,
    cpuHeadMs: cpu.headMs,
    cpuAllMs: cpu.allMs,
    times,
    bytes: gpu.net.bytes,
  });
  await saved(gpu.net, precision, tolerance);
  gpu.net.dispose();
  cpu.net.dispose();
}

/** 'auto' may mean another precision on the processor. */
const precisionOf = async (net) => {
  const [input] = net.graph.inputs;
  const shape = [1, 3, 32, 32].map((size, i) => (typeof input.shape[i] === 'number' ? input.shape[i] : size));
  return (await net.compile('run', { [input.name]: shape })).precision;
};

/** What was trained on the GPU says the same on the processor. */
async function saved(net, precision, tolerance) {
  const file = path.join(folder, 'trained.safetensors');
  await net.save(file);
  const here = await load(file, { precision: await precisionOf(net) });
  const pictures = Array.from({ length: 9 }, (_, i) => picture(2000 + i));
  const flat = async (of) =>
    (await of.predict(pictures, { top: 3 })).flatMap((found) =>
      LABELS.map((name) => found.find(({ label }) => label === name).probability),
    );
  const [a, b] = [await flat(net), await flat(here)];
  report(`saved ${precision}`, apart(a, b) < tolerance.forward * 10, { apart: apart(a, b) });
  here.dispose();
}

/** More than there is: an error with its code, and the network goes on. */
async function tooMuch() {
  const net = await load(path.join(folder, 'fresh.safetensors'), { device, precision: 'fp32' });
  if (net.device === 'cpu') return;
  const { gpus } = await devices();
  const side = net.preprocessing.crop ?? 32;
  const side1 = Array.isArray(side) ? side[0] : side;
  const batch = Math.ceil(gpus[0].memory / (3 * side1 * side1 * 4));
  const lacking = await net
    .compile('run', { [net.graph.inputs[0].name]: [batch, 3, side1, side1] })
    .then(({ bytes }) => bytes.arena > gpus[0].memory)
    .catch((error) => error.code);
  report('a plan beyond the memory', lacking === true || typeof lacking === 'string', { lacking });
  const [best] = await net.predict(picture(1));
  report('afterwards', Number.isFinite(best.probability), { device: net.device, report: net.deviceReport });
  net.dispose();
}

try {
  report('devices', true, await devices());
  const fresh = await create(architecture, { seed: 5 });
  await fresh.save(path.join(folder, 'fresh.safetensors'));
  fresh.dispose();
  await compare('fp32', { forward: 1e-4, loss: 0.02 });
  await compare('bf16', { forward: 0.05, loss: 0.15 });
  await tooMuch();
} catch (error) {
  report('an error', false, { code: error.code, message: error.message, stack: error.stack });
} finally {
  rmSync(folder, { recursive: true, force: true });
}
process.exitCode = failures > 0 ? 1 : 0;
