/** What the benchmark keeps in files is what it would write now, and reads back what it wrote. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';

const bench = path.resolve(import.meta.dirname, '../../bench');
const folder = mkdtempSync(path.join(tmpdir(), 'thaw-bench-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Modules of the benchmark are JavaScript without declarations. */
const module = (name: string): Promise<any> => import(path.join(bench, 'lib', `${name}.mjs`));

const { NETWORKS, convolutions, shapesText } = await module('shapes');

describe('shapes of convolutions', () => {
  it.each(NETWORKS as string[])('%s: npm run bench -- shapes would write the same', async (network) => {
    const layers = await convolutions(network);
    expect(layers.length).toBeGreaterThan(4);
    expect(readFileSync(path.join(bench, 'shapes', `${network}.txt`), 'utf8')).toBe(shapesText(network, layers));
  });
});

describe('results', () => {
  const peer = { name: 'a peer', version: '1.0' };
  const row = { network: 'net', peer, unit: 'ms', thaw: 2, value: 5, ratio: 2.5, spread: 0.1, must: 2, aim: 3 };
  const memory = { ...row, ratio: 0.5, must: 0.6, aim: 0.4, share: true };
  const machine = { model: 'a processor', processors: 2, isa: 'avx2', load: 0.5 };

  it('end with the row that stands worst to its must', async () => {
    const { jsonLines } = await module('report');
    const rows = [row, { ...row, network: 'other', ratio: 1.5 }, memory];
    const lines = jsonLines({ name: 'P1', rows }, machine)
      .split('\n')
      .map((line: string) => JSON.parse(line));
    expect(lines.length).toBe(4);
    expect(lines[0]).toMatchObject({ case: 'P1', ratio: 2.5, thaw: 2, peer: 5, peerVersion: '1.0', isa: 'avx2' });
    expect(lines[3]).toMatchObject({ network: 'other', ratio: 1.5, worst: true });
  });

  it('are drawn from the file that they are recorded in: the newest of the last machine', async () => {
    const { record } = await module('report');
    const { newest, svg } = await module('plot');
    const file = path.join(folder, 'RESULTS.md');
    record(file, [{ name: 'P3', rows: [row] }], { ...machine, model: 'another' }, { peer });
    record(
      file,
      [
        { name: 'P2', rows: [row] },
        { name: 'P10', rows: [memory] },
      ],
      machine,
      { peer },
    );
    record(file, [{ name: 'P2', rows: [{ ...row, ratio: 2.75 }] }], machine, { peer });
    const bars = newest(readFileSync(file, 'utf8'));
    expect(bars.map(({ name, ratio, isa }: any) => [name, ratio, isa])).toEqual([
      ['P2', 2.75, 'avx2'],
      ['P10', 2, 'avx2'],
    ]);
    const picture = svg(bars);
    expect(picture.match(/<rect x=/g)).toHaveLength(2);
    expect(picture).toContain('P2 net beside a peer');
  });
});
