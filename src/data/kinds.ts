/** What a file is, told by its first bytes. */

export type PictureType = 'jpeg' | 'png' | 'webp' | 'tiff' | 'gif';

/** How many bytes of a file `pictureType` and `whyNotDecoded` want to see. */
export const HEAD_BYTES = 64;

const text = (bytes: Uint8Array, from: number, to: number): string => String.fromCharCode(...bytes.subarray(from, to));

/** The type of a picture that is decoded; undefined for anything else. */
export function pictureType(head: Uint8Array): PictureType | undefined {
  if (head[0] === 0xff && head[1] === 0xd8 && head[2] === 0xff) return 'jpeg';
  if (text(head, 0, 8) === '\x89PNG\r\n\x1a\n') return 'png';
  if (text(head, 0, 4) === 'RIFF' && text(head, 8, 12) === 'WEBP') return 'webp';
  if (/^GIF8[79]a$/.test(text(head, 0, 6))) return 'gif';
  const order = text(head, 0, 4);
  // The last two are BigTIFF.
  return ['II*\0', 'MM\0*', 'II+\0', 'MM\0+'].includes(order) ? 'tiff' : undefined;
}

const others: [RegExp, string][] = [
  [/^....ftyp(heic|heix|hevc|hevx|heim|heis|mif1|msf1)/s, 'HEIC pictures are not decoded: convert it to JPEG'],
  [/^....ftypavi[fs]/s, 'AVIF pictures are not decoded: convert it to JPEG or PNG'],
  [/^....ftyp/s, 'it is a film'],
  [/^BM/, 'BMP pictures are not decoded: convert it to PNG'],
  [/^%PDF/, 'PDF files are not decoded'],
  [/^8BPS/, 'Photoshop files are not decoded: export it as PNG'],
  [/^(\0\0\0\x0cjP {2}|\xff\x4f\xff\x51)/, 'JPEG 2000 pictures are not decoded: convert it to JPEG'],
  [/^(\xff\x0a|\0\0\0\x0cJXL )/, 'JPEG XL pictures are not decoded: convert it to JPEG'],
  [/^PK\x03\x04/, 'it is a zip archive'],
  [/^(\xef\xbb\xbf)?\s*(<\?xml[^]*)?<svg/i, 'SVG drawings are not decoded: export it as PNG'],
];

/** Why a file that is no picture of an allowed type is not decoded, as the end of a sentence. */
export function whyNotDecoded(head: Uint8Array): string {
  if (head.length === 0) return 'it is empty';
  const start = text(head, 0, HEAD_BYTES);
  const known = others.find(([pattern]) => pattern.test(start));
  if (known) return known[1];
  // Tabs, line ends and all that is printable, UTF-8 included.
  return /^[\t\n\r\x20-\x7e\x80-\xff]+$/.test(start)
    ? 'it is a text file'
    : 'it is not a JPEG, PNG, WebP, TIFF or GIF picture';
}
