import { pull as runPull } from '../../hub/pull.js';
import { text, UsageError } from '../flags.js';
import type { CliCommand } from './command.js';

export const pull: CliCommand = {
  help: {
    name: 'pull',
    operands: 'hf:ORG/NAME',
    text: "Fetches a model of the Hugging Face hub into the hub's own cache directory and prints where its files lie, the weights first. What is there already is not fetched again, what was cut goes on, checksums are compared. HF_HOME, HF_HUB_CACHE, HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE are obeyed.",
    flags: [
      { name: 'file', kind: 'text', value: 'F', text: 'A file of the repository. Default: its weights.' },
      { name: 'revision', kind: 'text', value: 'R', text: 'A branch, a tag or a commit. Default: main.' },
    ],
    examples: [
      'thaw pull hf:timm/resnet18.a1_in1k',
      'thaw pull hf:timm/resnet18.a1_in1k --revision refs/pr/1 --file pytorch_model.bin --json',
    ],
  },
  async run({ operands, values }, { output, signal }) {
    const [name, ...more] = operands;
    if (!name || more.length > 0) throw new UsageError('expected one hf:ORG/NAME');
    const found = await runPull(name, {
      signal,
      file: text(values, 'file'),
      revision: text(values, 'revision'),
      onProgress: (progress) => output.loading({ task: 'fetch', ...progress }),
    });
    found.notes.forEach((note) => output.warn(note));
    output.result(found, found.files.map(({ path }) => path).join('\n'));
  },
};
