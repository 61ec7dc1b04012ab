import { isHubName } from '../hub/name.js';
import { load } from '../network/load.js';
import type { LoadOptions } from '../network/load.js';
import type { Network } from '../network/network.js';
import type { Context } from './commands/command.js';

/** Loads a command's network with progress and Ctrl-C; of a model of the hub it says what was not as usual. */
export async function loadNetwork(
  file: string,
  { output, signal }: Context,
  options: Omit<LoadOptions, 'signal' | 'onProgress'> = {},
): Promise<Network> {
  const net = await load(file, { ...options, signal, onProgress: output.loading });
  if (isHubName(file)) net.loadReport.notes.forEach((note) => output.say(note));
  sayDevice(net, (line) => output.say(line));
  return net;
}

/** One line of what `--device auto` chose. */
export function sayDevice({ deviceReport: { asked, device, gpu, why } }: Network, say: (line: string) => void): void {
  if (asked === 'auto') say(`device auto: ${device} (${gpu?.name ?? why})`);
}
