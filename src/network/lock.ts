import { ThawError } from '../errors.js';
import type { NetworkLock } from './types.js';

/** Who has a network for a fit, and whether marks may change just now. */
export class Gate {
  #held: { who: string; open: boolean } | null = null;

  get holder(): string | null {
    return this.#held?.who ?? null;
  }

  take(who: string): NetworkLock {
    this.assertFree(`start ${who}`);
    const held = { who, open: false };
    this.#held = held;
    return {
      open: () => void (held.open = true),
      close: () => void (held.open = false),
      release: () => {
        if (this.#held === held) this.#held = null;
      },
    };
  }

  /** @throws ERR_NETWORK_BUSY */
  assertFree(action: string): void {
    if (this.#held) throw busy(action, this.#held.who, '');
  }

  /** @throws ERR_NETWORK_BUSY */
  assertMarkable(): void {
    if (this.#held && !this.#held.open)
      throw busy('freeze or unfreeze', this.#held.who, ', or do it at the end of an epoch');
  }
}

function busy(action: string, who: string, otherwise: string): ThawError {
  return new ThawError('ERR_NETWORK_BUSY', `cannot ${action} while ${who} runs: wait for it to end${otherwise}`);
}
