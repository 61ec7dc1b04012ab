/** Darknet's .cfg: sections [kind] of lines key=value. Source: github.com/AlexeyAB/darknet, `src/parser.c`. */
import type { ThawError } from '../errors.js';
import { fault } from './fault.js';

export interface Section {
  kind: string;
  /** Of the heading, from 1 on. */
  line: number;
  values: Map<string, string>;
}

const MAX_SECTIONS = 10_000;
const MAX_NUMBER = 1 << 24;

export function darknetFault(what: string, subject: string, received: unknown): ThawError {
  return fault('ERR_DARKNET', what, subject, received);
}

/** Throws ERR_DARKNET. */
export function parseCfg(text: string, path: string): Section[] {
  const sections: Section[] = [];
  text.split(/\r?\n/).forEach((raw, i) => {
    // Darknet drops all white space of a line.
    const line = raw.replace(/\s+/g, '');
    if (line === '' || line.startsWith('#') || line.startsWith(';')) return;
    const where = `line ${i + 1} of '${path}'`;
    if (line.startsWith('[')) {
      if (!line.endsWith(']') || sections.length >= MAX_SECTIONS)
        throw darknetFault('a section', where, line.slice(0, 80));
      sections.push({ kind: line.slice(1, -1).toLowerCase(), line: i + 1, values: new Map() });
      return;
    }
    const at = line.indexOf('=');
    if (at < 1 || sections.length === 0) throw darknetFault('key=value', where, line.slice(0, 80));
    const { values } = sections.at(-1)!;
    // The first of two equal keys is the one that Darknet finds.
    if (!values.has(line.slice(0, at))) values.set(line.slice(0, at), line.slice(at + 1));
  });
  if (sections[0]?.kind !== 'net' && sections[0]?.kind !== 'network')
    throw darknetFault('[net] at the beginning', `'${path}'`, sections[0] ? `[${sections[0].kind}]` : 'no section');
  return sections;
}

export function int(section: Section, key: string, usual: number, least = 0): number {
  const text = section.values.get(key);
  const value = text === undefined ? usual : Number(text);
  if (!Number.isInteger(value) || value < least || value > MAX_NUMBER)
    throw darknetFault(`a whole number of ${least} or more`, `${key} of ${place(section)}`, text ?? 'none');
  return value;
}

/** Numbers between commas. */
export function ints(section: Section, key: string): number[] {
  const parts = (section.values.get(key) ?? '').split(',').filter((part) => part !== '');
  const values = parts.map(Number);
  if (values.length === 0 || values.length > MAX_SECTIONS || !values.every(Number.isSafeInteger))
    throw darknetFault('whole numbers', `${key} of ${place(section)}`, parts.slice(0, 8).join(',') || 'none');
  return values;
}

export const place = ({ kind, line }: Section): string => `[${kind}] in line ${line}`;
