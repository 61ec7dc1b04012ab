import path from 'node:path';
import { ThawError } from '../errors.js';

/** Files of weights, the likeliest first. */
const WEIGHTS = [
  /^model\.safetensors$/,
  /\.safetensors$/,
  /^pytorch_model\.bin$/,
  /\.(pth|pt|th)$/,
  /\.keras$/,
  /\.h5$/,
  /\.onnx$/,
  /(^|\/)model\.json$/,
  /\.cfg$/,
];
const CONFIGURATION = 'config.json';
const SHOWN = 8;

/**
 * The files of a repository to take: the weights (or the file asked for), what belongs to them, and the configuration that
 * lies beside them.
 * @throws ERR_HUB_FILE no weights, several, or no such file
 */
export function choose(names: readonly string[], asked: string | undefined, repository: string): string[] {
  const main = asked ?? weightsOf(names, repository);
  if (!names.includes(main)) throw fault(`the file '${main}'`, repository, list(names));
  const found = names.filter((name) => name !== main && belongs(name, main));
  return [main, ...found];
}

export const hasWeights = (names: readonly string[]): boolean =>
  names.some((name) => WEIGHTS.some((pattern) => pattern.test(name)));

function weightsOf(names: readonly string[], repository: string): string {
  const ofRoot = names.filter((name) => !name.includes('/'));
  for (const pattern of WEIGHTS) {
    const found = [ofRoot, names].map((some) => some.filter((name) => pattern.test(name))).find(({ length }) => length);
    if (found?.length === 1) return found[0]!;
    if (found)
      throw fault('one file of weights', repository, `${list(found)}: name one, as in 'hf:${repository}/${found[0]}'`);
  }
  throw fault('a file of weights', repository, list(names));
}

/** Data outside an ONNX file, shards of TensorFlow.js, the other half of a Darknet model, the configuration. */
function belongs(name: string, main: string): boolean {
  const { dir, name: stem, ext, base } = path.posix.parse(main);
  const other = path.posix.parse(name);
  if (other.dir !== dir) return false;
  if (WEIGHTS.some((pattern) => pattern.test(main)) && other.base === CONFIGURATION) return true;
  if (ext === '.onnx') return other.base === `${stem}.data` || /^[._]data/.test(other.base.replace(base, ''));
  if (base === 'model.json') return other.ext === '.bin' || /^group\d+-shard\d+of\d+$/.test(other.base);
  return (
    other.name === stem &&
    ((ext === '.cfg' && other.ext === '.weights') || (ext === '.weights' && other.ext === '.cfg'))
  );
}

function fault(what: string, repository: string, received: string): ThawError {
  return new ThawError('ERR_HUB_FILE', `expected ${what} in '${repository}', received ${received}`);
}

function list(names: readonly string[]): string {
  if (names.length === 0) return 'no files';
  const more = names.length > SHOWN ? ` and ${names.length - SHOWN} more` : '';
  return `${names
    .slice(0, SHOWN)
    .map((name) => `'${name}'`)
    .join(', ')}${more}`;
}
