import type { Output } from '../output.js';
import type { Arguments, CommandHelp } from '../flags.js';

/** What a command is given beside its arguments. */
export interface Context {
  output: Output;
  /** Aborted by Ctrl-C. */
  signal: AbortSignal;
}

export interface CliCommand {
  help: CommandHelp;
  /** Returns the exit code; undefined is 0. */
  run(args: Arguments, context: Context): Promise<number | void>;
}
