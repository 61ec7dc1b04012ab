/** Pictures of training as SVG text: curves and confusion matrices. No dependency, no script, readable in both colour schemes. */

/** A line of a chart: y over x. Points that are not finite are left out. */
export interface Series {
  name: string;
  points: readonly (readonly [x: number, y: number])[];
  dashed?: boolean;
}

export interface ChartOptions {
  title: string;
  xLabel?: string;
  yLabel?: string;
  /** Size in pixels. Default 480 x 300. */
  width?: number;
  height?: number;
  /** Ends of the vertical axis. Default: those of the data. */
  range?: readonly [low: number, high: number];
}

/** Told apart by most people with any colour vision (Okabe and Ito 2008). */
const COLOURS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9'];
const INK = '#555';
const GRID = '#ddd';

/** Text made safe for XML, attribute values included. */
export function escapeXml(text: string): string {
  const names: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
  return text.replace(/[&<>"']/g, (character) => names[character]!);
}

/** Curves over a common horizontal axis, with a grid, ticks and a legend. */
export function chartSvg(series: readonly Series[], options: ChartOptions): string {
  const { title, width = 480, height = 300 } = options;
  const all = series.flatMap(({ points }) => points.filter(finite));
  const frame = { left: 56, right: width - 16, top: 36, bottom: height - 66 };
  const xs = axis(extent(all.map(([x]) => x)), frame.left, frame.right);
  const ys = axis(options.range ?? extent(all.map(([, y]) => y)), frame.bottom, frame.top);
  const lines = series.map((line, i) => curve(line, i, xs.at, ys.at));
  const parts = [
    text(width / 2, 20, title, 'middle', 'font-weight="bold"'),
    ...ys.ticks.map(
      (y) => rule(frame.left, ys.at(y), frame.right, ys.at(y)) + text(frame.left - 6, ys.at(y) + 4, label(y), 'end'),
    ),
    ...xs.ticks.map((x) => text(xs.at(x), frame.bottom + 16, label(x), 'middle')),
    text((frame.left + frame.right) / 2, frame.bottom + 32, options.xLabel ?? '', 'middle'),
    `<g transform="translate(14 ${(frame.top + frame.bottom) / 2}) rotate(-90)">${text(0, 0, options.yLabel ?? '', 'middle')}</g>`,
    ...lines,
    ...legend(series, frame.left, height - 12, width),
  ];
  return svg(width, height, title, parts);
}

type Point = readonly [number, number];
const finite = ([x, y]: Point): boolean => Number.isFinite(x) && Number.isFinite(y);

function curve({ points, dashed }: Series, i: number, x: (v: number) => number, y: (v: number) => number): string {
  const shown = points.filter(finite);
  const colour = COLOURS[i % COLOURS.length]!;
  if (shown.length === 1)
    return `<circle cx="${at(x(shown[0]![0]))}" cy="${at(y(shown[0]![1]))}" r="3" fill="${colour}"/>`;
  const path = shown.map((p) => `${at(x(p[0]))},${at(y(p[1]))}`).join(' ');
  const dash = dashed ? ' stroke-dasharray="6 4"' : '';
  return `<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="2"${dash}/>`;
}

function legend(series: readonly Series[], left: number, y: number, width: number): string[] {
  const step = (width - left) / Math.max(1, series.length);
  return series.map(({ name, dashed }, i) => {
    const x = left + i * step;
    const dash = dashed ? ' stroke-dasharray="6 4"' : '';
    const mark = `<line x1="${at(x)}" y1="${y - 4}" x2="${at(x + 22)}" y2="${y - 4}" stroke="${COLOURS[i % COLOURS.length]}" stroke-width="2"${dash}/>`;
    return mark + text(x + 28, y, name, 'start');
  });
}

function extent(values: readonly number[]): [number, number] {
  if (values.length === 0) return [0, 1];
  const low = values.reduce((a, b) => Math.min(a, b));
  const high = values.reduce((a, b) => Math.max(a, b));
  return low === high ? [low - 0.5, high + 0.5] : [low, high];
}

/** A linear scale from values to pixels, with about five round ticks. */
function axis([low, high]: readonly [number, number], from: number, to: number) {
  const raw = (high - low) / 5;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * ([1, 2, 5].find((m) => m * power >= raw) ?? 10);
  const first = Math.ceil(low / step - 1e-9);
  const count = Math.max(0, Math.floor(high / step + 1e-9) - first + 1);
  const ticks = Array.from({ length: count }, (_, i) => (first + i) * step);
  return { ticks, at: (value: number): number => from + ((value - low) / (high - low)) * (to - from) };
}

/** Counts of predictions: rows are true labels, columns predicted ones, shaded by the share of their row. */
export function confusionSvg(
  confusion: readonly (readonly number[])[],
  labels: readonly string[],
  title = 'Confusion',
): string {
  const cell = confusion.length > 12 ? 26 : 44;
  const longest = labels.reduce((most, name) => Math.max(most, name.length), 0);
  const margin = 24 + 7 * Math.min(24, longest);
  const side = margin + cell * confusion.length + 16;
  const name = (i: number): string => shortened(labels[i] ?? String(i));
  const middle = (i: number): number => margin + cell * (i + 0.5);
  const parts = confusion.flatMap((counts, row) => [
    text(margin - 6, 40 + middle(row) + 4, name(row), 'end'),
    `<g transform="translate(${middle(row) + 4} ${34 + margin}) rotate(-90)">${text(0, 0, name(row), 'start')}</g>`,
    ...counts.map((count, column) => square(margin + cell * column, 40 + margin + cell * row, cell, count, counts)),
  ]);
  const head = [
    text(side / 2, 18, title, 'middle', 'font-weight="bold"'),
    text(side / 2, 34, 'rows: true, columns: predicted', 'middle'),
  ];
  return svg(side, side + 40, title, [...head, ...parts]);
}

function square(x: number, y: number, cell: number, count: number, row: readonly number[]): string {
  const total = row.reduce((a, b) => a + b, 0);
  const share = total === 0 ? 0 : count / total;
  const box = `<rect x="${x}" y="${y}" width="${cell}" height="${cell}" fill="#0072b2" fill-opacity="${at(share)}" stroke="${GRID}"/>`;
  const colour = share > 0.5 ? '#fff' : INK;
  return box + text(x + cell / 2, y + cell / 2 + 4, String(count), 'middle', '', colour);
}

const shortened = (name: string): string => (name.length > 24 ? `${name.slice(0, 23)}…` : name);

/** A number for an attribute: two decimals at most. */
const at = (value: number): string => String(Math.round(value * 100) / 100);

const label = (value: number): string => String(Number(value.toPrecision(6)));

function rule(x1: number, y1: number, x2: number, y2: number): string {
  return `<line x1="${at(x1)}" y1="${at(y1)}" x2="${at(x2)}" y2="${at(y2)}" stroke="${GRID}"/>`;
}

function text(x: number, y: number, content: string, anchor: string, more = '', colour = INK): string {
  if (content === '') return '';
  return `<text x="${at(x)}" y="${at(y)}" text-anchor="${anchor}" fill="${colour}" ${more}>${escapeXml(content)}</text>`;
}

function svg(width: number, height: number, title: string, parts: readonly string[]): string {
  const open = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${at(width)} ${at(height)}" width="${at(width)}" height="${at(height)}"`;
  const look = 'font-family="system-ui, sans-serif" font-size="12" role="img" style="background:#fff"';
  return `${open} ${look} aria-label="${escapeXml(title)}">\n${parts.filter(Boolean).join('\n')}\n</svg>`;
}
