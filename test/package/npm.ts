import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, realpathSync, symlinkSync } from 'node:fs';
import path from 'node:path';

export const root = path.resolve(import.meta.dirname, '../..');

/** npm as a script that any Node can run: with a PATH that holds nothing else, `npm` itself could not start. */
function npmScript(): string {
  const given = process.env['npm_execpath'];
  if (given && existsSync(given) && given.endsWith('.js')) return given;
  return realpathSync(execFileSync('sh', ['-c', 'command -v npm'], { encoding: 'utf8' }).trim());
}

export function npm(args: string[], cwd: string, env: NodeJS.ProcessEnv = process.env): string {
  const options = { cwd, env, encoding: 'utf8', maxBuffer: 1 << 28 } as const;
  const { status, stdout, stderr } = spawnSync(process.execPath, [npmScript(), ...args], options);
  if (status !== 0) throw new Error(`npm ${args.join(' ')} ended with ${status}:\n${stdout}\n${stderr}`);
  return stdout;
}

/** An environment whose PATH holds node and sh and nothing else: no compiler, no CMake, no Python. */
export function bareEnvironment(folder: string): NodeJS.ProcessEnv {
  const bin = path.join(folder, 'bin');
  mkdirSync(bin);
  symlinkSync(process.execPath, path.join(bin, 'node'));
  symlinkSync('/bin/sh', path.join(bin, 'sh'));
  const { HOME, TMPDIR, npm_config_cache: cache, npm_config_userconfig: config } = process.env;
  return { PATH: bin, HOME, TMPDIR, npm_config_cache: cache, npm_config_userconfig: config };
}

/** The program `node` of a major version: this one, or one that a package of npm holds, kept from run to run. */
export function nodeBinary(major: number): string {
  if (Number(process.versions.node.split('.')[0]) === major) return process.execPath;
  const name = `node-${process.platform}-${process.arch}`;
  const cache = path.join(root, 'node_modules', '.cache', 'nodes', String(major));
  const binary = path.join(cache, 'node_modules', name, 'bin', 'node');
  if (!existsSync(binary)) {
    mkdirSync(cache, { recursive: true });
    npm(['install', '--prefix', cache, '--no-save', '--ignore-scripts', '--no-audit', `${name}@${major}`], cache);
  }
  return binary;
}
