import type { Network } from '../network/network.js';

/** Layers of a head that `replaceHead` made of a list are called head.0, head.1, … (head2.0, … where that name was taken). */
const LISTED = /^(head\w*)\.\d+$/;

/**
 * The parameters of the head: of all layers of a head made from a list, else of the architecture's last layer; for a graph that
 * says nothing about its head, those of the last stage.
 */
export function headParameters(net: Network): string[] {
  const { classifier } = net.head;
  if (classifier === '') return net.groups().at(-1)?.parameters ?? [];
  const prefix = LISTED.exec(classifier)?.[1] ?? classifier;
  const names = net.parameters().filter(({ name, state }) => !state && name.startsWith(`${prefix}.`));
  return names.map(({ name }) => name);
}

/** Freezes everything but the head. */
export function freezeBody(net: Network): void {
  const head = new Set(headParameters(net));
  net.freeze();
  net.unfreeze((name) => head.has(name));
}
