/** Text for terminals: aligned tables, numbers at a readable length. */

/** Rows in aligned columns, two spaces apart; columns of numbers (by index, in `right`) are aligned to the right. */
export function textTable(rows: readonly (readonly string[])[], right: readonly number[] = []): string {
  const columns = Math.max(0, ...rows.map((row) => row.length));
  const widths = Array.from({ length: columns }, (_, c) => Math.max(...rows.map((row) => (row[c] ?? '').length)));
  const cell = (text: string, c: number): string =>
    right.includes(c) ? text.padStart(widths[c]!) : text.padEnd(widths[c]!);
  return rows.map((row) => row.map(cell).join('  ').trimEnd()).join('\n');
}

/** Four significant digits, without an exponent from 0.0001 to 1e7. */
export function shortNumber(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  const size = Math.abs(value);
  if (value === 0 || (size >= 1e-4 && size < 1e7))
    return String(Number(value.toPrecision(size >= 1e4 ? Math.ceil(Math.log10(size)) : 4)));
  return value.toExponential(2);
}

/** A share as a percentage with one decimal. */
export function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

/** '850 ms', '12.3 s', '4 min 05 s', '1 h 02 min'. */
export function duration(seconds: number): string {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const two = (n: number): string => String(n).padStart(2, '0');
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
  return `${Math.floor(whole / 3600)} h ${two(Math.floor((whole % 3600) / 60))} min`;
}

/** A bar of `width` characters for a share from 0 to 1. */
export function bar(share: number, width = 20): string {
  const full = Math.round(Math.min(1, Math.max(0, share)) * width);
  return '█'.repeat(full) + '░'.repeat(width - full);
}
