// What the examples use in place of your photographs and of a published weight file, so that they run anywhere in seconds.
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import sharp from 'sharp';
import { create, fromPictures } from 'thaw';

const SIDE = 48;
const COLOURS = ['teal', 'tomato', 'olive', 'orchid', 'navy', 'sienna'];

/** Numbers from 0 to below 1 that are the same in every run (mulberry32). */
export function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const polygon = (corners) => (x, y, r) =>
  `<polygon points="${corners.map(([a, b]) => `${x + r * a},${y + r * b}`).join(' ')}"/>`;

const SHAPES = {
  disc: (x, y, r) => `<circle cx="${x}" cy="${y}" r="${r}"/>`,
  square: (x, y, r) => `<rect x="${x - r}" y="${y - r}" width="${2 * r}" height="${2 * r}"/>`,
  ring: (x, y, r) => `<circle cx="${x}" cy="${y}" r="${r * 0.75}" fill="none" stroke-width="${r / 2}"/>`,
  bar: (x, y, r) => `<rect x="${x - r}" y="${y - r / 4}" width="${2 * r}" height="${r / 2}"/>`,
  triangle: polygon([[0, -1], [1, 1], [-1, 1]]), // prettier-ignore
  diamond: polygon([[0, -1], [1, 0], [0, 1], [-1, 0]]), // prettier-ignore
};

/** One drawn picture, 48 x 48, with a shape of that radius at (x, y). Returns the bytes of a JPEG. */
export function drawing(shape, { radius = 10, x = SIDE / 2, y = SIDE / 2, colour = 'teal' } = {}) {
  const drawn = `<g fill="${colour}" stroke="${colour}" stroke-width="0">${SHAPES[shape](x, y, radius)}</g>`;
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${SIDE}" height="${SIDE}">
    <rect width="${SIDE}" height="${SIDE}" fill="beige"/>${drawn}</svg>`;
  return sharp(Buffer.from(svg)).jpeg().toBuffer();
}

/** The same with size, place and colour drawn at random. */
export function randomDrawing(shape, next) {
  const colour = COLOURS[Math.floor(next() * COLOURS.length)];
  return drawing(shape, { radius: 8 + 8 * next(), x: 18 + 12 * next(), y: 18 + 12 * next(), colour });
}

/** Draws `each` discs and squares into folder/disc/ and folder/square/. */
export async function drawPhotos(folder, each = 20) {
  const next = random(1);
  for (const shape of ['disc', 'square']) {
    await mkdir(path.join(folder, shape), { recursive: true });
    for (let i = 0; i < each; i++)
      await writeFile(path.join(folder, shape, `${i}.jpg`), await randomDrawing(shape, next));
  }
  return folder;
}

/** A weight file in place of a published one: a small network that has learned four other shapes for two seconds. */
export async function baseWeights(folder) {
  const next = random(2);
  const entries = [];
  for (let i = 0; i < 200; i++) {
    const target = ['ring', 'bar', 'triangle', 'diamond'][i % 4];
    entries.push({ picture: await randomDrawing(target, next), target });
  }
  const data = fromPictures(entries);
  const net = await create('cifar_resnet20', { labels: data.labels });
  await net.fit(data, { epochs: 5, batch: 16, learningRate: 0.005, schedule: 'oneCycle' });
  const file = path.join(folder, 'base.safetensors');
  await net.save(file);
  net.dispose();
  return file;
}

/** Calls `work` with a folder that is removed afterwards. */
export async function inFolder(work) {
  const folder = await mkdtemp(path.join(tmpdir(), 'thaw-example-'));
  try {
    await work(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
