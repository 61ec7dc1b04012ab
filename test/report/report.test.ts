import { describe, expect, it } from 'vitest';
import { htmlPage } from '../../src/report/page.js';
import { chartSvg, confusionSvg, escapeXml } from '../../src/report/svg.js';
import { bar, duration, percent, shortNumber, textTable } from '../../src/report/text.js';

/** Every tag that is opened is closed, in order. */
function wellFormed(xml: string): boolean {
  const open: string[] = [];
  for (const [, close, name, self] of xml.matchAll(/<(\/?)([a-z]+)(?:\s[^<>]*?)?(\/?)>/g)) {
    if (self) continue;
    if (close && open.pop() !== name) return false;
    if (!close) open.push(name!);
  }
  return open.length === 0;
}

describe('text', () => {
  it('aligns columns', () => {
    const rows = [
      ['label', 'n'],
      ['pear', '12'],
      ['fig', '3'],
    ];
    expect(textTable(rows, [1])).toBe('label   n\npear   12\nfig     3');
    expect(textTable([])).toBe('');
  });

  it('writes numbers, shares and times at a readable length', () => {
    expect([0, 0.123456, 1234567, 0.00001234, 12345.678, NaN].map(shortNumber)).toEqual([
      '0',
      '0.1235',
      '1234567',
      '1.23e-5',
      '12346',
      'NaN',
    ]);
    expect(percent(0.8767)).toBe('87.7 %');
    expect([0.0123, 12.34, 245, 3725].map(duration)).toEqual(['12 ms', '12.3 s', '4 min 05 s', '1 h 02 min']);
    expect(bar(0.5, 4)).toBe('██░░');
  });
});

describe('svg', () => {
  const series = [
    {
      name: 'train <&',
      points: [
        [1, 2],
        [2, 1],
        [3, NaN],
        [4, 0.5],
      ] as [number, number][],
    },
    { name: 'one', points: [[2, 1.5]] as [number, number][], dashed: true },
  ];

  it('draws curves inside of their frame and leaves out what is not finite', () => {
    const chart = chartSvg(series, { title: 'Loss', xLabel: 'epoch' });
    expect(wellFormed(chart)).toBe(true);
    const points = /polyline points="([^"]+)"/
      .exec(chart)![1]!
      .split(' ')
      .map((pair) => pair.split(',').map(Number));
    expect(points).toHaveLength(3);
    expect(points[0]).toEqual([56, 36]);
    expect(points.at(-1)).toEqual([464, 234]);
    expect(chart).toContain('train &lt;&amp;');
    expect(chart).not.toMatch(/NaN|undefined|Infinity/);
  });

  it('draws nothing at all and constant values without harm', () => {
    expect(wellFormed(chartSvg([], { title: 'none' }))).toBe(true);
    const flat = chartSvg(
      [
        {
          name: 'flat',
          points: [
            [1, 3],
            [2, 3],
          ],
        },
      ],
      { title: 'flat' },
    );
    expect(flat).not.toMatch(/NaN|Infinity/);
  });

  it('draws a confusion matrix with every count', () => {
    const matrix = confusionSvg(
      [
        [5, 1],
        [0, 0],
      ],
      ['cucumber', '"zucchini"'],
    );
    expect(wellFormed(matrix)).toBe(true);
    expect(matrix.match(/<rect/g)).toHaveLength(4);
    expect(matrix).toContain('&quot;zucchini&quot;');
    expect(matrix).not.toContain('NaN');
  });

  it('escapes', () => expect(escapeXml(`<a href="x">'&`)).toBe('&lt;a href=&quot;x&quot;&gt;&#39;&amp;'));
});

describe('page', () => {
  it('holds everything in one file, escaped', () => {
    const page = htmlPage('A & B', [
      { kind: 'heading', text: '<h>' },
      { kind: 'paragraph', text: 'p' },
      { kind: 'table', head: ['a', 'b'], rows: [['<1>', '2']], caption: 'c' },
      {
        kind: 'figures',
        figures: [
          { svg: '<svg/>', caption: 'x' },
          { bytes: Uint8Array.of(1, 2, 3), type: 'image/png', width: 64 },
        ],
      },
    ]);
    expect(page).toContain('<title>A &amp; B</title>');
    expect(page).toContain('<td>&lt;1&gt;</td>');
    expect(page).toContain('src="data:image/png;base64,AQID" width="64"');
    expect(page).not.toMatch(/<script|https?:/);
  });
});
