import type { RangeFile } from './file.js';
import type { FormatResult, OpenOptions } from './types.js';
export const isCfg = (_: Buffer): boolean => false;
export const isDarknetWeights = (_: Buffer): boolean => false;
export async function readDarknet(_: RangeFile, __: OpenOptions = {}): Promise<FormatResult> { throw new Error(); }
