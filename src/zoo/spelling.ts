import type { Checkpoint } from '../formats/types.js';

/** torchvision's published DenseNets are from before PyTorch forbade dots in names: `norm.1` was `norm1`'s name. */
const OLD_DENSE_LAYER = /((?:^|\.)denselayer\d+\.(?:norm|conv))\.([12]\.)/;

/** A tensor's name in a weight file as the zoo spells it today. */
const spelling = (name: string): string => name.replace(OLD_DENSE_LAYER, '$1$2');

/** A file's tensors under the names of today; the file itself where it has no others. */
export function respelled(file: Checkpoint): Checkpoint {
  if (![...file.tensors.keys()].some((name) => OLD_DENSE_LAYER.test(name))) return file;
  const tensors = [...file.tensors.values()].map((entry) => ({ ...entry, name: spelling(entry.name) }));
  const aliases = [...file.aliases].map(([alias, name]) => [spelling(alias), spelling(name)] as const);
  return { ...file, tensors: new Map(tensors.map((entry) => [entry.name, entry])), aliases: new Map(aliases) };
}
