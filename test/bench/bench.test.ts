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

describe('turns', () => {
  /** A pass of a side answers with the next number, and the last one from then on. */
  function side(numbers: number[]): { pass: () => Promise<number>; calls: () => number } {
    let calls = 0;
    return { pass: async () => numbers[Math.min(calls++, numbers.length - 1)]!, calls: () => calls };
  }

  it('are rows of passes where one side is short, of as many on either side, to fill the time of the slower one', async () => {
    const { passesOfTurn } = await module('measure');
    expect(passesOfTurn([6, 40])).toBe(3);
    expect(passesOfTurn([40, 6])).toBe(3);
    expect(passesOfTurn([6, 8])).toBe(13);
    expect(passesOfTurn([19, 150])).toBe(2);
    expect(passesOfTurn([20, 150])).toBe(1);
  });

  it('of one pass give its time', async () => {
    const { interleave } = await module('measure');
    const [a, b] = [side([9, 1, 2, 3]), side([7])];
    const { thaw, other } = await interleave({ thaw: a.pass, other: b.pass }, { repeats: 3 });
    expect(thaw).toMatchObject({ samples: [1, 2, 3], median: 2 });
    expect(thaw.first).toBeUndefined();
    expect(other).toMatchObject({ samples: [7, 7, 7], spread: 0 });
    expect([a.calls(), b.calls()]).toEqual([4, 4]);
  });

  it('of passes in a row give the mean of all but the first, and the first by itself', async () => {
    const { interleave } = await module('measure');
    const [a, b] = [side([1, 1, 1, 12, 2, 4, 10, 6, 4]), side([7])];
    const { thaw, other } = await interleave({ thaw: a.pass, other: b.pass }, { repeats: 2, passes: 2 });
    expect(thaw.samples).toEqual([3, 5]);
    expect(thaw.first).toMatchObject({ samples: [12, 10], median: 11 });
    expect(other.samples).toEqual([7, 7]);
    expect([a.calls(), b.calls()]).toEqual([9, 9]);
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

  it('have rows without a goal, which are told and no more', async () => {
    const { jsonLines, record, table } = await module('report');
    const { newest } = await module('plot');
    const { must: _must, aim: _aim, ...told } = { ...row, network: 'told', ratio: 0.1 };
    const lines = jsonLines({ name: 'P1', rows: [row, told] }, machine).split('\n');
    expect(lines.length).toBe(3);
    expect(JSON.parse(lines[1])).toMatchObject({ network: 'told', ratio: 0.1, must: null, aim: null });
    expect(JSON.parse(lines[2])).toMatchObject({ network: 'net', worst: true });
    expect(jsonLines({ name: 'P1', rows: [told] }, machine)).not.toContain('worst');
    expect(table([{ name: 'P1', rows: [told] }]).split('\n')[1]).toMatch(/^P1 +told +a peer +.* 0\.10x +- +- +- +10%$/);
    const file = path.join(folder, 'told.md');
    record(file, [{ name: 'P1', rows: [row, told] }], machine, { peer });
    expect(newest(readFileSync(file, 'utf8')).map(({ ratio }: any) => ratio)).toEqual([2.5]);
  });

  it('of passes in a row replace those of single ones', async () => {
    const { record } = await module('report');
    const { newest } = await module('plot');
    const file = path.join(folder, 'in-a-row.md');
    const remark = 'thaw bf16, batch 1';
    record(file, [{ name: 'P1', rows: [{ ...row, remark }] }], machine, { peer });
    record(file, [{ name: 'P1', rows: [{ ...row, ratio: 4, remark: `${remark}, passes in a row` }] }], machine, {
      peer,
    });
    expect(newest(readFileSync(file, 'utf8')).map(({ what, ratio }: any) => [what, ratio])).toEqual([
      [`net (${remark}) beside a peer`, 4],
    ]);
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
