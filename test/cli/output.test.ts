import { afterEach, expect, it, vi } from 'vitest';
import { Output } from '../../src/cli/output.js';

const { isTTY, columns } = process.stderr;
afterEach(() => {
  Object.assign(process.stderr, { isTTY, columns });
  vi.restoreAllMocks();
});

/** What a terminal of some width is told of a download. */
function drawn(width: number): string[] {
  Object.assign(process.stderr, { isTTY: true, columns: width });
  const write = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
  const { loading } = new Output({ json: false, events: false });
  loading({ task: 'fetch', file: 'onnx/model.onnx', loaded: 25e6, total: 100e6 });
  return write.mock.calls.map(([text]) => String(text));
}

it('shows a bar, how much of how much, and of what', () => {
  expect(drawn(100)).toEqual([
    `\r\x1b[2Kfetching onnx/model.onnx  25.0 MB of 100.0 MB  ${'━'.repeat(6)}${'·'.repeat(18)} 25 %`,
  ]);
});

it('cuts the line where the terminal ends: two lines could not be redrawn', () => {
  expect(drawn(30)).toEqual(['\r\x1b[2Kfetching onnx/model.onnx  25.']);
});
