import type { GraphDescription } from '../graph/types.js';
import type { NativeSession, Precision } from '../native.js';
import type { LoadReport } from './report.js';
import type { HeadDescription, Preprocessing } from './types.js';

/** What a network is made of; `Network` says what each means. */
export interface NetworkParts {
  name: string;
  architecture: { name: string; config: Record<string, unknown> } | null;
  graph: GraphDescription;
  head: HeadDescription;
  labels: string[] | null;
  labelsSource: 'file' | 'given' | 'index';
  preprocessing: Preprocessing | null;
  layers: string[];
  input: { channels: number; height: number; width: number } | null;
  session: NativeSession;
  report: LoadReport;
  seed: number;
  precision: Precision | 'auto';
  aliases: Record<string, string>;
  frozen: Iterable<string>;
  statistics: Iterable<string>;
}
