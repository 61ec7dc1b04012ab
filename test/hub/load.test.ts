/** Networks of the hub: `load('hf:…')`, and what config.json adds to the weights. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { architectures, create, load } from '../../src/index.js';
import type { LoadProgress, Network } from '../../src/index.js';
import { build, fromTimm, timmNames } from '../../src/zoo/index.js';
import { sharedPath } from '../shared.js';
import { useHub } from './environment.js';

const used = useHub();
const folder = mkdtempSync(path.join(tmpdir(), 'thaw-hub-files-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const COMMIT = 'a'.repeat(40);
const LABELS = ['cucumber', 'zucchini', 'leek'];

/** As timm writes it. */
const config = (architecture: string, more: object = {}, pretrained: object = {}): object => ({
  ...{ architecture, num_classes: 3, num_features: 512 },
  pretrained_cfg: {
    ...{ tag: 'a1_in1k', input_size: [3, 160, 160], interpolation: 'bicubic', crop_pct: 0.95, crop_mode: 'center' },
    ...{ mean: [0.5, 0.4, 0.3], std: [0.2, 0.25, 0.3], num_classes: 3, first_conv: 'conv1', classifier: 'fc' },
    ...pretrained,
  },
  ...more,
});

function publish(weights: Buffer, settings?: object | string, name = 'model.safetensors'): void {
  const text = typeof settings === 'string' ? settings : JSON.stringify(settings);
  const files = { [name]: weights, ...(settings !== undefined && { 'config.json': Buffer.from(text) }) };
  used.hub.add('timm/model', { commit: COMMIT, files });
}

/** A file of safetensors under other names, without what thaw says about the network. */
function renamed(
  file: string,
  rename: (name: string) => string,
  reshape: (name: string, shape: number[]) => number[] = (_, shape) => shape,
): Buffer {
  const bytes = readFileSync(file);
  const length = Number(bytes.readBigUInt64LE(0));
  const { __metadata__: _, ...entries } = JSON.parse(bytes.toString('utf8', 8, 8 + length)) as Record<string, any>;
  const others = Object.entries(entries).map(([name, entry]) => [
    rename(name),
    { ...entry, shape: reshape(rename(name), entry.shape) },
  ]);
  const text = JSON.stringify(Object.fromEntries(others));
  const header = Buffer.from(text.padEnd(Math.ceil(text.length / 8) * 8));
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(header.length));
  return Buffer.concat([size, header, bytes.subarray(8 + length)]);
}

async function scores(net: Network, side = 64): Promise<number[]> {
  const data = Float32Array.from({ length: 3 * side * side }, (_, i) => Math.sin(i));
  const [out] = Object.values(await net.forward({ data, shape: [1, 3, side, side] }));
  return [...(out!.data as Float32Array)];
}

/** A network with weights drawn at random: as a file, and what it answers. */
async function drawn(architecture: string): Promise<{ file: string; answer: number[] }> {
  const file = path.join(folder, `${architecture}.safetensors`);
  const net = await create(architecture, { classes: 3, seed: 7 });
  await net.save(file);
  const answer = await scores(net);
  net.dispose();
  return { file, answer };
}

/** timm's name, ours, of networks with other names of tensors there. */
const RENAMED = [
  ['mnasnet_100', 'mnasnet1_0'],
  ['efficientnet_b0', 'efficientnet_b0'],
  ['regnety_004', 'regnet_y_400mf'],
  ['convnext_tiny', 'convnext_tiny'],
] as const;

/** timm's name, ours, where timm's batch norms and heads are others too. */
const OTHER_NORMS = [
  ['mobilenetv3_large_100', 'mobilenet_v3_large'],
  ['mobilenetv3_small_100', 'mobilenet_v3_small'],
] as const;

/** timm's name, torchvision's name: those of the two state dictionaries, place by place (timm 1.0.29, torchvision 0.14). */
function namePairs(architecture: string): [string, string][] {
  const text = readFileSync(path.join(import.meta.dirname, `${architecture}.tsv`), 'utf8');
  return text
    .trim()
    .split('\n')
    .map((line) => line.split('\t') as [string, string]);
}

describe("a model of timm's", () => {
  let weights: Buffer;
  let answer: number[];
  beforeAll(async () => {
    const made = await drawn('resnet18');
    weights = renamed(made.file, (name) => name);
    answer = made.answer;
  });

  it('has architecture, preprocessing and labels of its configuration', async () => {
    publish(weights, config('resnet18', { label_names: LABELS }));
    const seen: LoadProgress[] = [];
    const net = await load('hf:timm/model', { onProgress: (progress) => seen.push(progress) });
    expect([net.name, net.labels, net.labelsSource]).toEqual(['resnet18', LABELS, 'file']);
    expect(net.preprocessing).toEqual({
      // 160 / 0.95 is 168.4
      ...{ resize: 168, crop: 160, interpolation: 'bicubic', channels: 3, source: 'file' },
      ...{ mean: [0.5, 0.4, 0.3], std: [0.2, 0.25, 0.3] },
    });
    expect(await scores(net)).toEqual(answer);
    expect([...new Set(seen.map(({ task }) => task))]).toEqual(['fetch', 'read']);
    await net.save(path.join(folder, 'saved.safetensors'));
    net.dispose();
    const again = await load(path.join(folder, 'saved.safetensors'));
    expect([again.labels, again.preprocessing?.resize]).toEqual([LABELS, 168]);
    again.dispose();
  });

  it('has what the options say in place of that', async () => {
    publish(weights, config('resnet18', { label_names: LABELS }));
    const net = await load('hf:timm/model', { labels: ['x', 'y', 'z'], preprocessing: { crop: 128 }, channels: 1 });
    expect(net.labels).toEqual(['x', 'y', 'z']);
    expect(net.preprocessing).toMatchObject({
      resize: 168,
      crop: 128,
      mean: [expect.closeTo(0.4)],
      channels: 1,
      source: 'given',
    });
    net.dispose();
  });

  it.each([
    ['no configuration', undefined, null],
    ["transformers' labels", { id2label: { 0: 'a', 1: 'b', 2: 'c' } }, ['a', 'b', 'c']],
    ['names nobody gave', { id2label: { 0: 'LABEL_0', 1: 'LABEL_1', 2: 'LABEL_2' } }, null],
    [
      'descriptions',
      config('resnet18', { label_names: ['n1', 'n2', 'n3'], label_descriptions: { n1: 'one', n3: 'x' } }),
      ['one', 'n2', 'x'],
    ],
    [
      'one flat object',
      { architecture: 'resnet18', labels: LABELS, input_size: [3, 224, 224], mean: [0, 0, 0], std: [1, 1, 1] },
      LABELS,
    ],
    ['too few labels', config('resnet18', { label_names: ['a'] }), null],
    ["fields of timm's names with other meanings", { input_size: 224, labels: { x: 0 }, id2label: { a: 'b' } }, null],
  ])('%s', async (_, settings, labels) => {
    publish(weights, settings);
    const net = await load('hf:timm/model');
    expect([net.name, net.labelsSource === 'index' ? null : net.labels]).toEqual(['resnet18', labels]);
    net.dispose();
  });

  it('that thaw does not have is an error, though its tensors be those of one that it has', async () => {
    publish(weights, config('resnetblur18'));
    const message = /expected one of timm's networks that thaw has \(resnet18, .*received 'resnetblur18'/;
    await expect(load('hf:timm/model')).rejects.toMatchObject({
      code: 'ERR_UNKNOWN_ARCHITECTURE',
      message: expect.stringMatching(message),
    });
    publish(weights, config('resnet18', { model_args: { act_layer: 'gelu', num_classes: 3 } }));
    await expect(load('hf:timm/model')).rejects.toThrow(/received changes of it: act_layer;/);
    publish(weights, config('resnet18', { global_pool: 'catavgmax' }));
    await expect(load('hf:timm/model')).rejects.toThrow(/global_pool 'catavgmax'/);
    const net = await load('hf:timm/model', { architecture: 'resnet18' });
    expect(net.name).toBe('resnet18');
    net.dispose();
  });

  it.each([
    ['no JSON', '<html>'],
    ['no object', '[1]'],
    ['input_size', config('resnet18', {}, { input_size: [3, 1e9, 224] })],
    ['mean', config('resnet18', {}, { mean: [0.5] })],
    ['std', config('resnet18', {}, { std: [0, 1, 1] })],
    ['crop_pct', config('resnet18', {}, { crop_pct: 0 })],
    ['label_names', config('resnet18', { label_names: [1, 2, 3] })],
  ])('%s that makes no sense is an error', async (_, settings) => {
    publish(weights, settings);
    await expect(load('hf:timm/model')).rejects.toMatchObject({ code: 'ERR_HUB_CONFIG' });
  });

  it('says what of the preprocessing is not there', async () => {
    publish(weights, config('resnet18', {}, { interpolation: 'lanczos', crop_mode: 'border' }));
    const net = await load('hf:timm/model');
    expect(net.preprocessing?.interpolation).toBe('bicubic');
    expect(net.loadReport.notes).toEqual([expect.stringContaining("'border'"), expect.stringContaining("'lanczos'")]);
    net.dispose();
  });
});

describe("timm's names of tensors", () => {
  it('are of networks that the zoo has', () => {
    for (const name of timmNames()) expect(architectures()).toContain(fromTimm(name)!.architecture);
  });

  it.each(['mobilenetv2_100', 'vgg11', ...[...RENAMED, ...OTHER_NORMS].map(([timm]) => timm)])(
    '%s: each has its place',
    (name) => {
      const { rename } = fromTimm(name)!;
      const pairs = namePairs(name);
      expect(pairs.map(([timm]) => [timm, rename(timm)])).toEqual(pairs);
      // torchvision's own names stay, and so do names that neither has.
      expect(pairs.map(([, own]) => rename(own))).toEqual(pairs.map(([, own]) => own));
      const others = [
        'blocks.9.0.conv.weight',
        'blocks.0.0.toString.weight',
        's1.b1.x.weight',
        'stages.0.blocks.0.x.weight',
      ];
      for (const other of [...others, 'toString.weight', 'x']) expect(rename(other)).toBe(other);
    },
  );

  it('mobilenetv2_100 gives the same bits as under our names', async () => {
    const { file, answer } = await drawn('mobilenet_v2');
    const names = new Map(namePairs('mobilenetv2_100').map(([theirs, ours]) => [ours, theirs]));
    const bytes = renamed(file, (name) => names.get(name)!);
    publish(bytes, config('mobilenetv2_100'));
    const net = await load('hf:timm/model');
    expect(net.name).toBe('mobilenet_v2');
    const note = "tensors with timm's names of 'mobilenetv2_100' are read as 'mobilenet_v2'";
    expect(net.loadReport.notes).toEqual([note]);
    expect(await scores(net)).toEqual(answer);
    net.dispose();
    const timm = path.join(folder, 'timm.safetensors');
    writeFileSync(timm, bytes);
    const local = await load(timm, { architecture: 'mobilenetv2_100' });
    expect(await scores(local)).toEqual(answer);
    local.dispose();
  });

  it.each(RENAMED)("%s gives the same bits as under %s's names", async (timm, architecture) => {
    const { file, answer } = await drawn(architecture);
    const names = new Map(namePairs(timm).map(([theirs, ours]) => [ours, theirs]));
    const shapeOf = (name: string, shape: number[]): number[] => (name.endsWith('.gamma') ? shape.slice(0, 1) : shape);
    const theirs = path.join(folder, `timm-${timm}.safetensors`);
    writeFileSync(
      theirs,
      renamed(file, (name) => names.get(name)!, shapeOf),
    );
    const net = await load(theirs, { architecture: timm });
    expect(net.name).toBe(architecture);
    expect(await scores(net)).toEqual(answer);
    net.dispose();
  });

  it.each(OTHER_NORMS)("%s answers as %s with PyTorch's epsilon in its norms", async (timm, architecture) => {
    const { file, answer } = await drawn(architecture);
    const { graph } = build(architecture, { classes: 3 });
    const norms = graph.nodes.filter(({ op }) => op === 'batch_norm');
    expect(new Set(norms.map(({ attrs }) => attrs!['eps']))).toEqual(new Set([1e-3]));
    for (const { attrs } of norms) Object.assign(attrs!, { eps: 1e-5, momentum: 0.1 });
    const own = await load(file, { architecture: graph });
    const wanted = await scores(own);
    own.dispose();
    expect(wanted).not.toEqual(answer);
    const names = new Map(namePairs(timm).map(([theirs, ours]) => [ours, theirs]));
    const shapeOf = (name: string, shape: number[]): number[] =>
      name === 'conv_head.weight' ? [...shape, 1, 1] : shape;
    publish(
      renamed(file, (name) => names.get(name)!, shapeOf),
      config(timm),
    );
    const net = await load('hf:timm/model');
    expect([net.name, net.architecture]).toEqual([
      architecture,
      { name: architecture, config: { classes: 3, channels: 3, norm: { eps: 1e-5, momentum: 0.1 } } },
    ]);
    expect(await scores(net)).toEqual(wanted);
    // It stays so in thaw's own file.
    const saved = path.join(folder, 'saved-v3.safetensors');
    await net.save(saved);
    const again = await load(saved);
    expect(await scores(again)).toEqual(wanted);
    again.dispose();
    net.dispose();
  });

  it.each(['efficientnet_b5', 'efficientnet_b6', 'efficientnet_b7'])("%s has PyTorch's norms", (name) => {
    const { architecture, norm } = fromTimm(name)!;
    const norms = build(architecture, { norm }).graph.nodes.filter(({ op }) => op === 'batch_norm');
    for (const { attrs } of norms) expect(attrs).toMatchObject({ eps: 1e-5, momentum: 0.1 });
    for (const { attrs } of build(architecture).graph.nodes) expect(attrs?.['eps'] ?? 1e-3).toBe(1e-3);
  });

  it('of a network that computes something else in timm are none', () => {
    const others = ['regnetx_004', 'regnety_008', 'tf_efficientnet_b0', 'tf_efficientnet_b5', 'mobilenetv3_large_075'];
    for (const name of [...others, 'tf_mobilenetv3_large_100', 'googlenet', 'inception_v4', 'resnet50d', 'toString'])
      expect(fromTimm(name)).toBeUndefined();
  });

  it("VGG's linear layers are convolutions there", () => {
    const { rename, reshape } = fromTimm('vgg11')!;
    const { graph } = build('vgg11');
    const wanted = new Map(graph.parameters.map(({ name, shape }) => [name, shape]));
    const stored: Record<string, number[]> = {
      'pre_logits.fc1.weight': [4096, 512, 7, 7],
      'pre_logits.fc2.weight': [4096, 4096, 1, 1],
    };
    for (const [timm] of namePairs('vgg11')) {
      const shape = wanted.get(rename(timm))!;
      expect(reshape(rename(timm), stored[timm] ?? shape)).toEqual(shape);
    }
  });
});

describe('real files on the hub', () => {
  const squeezenet = sharedPath('weights', 'squeezenet1_1');
  it.skipIf(!squeezenet)('ONNX and PyTorch files', async () => {
    const read = (name: string): Buffer => readFileSync(path.join(squeezenet!, name));
    const files = { 'onnx/model.onnx': read('squeezenet1.1.onnx'), 'pytorch_model.bin': read('squeezenet1_1.pth') };
    used.hub.add('org/squeezenet', { commit: COMMIT, files });
    const answers: number[][] = [];
    for (const name of ['hf:org/squeezenet', 'hf:org/squeezenet@main/onnx/model.onnx']) {
      const net = await load(name);
      answers.push(await scores(net, 224));
      net.dispose();
    }
    expect(answers[0]).toEqual(answers[1]);
  });

  const mobilenet = sharedPath('weights', 'mobilenet_v1_0.25_224-tfjs');
  it.skipIf(!mobilenet)('TensorFlow.js: the shards come along, and are found beside the model', async () => {
    const names = readdirSync(mobilenet!).filter((name) => /^group/.test(name));
    const files = Object.fromEntries(names.map((name) => [name, readFileSync(path.join(mobilenet!, name))]));
    files['model.json'] = readFileSync(path.join(mobilenet!, 'model.with-topology.json'));
    used.hub.add('org/mobilenet', { commit: COMMIT, files });
    const net = await load('hf:org/mobilenet');
    const local = await load(path.join(mobilenet!, 'model.with-topology.json'));
    expect(await scores(net, 224)).toEqual(await scores(local, 224));
    net.dispose();
    local.dispose();
  });
});
