/** What exporters need of a network: shapes of its values, and its weights at one moment. */
import type { Shapes } from '../formats/onnx-export.js';
import type { Network } from './network.js';
import type { ValueDescription } from './types.js';

/** Shapes of all values for one sample. Sizes that the graph leaves open are those that the network was made for. */
export async function shapesOf(net: Network, signal: AbortSignal | undefined): Promise<Shapes> {
  const sizes: Record<string, number> = { N: 1, H: net.input?.height ?? 224, W: net.input?.width ?? 224 };
  const inputs = Object.fromEntries(
    net.graph.inputs.map(({ name, shape }) => [
      name,
      shape.map((size) => (typeof size === 'number' ? size : (sizes[size] ?? 1))),
    ]),
  );
  await net.store.settled();
  const request = { graph: net.graph, mode: 'infer', inputs };
  const { reply } = await net.session.submit('compile', request, [], signal ? { signal } : {});
  const { values } = reply as { values: ValueDescription[] };
  const known = new Map(values.map((value) => [value.name, value]));
  for (const { name, dtype } of net.graph.inputs) known.set(name, { name, dtype, shape: inputs[name]! });
  return known;
}

/** Tensors as f32, by one command: no training step falls between two of them. */
export async function weightsOf(
  net: Network,
  names: string[],
  signal: AbortSignal | undefined,
): Promise<Map<string, Uint8Array>> {
  const { buffers } = await net.session.submit('get', { names, as: 'f32' }, [], signal ? { signal } : {});
  return new Map(names.map((name, i) => [name, new Uint8Array(buffers[i]!)]));
}
