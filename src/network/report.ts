import { textTable } from '../report/text.js';

/** One tensor in a report. */
export interface TensorReport {
  name: string;
  /** Shape in the network. */
  expected?: number[];
  /** Shape in the file, or in the head that was replaced. */
  received?: number[];
  /** What was done about it, or why. */
  note?: string;
}

const shape = (dimensions: number[] | undefined): string => (dimensions ? `[${dimensions.join(', ')}]` : '–');

/** What became of each tensor: nothing about weights is silent. */
export class LoadReport {
  /** Taken from the file as they are. */
  readonly loaded: TensorReport[] = [];
  /** In the file (or the old head), but not in the network. */
  readonly dropped: TensorReport[] = [];
  /** In the network, but drawn anew. */
  readonly initialised: TensorReport[] = [];
  /** In both, with different shapes; `note` says what was done. */
  readonly mismatched: TensorReport[] = [];

  /** What else was done with a network that came with its own graph, and where its classifier was found. */
  readonly notes: string[] = [];

  /** A table: a line a tensor, those that were simply loaded summed up in one. */
  toString(): string {
    const rows = (['dropped', 'initialised', 'mismatched'] as const).flatMap((what) =>
      this[what].map((t) => [what, t.name, shape(t.expected), shape(t.received), t.note ?? '']),
    );
    const summary = `${this.loaded.length} loaded, ${this.dropped.length} dropped, ${this.initialised.length} initialised, ${this.mismatched.length} mismatched`;
    const lines = [summary, ...this.notes];
    if (rows.length > 0) lines.push(textTable([['', 'tensor', 'network', 'file', ''], ...rows]));
    return lines.join('\n');
  }
}
