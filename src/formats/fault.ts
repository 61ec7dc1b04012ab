import { describe, ThawError } from '../errors.js';

/** As `expected` of errors.ts, but a string received is a phrase of its own ('a directory'), not a value to quote. */
export function fault(code: string, what: string, subject: string, received: unknown): ThawError {
  const phrase = typeof received === 'string' ? received : describe(received);
  return new ThawError(code, `expected ${what} for ${subject}, received ${phrase}`);
}
