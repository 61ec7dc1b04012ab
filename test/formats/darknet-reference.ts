/** A Darknet network in double precision, written apart from the product: plain loops over the sections of a .cfg. */
import { readFileSync } from 'node:fs';

interface Map3 {
  c: number;
  h: number;
  w: number;
  data: Float64Array;
}

type Section = { kind: string; get: (key: string, usual: number) => number; text: Record<string, string> };

function sections(file: string): Section[] {
  const found: Section[] = [];
  for (const raw of readFileSync(file, 'utf8').split('\n')) {
    const line = raw.replace(/\s/g, '');
    if (line.startsWith('[')) {
      const text: Record<string, string> = {};
      found.push({ kind: line.slice(1, -1), text, get: (key, usual) => Number(text[key] ?? usual) });
    } else if (line.includes('=') && !line.startsWith('#'))
      found.at(-1)!.text[line.split('=')[0]!] ??= line.split('=')[1]!;
  }
  return found;
}

const blank = (c: number, h: number, w: number): Map3 => ({ c, h, w, data: new Float64Array(c * h * w) });

function convolve(x: Map3, s: Section, next: (n: number) => Float64Array): Map3 {
  const [n, k, stride, groups] = [s.get('filters', 1), s.get('size', 1), s.get('stride', 1), s.get('groups', 1)];
  const pad = s.get('pad', 0) ? Math.floor(k / 2) : s.get('padding', 0);
  const bias = next(n);
  const norm = s.get('batch_normalize', 0) ? { gamma: next(n), mean: next(n), variance: next(n) } : null;
  const per = x.c / groups;
  const weight = next(n * per * k * k);
  const y = blank(n, Math.floor((x.h + 2 * pad - k) / stride) + 1, Math.floor((x.w + 2 * pad - k) / stride) + 1);
  for (let o = 0; o < n; o++) {
    const from = Math.floor(o / (n / groups)) * per;
    for (let i = 0; i < per; i++)
      for (let ky = 0; ky < k; ky++)
        for (let kx = 0; kx < k; kx++) {
          const f = weight[((o * per + i) * k + ky) * k + kx]!;
          for (let r = 0; r < y.h; r++) {
            const row = r * stride + ky - pad;
            if (row < 0 || row >= x.h) continue;
            for (let q = 0; q < y.w; q++) {
              const column = q * stride + kx - pad;
              if (column < 0 || column >= x.w) continue;
              y.data[(o * y.h + r) * y.w + q]! += f * x.data[((from + i) * x.h + row) * x.w + column]!;
            }
          }
        }
    for (let p = o * y.h * y.w; p < (o + 1) * y.h * y.w; p++) {
      let v = y.data[p]!;
      v = norm ? ((v - norm.mean[o]!) / Math.sqrt(norm.variance[o]! + 1e-5)) * norm.gamma[o]! + bias[o]! : v + bias[o]!;
      const kind = s.text.activation;
      y.data[p] = kind === 'relu' ? Math.max(v, 0) : kind === 'leaky' && v < 0 ? 0.1 * v : v;
    }
  }
  return y;
}

function pooled(x: Map3, s: Section): Map3 {
  const [stride, k] = [s.get('stride', 1), s.get('size', s.get('stride', 1))];
  const before = Math.floor((k - 1) / 2);
  const y = blank(x.c, Math.floor((x.h - 1) / stride) + 1, Math.floor((x.w - 1) / stride) + 1);
  for (let c = 0; c < x.c; c++)
    for (let r = 0; r < y.h; r++)
      for (let q = 0; q < y.w; q++) {
        let best = -Infinity;
        for (let i = r * stride - before; i < r * stride - before + k; i++)
          for (let j = q * stride - before; j < q * stride - before + k; j++)
            if (i >= 0 && j >= 0 && i < x.h && j < x.w) best = Math.max(best, x.data[(c * x.h + i) * x.w + j]!);
        y.data[(c * y.h + r) * y.w + q] = best;
      }
  return y;
}

function enlarged(x: Map3, by: number): Map3 {
  const y = blank(x.c, x.h * by, x.w * by);
  for (let c = 0; c < x.c; c++)
    for (let r = 0; r < y.h; r++)
      for (let q = 0; q < y.w; q++)
        y.data[(c * y.h + r) * y.w + q] = x.data[(c * x.h + Math.floor(r / by)) * x.w + Math.floor(q / by)]!;
  return y;
}

function joined(maps: Map3[]): Map3 {
  const y = blank(
    maps.reduce((sum, { c }) => sum + c, 0),
    maps[0]!.h,
    maps[0]!.w,
  );
  let at = 0;
  for (const { data } of maps) {
    y.data.set(data, at);
    at += data.length;
  }
  return y;
}

/** What the detection layers read, for one picture [c, h, w] of the network's size. */
export function darknetReference(cfg: string, weights: string, picture: Float32Array): Float64Array[] {
  const [net, ...layers] = sections(cfg);
  const bytes = readFileSync(weights);
  let at = 20;
  const next = (n: number): Float64Array => {
    const values = Float64Array.from({ length: n }, (_, i) => bytes.readFloatLE(at + 4 * i));
    at += 4 * n;
    return values;
  };
  let x: Map3 = {
    c: net!.get('channels', 3),
    h: net!.get('height', 0),
    w: net!.get('width', 0),
    data: Float64Array.from(picture),
  };
  const made: Map3[] = [];
  const outputs: Float64Array[] = [];
  const find = (text: string): Map3 => made[Number(text) < 0 ? made.length + Number(text) : Number(text)]!;
  for (const s of layers) {
    if (s.kind === 'convolutional') x = convolve(x, s, next);
    else if (s.kind === 'maxpool') x = pooled(x, s);
    else if (s.kind === 'upsample') x = enlarged(x, s.get('stride', 2));
    else if (s.kind === 'route') x = joined(s.text.layers!.split(',').map(find));
    else if (s.kind === 'shortcut') x = { ...x, data: x.data.map((v, i) => v + find(s.text.from!).data[i]!) };
    else if (s.kind === 'yolo') outputs.push(x.data);
    else throw new Error(`no ${s.kind} here`);
    made.push(x);
  }
  if (at !== bytes.length) throw new Error('weights are left over');
  return outputs;
}
