/**
 * ONNX's official node tests (Debian's python3-onnx, 1.12) of every operator that thaw claims: those within the claims
 * give the expected numbers, those outside of them an error with a code.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ThawError } from '../../src/errors.js';
import { ONNX_OPERATORS } from '../../src/formats/onnx-claims.js';
import { FOLDS } from '../../src/formats/onnx-fold.js';
import { RULES } from '../../src/formats/onnx-rules.js';
import { load } from '../../src/network/load.js';
import type { Tensor } from '../../src/network/types.js';
import { hasOnnx, python, temporaryFolder } from '../python.js';
import { otherTypes, outside } from './onnx-official.js';
import type { Case, Packed, Way } from './onnx-official.js';

const folder = temporaryFolder();
afterAll(folder.remove);

it('the claims name every operator that has a rule', () => {
  const ruled = new Set(['Constant', ...Object.keys(RULES), ...Object.keys(FOLDS)]);
  expect(Object.keys(ONNX_OPERATORS).sort()).toEqual([...ruled].sort());
});

function tensor({ data, shape }: Packed): Tensor {
  return { data: new Float32Array(new Uint8Array(Buffer.from(data!, 'base64')).buffer), shape: shape! };
}

async function run({ file, feeds }: Case['ways'][number]): Promise<Tensor> {
  using net = await load(join(folder.path, file));
  const given = Object.entries(feeds).map(([name, packed]): [string, Tensor] => [name, tensor(packed)]);
  return Object.values(await net.forward(Object.fromEntries(given)))[0]!;
}

/** As onnx's own runner compares: |a - b| <= atol + rtol · |b|. */
function equal(got: Tensor, wanted: Tensor, { rtol, atol }: Case): boolean {
  const near = (value: number, i: number): boolean =>
    Math.abs(value - (wanted.data[i] as number)) <= atol + rtol * Math.abs(wanted.data[i] as number);
  return String(got.shape) === String(wanted.shape) && (got.data as Float32Array).every(near);
}

describe.skipIf(!hasOnnx())('official node tests of ONNX', () => {
  let cases: Case[];
  beforeAll(() => {
    python(join(import.meta.dirname, 'onnx_official.py'), folder.path, Object.keys(ONNX_OPERATORS).join());
    cases = JSON.parse(readFileSync(join(folder.path, 'cases.json'), 'utf8')) as Case[];
  });

  const ways = (wanted: (c: Case, way: Way) => boolean): [Case, Case['ways'][number]][] =>
    cases.flatMap((c) => c.ways.filter(({ way }) => wanted(c, way)).map((way) => [c, way] as [Case, typeof way]));

  it('pass within the claims', async () => {
    const wrong: string[] = [];
    const passed = new Map<string, number>();
    for (const [c, way] of ways((c, way) => !otherTypes(c, way) && !outside(c, way))) {
      const failed = await run(way).then(
        (got) => (equal(got, tensor(way.wanted), c) ? undefined : 'other numbers'),
        (error: Error) => error.message,
      );
      if (failed !== undefined) wrong.push(`${c.name}, ${way.way}: ${failed}`);
      else for (const op of new Set(c.ops)) passed.set(op, (passed.get(op) ?? 0) + 1);
    }
    console.log(`of ${cases.length} cases, models: ${[...passed].map(([op, n]) => `${op} ${n}`).join(', ')}`);
    expect(wrong).toEqual([]);
    // Too new for this version of ONNX (Gelu: opset 20), or within a pattern only.
    const untested = Object.keys(ONNX_OPERATORS).filter((op) => !passed.has(op));
    expect(untested.sort()).toEqual(['Erf', 'Gelu', 'Sqrt']);
  });

  it('end with a code outside of the claims', async () => {
    const wrong: string[] = [];
    const reasons = new Map<string, number>();
    for (const [c, way] of ways((c, way) => !otherTypes(c, way) && outside(c, way) !== undefined)) {
      const code = await run(way).then(
        () => 'none',
        (error: unknown) => (error instanceof ThawError ? error.code : String(error)),
      );
      if (!/^ERR_(ONNX|ONNX_OPERATOR|SHAPE)$/.test(code)) wrong.push(`${c.name}, ${way.way}: ${code}`);
      const why = outside(c, way.way)!;
      reasons.set(why, (reasons.get(why) ?? 0) + 1);
    }
    console.log(`not claimed: ${[...reasons].map(([why, n]) => `${why} ${n}`).join('; ')}`);
    expect(wrong).toEqual([]);
  });

  it('of other types end with a code, or with a result', async () => {
    for (const [c, way] of ways(otherTypes)) {
      const error: unknown = await run(way).catch((e: unknown) => e);
      if (error instanceof Error) expect(error, c.name).toBeInstanceOf(ThawError);
    }
  });
});
