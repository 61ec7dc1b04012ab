import { isOfType } from './tensors.js';
import type { CachedRows, NextBatch, Plan, Tensor, TypedArray } from './types.js';

/** The arrays that a plan takes, by input, and the rows that it takes from a cache. */
interface Taken {
  arrays: Map<string, TypedArray>;
  rows: CachedRows | undefined;
}

/** How the core is told of a batch that comes next, and the arrays that travel beside it. */
export interface Announcement {
  next: { ticket: number; inputs: string[]; cacheRead?: CachedRows };
  arrays: TypedArray[];
}

/**
 * Batches that are on their way to a GPU while it computes the one before. A run takes the batch after it along; the run
 * of that batch names its ticket, and gives the batch as well, for the core may not have been able to bring it.
 */
export class Staging {
  /** What the last run of each plan took along. */
  readonly #brought = new WeakMap<Plan, { ticket: number; taken: Taken }>();
  #last = 0;

  /** The ticket of this batch, if it was brought; it holds once. */
  ticket(plan: Plan, arrays: ReadonlyMap<string, TypedArray>, rows: CachedRows | undefined): number | undefined {
    const brought = this.#brought.get(plan);
    this.#brought.delete(plan);
    return brought && same(brought.taken, { arrays: new Map(arrays), rows }) ? brought.ticket : undefined;
  }

  /** A batch to take along; undefined on a processor, or where it is none that this plan computes. */
  announce(plan: Plan, next: NextBatch | undefined): Announcement | undefined {
    const taken = plan.isa === 'cuda' && next && takenFrom(plan, next);
    if (!taken) return undefined;
    const ticket = ++this.#last;
    this.#brought.set(plan, { ticket, taken });
    const { arrays, rows } = taken;
    return {
      next: { ticket, inputs: [...arrays.keys()], ...(rows && { cacheRead: rows }) },
      arrays: [...arrays.values()],
    };
  }
}

/** What the plan would take of the batch; undefined where that is not all it needs, or of another shape. */
function takenFrom(plan: Plan, { inputs, cacheRead }: NextBatch): Taken | undefined {
  const arrays = new Map<string, TypedArray>();
  for (const { name, dtype, shape } of plan.inputs) {
    const tensor = inputs[name];
    if (!tensor && cacheRead) continue;
    if (!tensor || !sameShape(tensor, shape) || !isOfType(dtype, tensor)) return undefined;
    arrays.set(name, tensor.data);
  }
  return { arrays, rows: cacheRead };
}

const sameShape = ({ shape }: Tensor, wanted: readonly number[]): boolean => shape.join() === wanted.join();

function same(one: Taken, other: Taken): boolean {
  if (one.arrays.size !== other.arrays.size) return false;
  for (const [name, array] of one.arrays) if (other.arrays.get(name) !== array) return false;
  const [a, b] = [one.rows, other.rows];
  if (!a || !b) return a === b;
  return a.cache === b.cache && a.keys.length === b.keys.length && a.keys.every((key, i) => key === b.keys[i]);
}
