import { ThawError } from '../errors.js';
import type { Network } from '../network/network.js';

/** @throws ERR_NOTHING_TRAINABLE */
export function checkTrainable(net: Network): void {
  if (net.trainable.length > 0) return;
  const message =
    'expected something to train, received a network whose parameters are all frozen; unfreeze() some or replaceHead()';
  throw new ThawError('ERR_NOTHING_TRAINABLE', message);
}

/** A loss that is not finite, with the place where it came up. */
export function explained(error: unknown, where: string): unknown {
  if (!(error instanceof ThawError) || error.code !== 'ERR_LOSS_NOT_FINITE') return error;
  const advice = 'the network has the weights of the step before; a lower learningRate or clipNorm may help';
  return new ThawError(error.code, `${error.message} (${where}); ${advice}`, { cause: error });
}

export function isAbort(error: unknown): boolean {
  return (error as { code?: string }).code === 'ERR_ABORTED' || (error as Error).name === 'AbortError';
}
