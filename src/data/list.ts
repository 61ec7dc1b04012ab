/**
 * Lists of pictures: CSV (comma, semicolon or tab, told by the first line; quotes as in RFC 4180) or JSON lines.
 * Columns: `file` (or `file_name`, `path`), one of `label` | `labels` (`|` between them) | `target`, `target_…`
 * (numbers), and optionally `split`.
 */
import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';

import { ThawError, expected } from '../errors.js';
import { type Part, partOf } from './names.js';
import type { HeadKind } from './types.js';

export interface ListedPicture {
  /** Absolute. */
  file: string;
  /** As the list has it. */
  key: string;
  part: Part;
  /** One label, several, or numbers, by the kind of the list. */
  labels: string[];
  numbers: number[];
  line: number;
}

export interface PictureList {
  kind: HeadKind;
  targetNames: string[];
  /** Did any row say to which part it belongs? */
  split: boolean;
  entries: ListedPicture[];
}

type Cell = string | number | (string | number)[] | undefined;
interface Record_ {
  line: number;
  cells: Map<string, Cell>;
}

const listError = (path: string, line: number, message: string): ThawError =>
  new ThawError('ERR_LIST', `${path}, line ${line}: ${message}`);

/** Splits text into records of fields; a quoted field may hold delimiters, line ends and doubled quotes. */
function* csvRecords(text: string, delimiter: string, path: string): Generator<{ line: number; fields: string[] }> {
  let [fields, field, line, start, at]: [string[], string, number, number, number] = [[], '', 1, 1, 0];
  while (at < text.length) {
    const character = text[at]!;
    if (character === '"' && field === '') {
      for (at++; ; at++) {
        if (at >= text.length) throw listError(path, start, 'expected a closing quote, received the end of the file');
        if (text[at] === '\n') line++;
        if (text[at] !== '"') field += text[at];
        else if (text[at + 1] === '"') field += text[at++];
        else break;
      }
      at++;
    } else if (character === delimiter) {
      fields.push(field);
      field = '';
      at++;
    } else if (character === '\n') {
      yield { line: start, fields: [...fields, field] };
      [fields, field, start] = [[], '', ++line];
      at++;
    } else {
      if (character !== '\r' || text[at + 1] !== '\n') field += character;
      at++;
    }
  }
  if (fields.length > 0 || field !== '') yield { line: start, fields: [...fields, field] };
}

function readCsv(text: string, path: string): Record_[] {
  const firstLine = text.slice(0, text.indexOf('\n') >>> 0);
  const delimiter = ['\t', ';', ','].find((candidate) => firstLine.includes(candidate)) ?? ',';
  const records = csvRecords(text, delimiter, path);
  const first = records.next();
  const header = first.done ? [] : first.value.fields.map((name) => name.trim());
  const result: Record_[] = [];
  for (const { line, fields } of records) {
    if (fields.every((value) => value.trim() === '')) continue;
    if (fields.length !== header.length) {
      throw listError(path, line, `expected ${header.length} fields as in the first line, received ${fields.length}`);
    }
    result.push({ line, cells: new Map(header.map((name, i) => [name, fields[i]!.trim()])) });
  }
  return result;
}

function readJsonLines(text: string, path: string): Record_[] {
  return text.split('\n').flatMap((content, i): Record_[] => {
    if (content.trim() === '') return [];
    let value: unknown;
    try {
      value = JSON.parse(content);
    } catch (cause) {
      throw listError(path, i + 1, `expected a JSON object, received ${(cause as Error).message}`);
    }
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw listError(path, i + 1, 'expected a JSON object');
    }
    const cells = Object.entries(value).filter(([, cell]) => cell !== null) as [string, Cell][];
    return [{ line: i + 1, cells: new Map(cells) }];
  });
}

interface Columns {
  kind: HeadKind;
  file: string;
  targets: string[];
  split: string | undefined;
}

function findColumns(names: readonly string[], path: string): Columns {
  const file = ['file', 'file_name', 'path'].find((name) => names.includes(name));
  if (!file) throw expected('ERR_LIST', "a column 'file'", path, `columns ${names.join(', ')}`);
  const targets = names.filter((name) => name === 'target' || name.startsWith('target_'));
  const kinds = [
    names.includes('label') && 'single',
    names.includes('labels') && 'multi',
    targets.length > 0 && 'regression',
  ];
  const found = kinds.filter((kind): kind is HeadKind => kind !== false);
  if (found.length !== 1) {
    throw expected(
      'ERR_LIST',
      "one of the columns 'label', 'labels' and 'target'",
      path,
      `columns ${names.join(', ')}`,
    );
  }
  return { kind: found[0]!, file, targets, split: ['split', 'part'].find((name) => names.includes(name)) };
}

const asList = (cell: Cell, separator: string): (string | number)[] => {
  if (Array.isArray(cell)) return cell;
  return typeof cell === 'string' ? cell.split(separator) : cell === undefined ? [] : [cell];
};

const labelsOf = (cell: Cell, separator?: string): string[] => {
  const values = separator === undefined ? (cell === undefined ? [] : [cell]) : asList(cell, separator);
  return values.map((value) => String(value).trim()).filter((value) => value !== '');
};

function numbersOf(record: Record_, columns: Columns, path: string): number[] {
  return columns.targets.flatMap((name) => {
    const values = asList(record.cells.get(name), '|').map((value) => (value === '' ? NaN : Number(value)));
    if (values.length > 0 && values.every(Number.isFinite)) return values;
    throw listError(
      path,
      record.line,
      `expected a number in column '${name}', received '${record.cells.get(name) ?? ''}'`,
    );
  });
}

function readEntry(record: Record_, columns: Columns, path: string): ListedPicture {
  const key = record.cells.get(columns.file);
  if (typeof key !== 'string' || key === '')
    throw listError(path, record.line, `expected a path in column '${columns.file}'`);
  const { kind } = columns;
  const labels =
    kind === 'single'
      ? labelsOf(record.cells.get('label'))
      : kind === 'multi'
        ? labelsOf(record.cells.get('labels'), '|')
        : [];
  if (kind === 'single' && labels.length !== 1)
    throw listError(path, record.line, "expected a label in column 'label', received none");
  const word = columns.split === undefined ? '' : String(record.cells.get(columns.split) ?? '');
  const part = word === '' ? 'train' : partOf(word);
  if (!part)
    throw listError(path, record.line, `expected train, val or test in column '${columns.split}', received '${word}'`);
  const numbers = kind === 'regression' ? numbersOf(record, columns, path) : [];
  return { file: resolve(dirname(path), key), key, part, labels: [...new Set(labels)], numbers, line: record.line };
}

/** Reads a list; paths in it are relative to its folder, or absolute. Throws ERR_LIST with the line, ERR_FILE_READ. */
export async function readList(path: string): Promise<PictureList> {
  let text: string;
  try {
    text = (await readFile(path, 'utf8')).replace(/^\ufeff/, '');
  } catch (cause) {
    throw new ThawError('ERR_FILE_READ', `cannot read ${path}: ${(cause as Error).message}`, { cause });
  }
  const records = text.trimStart().startsWith('{') ? readJsonLines(text, path) : readCsv(text, path);
  if (records.length === 0) throw expected('ERR_LIST', 'at least one picture', path, 'none');
  const names = [...new Set(records.flatMap(({ cells }) => [...cells.keys()]))];
  const columns = findColumns(names, path);
  const entries = records.map((record) => readEntry(record, columns, path));
  const size = entries[0]!.numbers.length;
  const uneven = entries.find(({ numbers }) => numbers.length !== size);
  if (uneven)
    throw listError(
      path,
      uneven.line,
      `expected ${size} numbers as in the lines before, received ${uneven.numbers.length}`,
    );
  const single = columns.targets.length === size;
  const targetNames = single ? columns.targets : Array.from({ length: size }, (_, i) => `target ${i}`);
  const split = columns.split !== undefined && entries.some(({ part }) => part !== 'train');
  return { kind: columns.kind, targetNames, split, entries };
}
