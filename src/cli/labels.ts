import { existsSync, readFileSync } from 'node:fs';
import { UsageError } from './flags.js';

/**
 * Labels as the command line takes them: 'a,b,c', or a file with one label a line, a JSON array, or a JSON object from
 * indices to labels.
 */
export function readLabels(given: string | undefined): string[] | undefined {
  if (given === undefined) return undefined;
  if (!existsSync(given)) {
    if (!given.includes(',')) throw new UsageError(`expected a file or a list 'a,b' for --labels, received '${given}'`);
    return given.split(',').map((label) => label.trim());
  }
  const content = readFileSync(given, 'utf8').replace(/^\uFEFF/, '');
  if (/^\s*[[{]/.test(content)) {
    const parsed: unknown = JSON.parse(content);
    const labels = Array.isArray(parsed) ? parsed : ordered(parsed as Record<string, unknown>);
    return labels.map((label) => (Array.isArray(label) ? String(label.at(-1)) : String(label)));
  }
  return content.split(/\r?\n/).filter((line) => line.trim() !== '');
}

/** {"0": …, "1": …} in the order of the numbers. */
function ordered(object: Record<string, unknown>): unknown[] {
  return Object.entries(object)
    .sort(([a], [b]) => Number(a) - Number(b))
    .map(([, value]) => value);
}
