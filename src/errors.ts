/** Every error that thaw throws on purpose: `code` is stable and listed in docs/errors.md. */
export class ThawError extends Error {
  readonly code: string;

  constructor(code: string, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'ThawError';
    this.code = code;
  }
}

/** An error of the usual form: "expected … for …, received …". */
export function expected(code: string, what: string, subject: string, received: unknown): ThawError {
  return new ThawError(code, `expected ${what} for ${subject}, received ${describe(received)}`);
}

/** A short, safe rendering of any value for an error sentence. */
export function describe(value: unknown): string {
  if (typeof value === 'string') return value.length > 80 ? `'${value.slice(0, 77)}…'` : `'${value}'`;
  if (Array.isArray(value)) return `[${value.slice(0, 8).map(describe).join(', ')}${value.length > 8 ? ', …' : ''}]`;
  if (typeof value === 'function') return `function ${value.name || '(anonymous)'}`;
  if (value !== null && typeof value === 'object') return value.constructor?.name ?? 'object';
  return String(value);
}
