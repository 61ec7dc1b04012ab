import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { elements } from '../../src/formats/checkpoint.js';
import type { Initialiser } from '../../src/graph/types.js';
import { architectures, build } from '../../src/zoo/index.js';
import { hasTorch, python } from '../python.js';

interface Listed {
  name: string;
  shape: number[];
  parameter: boolean;
  mean: number;
  std: number;
}

/** Mean of what an initialiser draws. */
const average = (init: Initialiser): number => (init.kind === 'constant' ? init.value : init.kind === 'ones' ? 1 : 0);

/** Standard deviation of what an initialiser draws for a tensor of this shape; fans as PyTorch counts them. */
function deviation(init: Initialiser, shape: number[]): number {
  if (init.kind === 'normal') return init.std;
  if (init.kind === 'uniform') return init.bound / Math.sqrt(3);
  if (init.kind !== 'kaimingNormal' && init.kind !== 'kaimingUniform') return 0;
  const area = elements(shape.slice(2));
  return init.gain / Math.sqrt((init.fan === 'in' ? shape[1]! : shape[0]!) * area);
}

interface Pictures {
  resize: number;
  crop: number;
  interpolation: string;
  mean: number[];
  std: number[];
}

interface Listing {
  tensors: Listed[];
  /** null: torchvision has no such network. */
  pictures: Pictures | null;
}

/** Their weights want -1..1, which torchvision's networks make of ImageNet's mean and deviation (`transform_input`). */
const HALVES = { mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] };
const TRANSFORMED: Record<string, object> = { inception_v3: HALVES, googlenet: HALVES };

describe.skipIf(!hasTorch())("torchvision's networks", () => {
  let listing: Record<string, Listing> = {};
  beforeAll(() => {
    const script = fileURLToPath(new URL('../parity/names.py', import.meta.url));
    listing = JSON.parse(python(script, ...architectures())) as Record<string, Listing>;
  }, 300_000);

  it.each(architectures())('%s: same names, shapes, order of parameters, and start', (name) => {
    const { graph } = build(name, { auxiliary: true });
    const listed = listing[name]!.tensors;
    // torchvision registers a block's downsample behind its other layers, as the graph does.
    const shapes = (tensors: { name: string; shape: number[] }[]): unknown[] =>
      tensors.map((t) => [t.name, t.shape]).sort();
    expect(shapes(graph.parameters)).toEqual(shapes(listed.filter((t) => t.parameter)));
    expect(shapes(graph.states)).toEqual(shapes(listed.filter((t) => !t.parameter)));
    const torch = new Map(listed.map((t) => [t.name, t]));
    for (const { name: key, shape, init } of graph.parameters) {
      const { mean, std } = torch.get(key)!;
      const own = deviation(init, shape);
      expect(Math.abs(own - std), `${key} deviation`).toBeLessThanOrEqual(1e-6 * own);
      expect(Math.abs(average(init) - mean), `${key} mean`).toBeLessThanOrEqual(1e-6 * Math.abs(mean));
    }
  });

  it.each(architectures())('%s: shown pictures as the first published weights are', (name) => {
    const { pictures } = listing[name]!;
    if (pictures) expect(build(name).preprocessing).toMatchObject({ ...pictures, ...TRANSFORMED[name] });
    else expect(name).toMatch(/^(cifar_|mobilenet_v1|darknet)/);
  });
});
