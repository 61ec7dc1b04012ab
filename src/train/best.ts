import type { Network } from '../network/network.js';
import { BEST } from './update.js';

/** The best weights of a run, kept in the core beside the present ones as `best/<name>`. */
export class BestWeights {
  constructor(readonly net: Network) {}

  /** Copies the present values of these tensors. */
  async keep(names: readonly string[]): Promise<void> {
    if (names.length === 0) return;
    await this.net.session.submit('copy', { from: names, to: names.map((name) => BEST + name) });
  }

  /** Puts the kept values in place of the present ones and forgets them. */
  async restore(): Promise<void> {
    const kept = await this.#kept();
    if (kept.length === 0) return;
    await this.net.session.submit('copy', { from: kept, to: kept.map((name) => name.slice(BEST.length)) });
    await this.drop();
  }

  async drop(): Promise<void> {
    const names = await this.#kept();
    if (names.length > 0) await this.net.session.submit('drop', { names });
  }

  async #kept(): Promise<string[]> {
    return (await this.net.store.list()).map(({ name }) => name).filter((name) => name.startsWith(BEST));
  }
}
