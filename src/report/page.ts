import { escapeXml } from './svg.js';

/** A part of a page. `figures` stand side by side as far as there is room. */
export type PagePart =
  | { kind: 'heading'; text: string }
  | { kind: 'paragraph'; text: string }
  | { kind: 'table'; head: readonly string[]; rows: readonly (readonly string[])[]; caption?: string }
  | { kind: 'figures'; figures: readonly Figure[] };

/** An SVG text, or a picture file's bytes with its media type ('image/png', 'image/jpeg'), and a line below. */
export type Figure = { caption?: string } & (
  { svg: string } | { bytes: Uint8Array; type: 'image/png' | 'image/jpeg'; width?: number }
);

const STYLE = `body{font:16px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}
table{border-collapse:collapse;margin:1rem 0}th,td{padding:.3rem .8rem;border-bottom:1px solid #ddd;text-align:right}
th:first-child,td:first-child{text-align:left}caption{text-align:left;color:#555}
.figures{display:flex;flex-wrap:wrap;gap:1rem}figure{margin:0;max-width:100%}figcaption{font-size:.85rem;color:#555}
svg,img{max-width:100%;height:auto}`;

/** One HTML file with everything in it: no script, nothing loaded from elsewhere. All texts are escaped but `svg`. */
export function htmlPage(title: string, parts: readonly PagePart[]): string {
  const name = escapeXml(title);
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${name}</title>
<style>${STYLE}</style>
<h1>${name}</h1>
${parts.map(partHtml).join('\n')}
</html>
`;
}

function partHtml(part: PagePart): string {
  switch (part.kind) {
    case 'heading':
      return `<h2>${escapeXml(part.text)}</h2>`;
    case 'paragraph':
      return `<p>${escapeXml(part.text)}</p>`;
    case 'table':
      return tableHtml(part);
    case 'figures':
      return `<div class="figures">${part.figures.map(figureHtml).join('\n')}</div>`;
  }
}

function tableHtml({ head, rows, caption }: Extract<PagePart, { kind: 'table' }>): string {
  const line = (cells: readonly string[], tag: string): string =>
    `<tr>${cells.map((cell) => `<${tag}>${escapeXml(cell)}</${tag}>`).join('')}</tr>`;
  const title = caption ? `<caption>${escapeXml(caption)}</caption>` : '';
  return `<table>${title}<thead>${line(head, 'th')}</thead><tbody>${rows.map((row) => line(row, 'td')).join('')}</tbody></table>`;
}

function figureHtml(figure: Figure): string {
  const caption = figure.caption ? `<figcaption>${escapeXml(figure.caption)}</figcaption>` : '';
  return `<figure>${'svg' in figure ? figure.svg : imageHtml(figure)}${caption}</figure>`;
}

function imageHtml({ bytes, type, width, caption }: Extract<Figure, { bytes: Uint8Array }>): string {
  const size = width === undefined ? '' : ` width="${width}"`;
  const data = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
  return `<img src="data:${type};base64,${data}"${size} alt="${escapeXml(caption ?? '')}">`;
}
