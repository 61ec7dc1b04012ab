import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';

import { decode } from '../../src/data/decode.js';
import type { ThawError } from '../../src/errors.js';
import { hasTorch, python, temporaryFolder } from '../python.js';
import { sharedPath } from '../shared.js';

interface Wanted {
  file: string;
  width: number;
  height: number;
  mode: string;
}

const FIXTURES = [
  '16-bit-grey-alpha.png',
  '2x2_fdcce6.png',
  '320x240.jpg',
  '5_webp_a.webp',
  '8bit_depth.tiff',
  'Channel_digital_image_CMYK_color_no_profile.jpg',
  'Flag_of_the_Netherlands-16bit.png',
  ...Array.from({ length: 8 }, (_, i) => `Portrait_${i + 1}.jpg`),
  'animated-loop-3.gif',
  'bgbn4a08.png',
  'bggn4a16.png',
  'flowers.jpeg',
  'grey-8bit-alpha.png',
  'tbgn2c16.png',
  'with-alpha.png',
];
const fixtures = sharedPath('data', 'decode-fixtures');
const folder = temporaryFolder();
const failure = (promise: Promise<unknown>): Promise<ThawError> =>
  promise.then(
    () => expect.fail('expected an error'),
    (error: ThawError) => error,
  );

afterAll(() => folder.remove());

describe.skipIf(!hasTorch())('decode, beside PIL', () => {
  let wanted: Record<string, Wanted> = {};

  beforeAll(() => {
    const more = fixtures ? FIXTURES.map((name) => join(fixtures, name)) : [];
    wanted = JSON.parse(python(join(import.meta.dirname, 'pictures.py'), folder.path, ...more)) as Record<
      string,
      Wanted
    >;
  });

  it.each(['rgb', 'rgba'])('gives equal pixels for every kind of picture (%s)', async (mode) => {
    const different: string[] = [];
    for (const [name, { file, width, height }] of Object.entries(wanted)) {
      const picture = await decode(file, { alpha: mode === 'rgba' });
      expect([name, picture.width, picture.height, picture.channels]).toEqual([name, width, height, mode.length]);
      const same = Buffer.compare(picture.data, readFileSync(join(folder.path, `${name}.${mode}`))) === 0;
      if (!same) different.push(name);
    }
    // What PIL's alpha is for palettes, transparent colours and GIF is of no use to a network with four channels.
    const transparent = /transparent|palette-alpha|\.gif$|tbgn2c16|small-frame/;
    expect(mode === 'rgb' ? different : different.filter((name) => !transparent.test(name))).toEqual([]);
  });
});

describe('decode', () => {
  it('passes pixels through and checks them', async () => {
    const picture = { data: new Uint8Array(12), width: 2, height: 2, channels: 3 as const };
    expect(await decode(picture)).toBe(picture);
    const error = await failure(decode({ ...picture, width: 3 }));
    expect([error.code, error.message]).toEqual([
      'ERR_PICTURE',
      "expected a Uint8Array of 18 bytes for the picture, received '12 bytes'",
    ]);
  });

  it.each([
    ['heic', '\0\0\0\x18ftypheic\0\0', /HEIC/],
    ['avif', '\0\0\0\x18ftypavif\0\0', /AVIF/],
    ['txt', 'just words\n', /text file/],
    ['svg', '<?xml version="1.0"?>\n<svg/>', /SVG/],
    ['pdf', '%PDF-1.4', /PDF/],
    ['bmp', 'BM\x01\x02', /BMP/],
    ['empty', '', /empty/],
    ['noise', '\x00\x01\x02\x03', /not a JPEG, PNG, WebP, TIFF or GIF/],
  ])('names %s files with their reason', async (kind, content, reason) => {
    const file = join(folder.path, `picture.${kind}`);
    writeFileSync(file, content, 'latin1');
    const error = await failure(decode(file));
    expect(error.code).toBe('ERR_PICTURE_FORMAT');
    expect(error.message).toMatch(reason);
    expect(error.message).toContain(file);
  });

  it.skipIf(!fixtures)('names truncated and corrupt pictures', async () => {
    for (const name of ['truncated.jpg', 'truncated.png', 'corrupt-header.jpg']) {
      const error = await failure(decode(join(fixtures!, name)));
      expect([error.code, error.message.includes(name)]).toEqual(['ERR_PICTURE_CORRUPT', true]);
    }
    const gif = readFileSync(join(fixtures!, 'animated-loop-3.gif'));
    for (const length of [8, 12, 500]) {
      expect((await failure(decode(gif.subarray(0, length)))).code).toBe('ERR_PICTURE_CORRUPT');
    }
  });

  it.skipIf(!fixtures)('keeps to the limit of pixels', async () => {
    for (const name of ['flowers.jpeg', 'animated-loop-3.gif']) {
      const error = await failure(decode(join(fixtures!, name), { pixelLimit: 1000 }));
      expect(error.code).toBe('ERR_PICTURE_TOO_LARGE');
    }
  });

  it('names files that cannot be read', async () => {
    mkdirSync(join(folder.path, 'folder.jpg'));
    symlinkSync(join(folder.path, 'nowhere'), join(folder.path, 'link.jpg'));
    for (const name of ['missing.jpg', 'folder.jpg', 'link.jpg']) {
      expect((await failure(decode(join(folder.path, name)))).code).toBe('ERR_FILE_READ');
    }
  });

  it('obeys a signal', async () => {
    expect((await failure(decode(Buffer.from('GIF89a'), { signal: AbortSignal.abort() }))).code).toBe('ERR_ABORTED');
  });

  it('says what to do where sharp is missing', async () => {
    vi.resetModules();
    vi.doMock('sharp', () => {
      throw new Error("Cannot find package 'sharp'");
    });
    const { decode: decodeWithout } = await import('../../src/data/decode.js');
    const error = await failure(decodeWithout(Buffer.from('\x89PNG\r\n\x1a\n', 'latin1')));
    expect(error.code).toBe('ERR_DECODER_MISSING');
    expect(error.message).toContain('npm install sharp');
    vi.doUnmock('sharp');
  });
});
