import { expected, ThawError } from '../errors.js';
import type { StorageDType } from '../formats/types.js';
import type { ParameterDescription } from '../graph/types.js';
import type { NativeSession } from '../native.js';
import { arrayOf, checkedTensor, STORAGE } from './tensors.js';
import type { Tensor } from './types.js';

export interface StoredTensor {
  name: string;
  dtype: StorageDType;
  shape: number[];
  modified: boolean;
}

/** What the trainer keeps under a parameter's name; of no use once the parameter has another shape. */
const COMPANIONS = ['optimizer/momentum/', 'optimizer/first/', 'optimizer/second/', 'optimizer/steps/', 'origin/'];

/**
 * The weights of one network, held by the core. Edits need not be awaited, so that methods that change the graph are
 * synchronous: every other access waits for them, and reports their failure.
 */
export class Store {
  #edits: Promise<void> = Promise.resolve();

  constructor(readonly session: NativeSession) {}

  /** Resolves when all queued edits are done. */
  settled(): Promise<void> {
    return this.#edits;
  }

  /**
   * Drops tensors, with what training kept for them, and draws new ones. Both commands are queued at once, so whatever is
   * submitted afterwards sees the new tensors.
   */
  replace(dropped: string[], initialised: ParameterDescription[], seed: number): void {
    const names = dropped.flatMap((name) => [name, ...COMPANIONS.map((prefix) => prefix + name)]);
    const drop = names.length > 0 ? this.session.submit('drop', { names }) : undefined;
    const done = Promise.all([this.#edits, drop, this.#initialise(initialised, seed)]);
    this.#edits = done.then(() => undefined);
    // The failure reaches whoever waits for the edits; until then it is not an unhandled one.
    this.#edits.catch(() => undefined);
  }

  async list(signal?: AbortSignal): Promise<StoredTensor[]> {
    await this.settled();
    return this.#list(signal);
  }

  async initialise(tensors: ParameterDescription[], seed: number, signal?: AbortSignal): Promise<void> {
    await this.settled();
    await this.#initialise(tensors, seed, signal);
  }

  /** @throws ERR_NO_TENSOR */
  async get(name: string, signal?: AbortSignal): Promise<Tensor> {
    await this.settled();
    const stored = (await this.#list(signal)).find((tensor) => tensor.name === name);
    if (!stored) throw expected('ERR_NO_TENSOR', 'the name of a tensor', 'tensor', name);
    const floating = ['F64', 'F32', 'F16', 'BF16'].includes(stored.dtype);
    const request = { names: [name], as: floating ? 'f32' : 'loaded' };
    const { reply, buffers } = await this.session.submit('get', request, [], options(signal));
    const { dtype, shape } = (reply as { tensors: StoredTensor[] }).tensors[0]!;
    return { data: arrayOf(dtype, buffers[0]!), shape };
  }

  /** @throws ERR_SHAPE, ERR_DTYPE */
  async put(
    described: { name: string; shape: number[]; dtype: ParameterDescription['dtype'] },
    tensor: Tensor,
  ): Promise<void> {
    const { name, dtype } = described;
    const { data, shape } = checkedTensor(name, dtype, tensor);
    if (shape.length !== described.shape.length || shape.some((size, i) => size !== described.shape[i])) {
      throw new ThawError(
        'ERR_SHAPE',
        `expected [${described.shape.join(', ')}] for tensor '${name}', received [${shape.join(', ')}]`,
      );
    }
    await this.settled();
    await this.session.submit('put', { tensors: [{ name, dtype: STORAGE[dtype], shape }] }, [data]);
  }

  async #list(signal?: AbortSignal): Promise<StoredTensor[]> {
    const { reply } = await this.session.submit('list', {}, [], options(signal));
    return (reply as { tensors: StoredTensor[] }).tensors;
  }

  async #initialise(tensors: ParameterDescription[], seed: number, signal?: AbortSignal): Promise<void> {
    if (tensors.length === 0) return;
    const drawn = tensors.map(({ name, dtype, shape, init }) => ({ name, dtype: STORAGE[dtype], shape, init }));
    await this.session.submit('initialise', { tensors: drawn, seed }, [], options(signal));
  }
}

const options = (signal?: AbortSignal): { signal?: AbortSignal } => (signal ? { signal } : {});
