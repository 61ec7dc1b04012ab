// Writes the graphs of networks as files for bench/cpp/network_bench.cpp: node bench/graphs.mjs FOLDER NAME…
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { create } from '../dist/index.js';

const [folder, ...names] = process.argv.slice(2);
mkdirSync(folder, { recursive: true });
for (const name of names) {
  const [architecture, side] = name.split('@');
  const net = await create(architecture);
  const [, channels] = net.graph.inputs[0].shape;
  const size = Number(side ?? net.preprocessing?.size?.[0] ?? 224);
  const file = {
    name,
    input: [channels, size, size],
    classes: net.head?.outputs ?? 1000,
    run: net.graph,
    step: net.trainingGraph(),
  };
  writeFileSync(path.join(folder, `${name}.json`), JSON.stringify(file));
  net.dispose();
}
