/** `thaw pull` and hf: names on the command line, in processes of their own. */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { create } from '../../src/index.js';
import { drawPhotos, json, MAIN, thaw } from '../cli/thaw.js';
import { useHub } from './environment.js';
import { cut, sha256 } from './server.js';

const used = useHub();
const folder = mkdtempSync(path.join(tmpdir(), 'thaw-hub-command-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const COMMIT = 'a'.repeat(40);
let weights: Buffer;

beforeAll(async () => {
  const net = await create('cifar_resnet20', { classes: 2 });
  await net.save(path.join(folder, 'base.safetensors'));
  net.dispose();
  weights = readFileSync(path.join(folder, 'base.safetensors'));
});

const publish = (): void => used.hub.add('org/model', { commit: COMMIT, files: { 'model.safetensors': weights } });
const place = (): string => path.join(used.cache, 'models--org--model', 'snapshots', COMMIT, 'model.safetensors');
const blobs = (): string => path.join(used.cache, 'models--org--model', 'blobs');

it('prints where the files lie, and says on standard error what it fetches', async () => {
  publish();
  const first = await thaw(['pull', 'hf:org/model']);
  expect(first).toEqual({ code: 0, out: `${place()}\n`, error: 'fetching model.safetensors (1.1 MB in all)\n' });
  expect(await thaw(['pull', 'hf:org/model', '--revision', 'main'])).toEqual({
    code: 0,
    out: `${place()}\n`,
    error: '',
  });
  const file = { name: 'model.safetensors', path: place(), bytes: weights.length };
  expect(await json(['pull', 'hf:org/model', '--file', 'model.safetensors'])).toMatchObject({
    commit: COMMIT,
    files: [file],
  });
});

it('the verbs take names of the hub', async () => {
  publish();
  expect(await json(['inspect', 'hf:org/model'])).toMatchObject({ architecture: 'cifar_resnet20' });
  const photos = path.join(folder, 'photos');
  await drawPhotos(photos, ['green', 'red'], 4);
  const out = path.join(folder, 'out.safetensors');
  await json(['fit', photos, '--base', 'hf:org/model', '--out', out, '--epochs', '1']);
  expect(existsSync(out)).toBe(true);
  const { predictions } = await json(['predict', 'hf:org/model', path.join(photos, 'red', '0.jpg')]);
  expect(predictions).toHaveLength(1);
});

it('inspect asks the hub no more than pull does', async () => {
  publish();
  const asked = async (verb: string): Promise<string[]> => {
    used.hub.asked.length = 0;
    expect((await thaw([verb, 'hf:org/model'])).code).toBe(0);
    return used.hub.asked.map(({ method, path }) => `${method} ${path}`);
  };
  await asked('pull');
  const known = await asked('pull');
  expect(known).not.toEqual([]);
  expect(await asked('inspect')).toEqual(known);
});

it('says that a network was taken from the cache because the hub did not answer', async () => {
  publish();
  await thaw(['pull', 'hf:org/model']);
  used.hub.fault = (_, response) => Boolean(response.writeHead(403).end());
  expect((await thaw(['inspect', 'hf:org/model'])).error).toContain('ERR_HUB_ACCESS');
  used.hub.fault = (_, response) => Boolean(response.writeHead(429, { 'retry-after': '3600' }).end());
  const out = path.join(folder, 'out.onnx');
  expect(await thaw(['export', 'hf:org/model', out])).toMatchObject({
    code: 0,
    error: expect.stringMatching(/^'org\/model' is taken from the cache as it is: .*received 429.*\n$/),
  });
});

it('failures are a sentence, a code and exit code 1; wrong usage is 2', async () => {
  publish();
  const failed = await thaw(['pull', 'hf:org/none', '--json']);
  expect(failed).toMatchObject({
    code: 1,
    error: expect.stringMatching(/^thaw: expected access to 'org\/none' at 'main' of http:.*\(ERR_HUB_ACCESS\)\n$/),
  });
  expect(JSON.parse(failed.out)).toMatchObject({ error: { code: 'ERR_HUB_ACCESS' } });
  expect((await thaw(['pull'])).code).toBe(2);
  expect((await thaw(['pull', 'model.safetensors'])).error).toContain('ERR_HUB_NAME');
});

it('two processes at once: one fetches, the other waits, both have the file', async () => {
  publish();
  used.hub.fault = ({ host }, response, content) => {
    if (host !== 'store') return false;
    response.writeHead(200, { 'content-length': content!.length }).write(content!.subarray(0, 1000));
    setTimeout(() => response.end(content!.subarray(1000)), 1500);
    return true;
  };
  const both = await Promise.all([thaw(['pull', 'hf:org/model']), thaw(['pull', 'hf:org/model'])]);
  for (const { code, out } of both) expect([code, out]).toEqual([0, `${place()}\n`]);
  expect(used.hub.downloads().filter(({ host }) => host === 'store')).toHaveLength(1);
  expect(both.map(({ error }) => error).join('')).toContain("another process is fetching 'model.safetensors'");
  expect(sha256(readFileSync(place()))).toBe(sha256(weights));
  expect(readdirSync(blobs())).toEqual([sha256(weights)]);
});

it('a process that is killed leaves nothing under a final name, and the next one goes on at once', async () => {
  publish();
  used.hub.fault = (request, response, content) => {
    if (request.host !== 'store') return false;
    response.writeHead(200, { 'content-length': content!.length }).write(content!.subarray(0, 500_000));
    return true;
  };
  const child = spawn(process.execPath, [MAIN, 'pull', 'hf:org/model']);
  const partial = path.join(blobs(), `${sha256(weights)}.thaw.incomplete`);
  while (!existsSync(partial) || readFileSync(partial).length < 500_000) await sleep(20);
  child.kill('SIGKILL');
  await new Promise((resolve) => child.on('close', resolve));
  expect(existsSync(place())).toBe(false);
  expect(readdirSync(blobs())).toEqual([path.basename(partial)]);
  used.hub.reset();
  expect(await thaw(['pull', 'hf:org/model'])).toMatchObject({
    code: 0,
    error: expect.not.stringContaining('another'),
  });
  expect(used.hub.downloads().at(-1)!.range).toBe('bytes=500000-');
  expect(sha256(readFileSync(place()))).toBe(sha256(weights));
});

it('Ctrl-C ends a download with 130, and what is there stays', async () => {
  publish();
  used.hub.fault = (request, response, content) => {
    if (request.host !== 'store') return false;
    response.writeHead(200, { 'content-length': content!.length }).write(content!.subarray(0, 500_000));
    return true;
  };
  const { code, out, error } = await thaw(['pull', 'hf:org/model'], /fetching/);
  expect([code, out]).toEqual([130, '']);
  expect(error).toContain('the next one goes on from here (ERR_ABORTED)');
  expect(existsSync(place())).toBe(false);
});

it('a cut connection is no more than a line', async () => {
  publish();
  let cuts = 1;
  used.hub.fault = (request, response, content) => {
    if (request.host !== 'store' || cuts-- <= 0) return false;
    cut(request, response, content!, 1000);
    return true;
  };
  expect(await thaw(['pull', 'hf:org/model'])).toMatchObject({ code: 0, out: `${place()}\n` });
});

/** A module that runs before the command. */
function before(name: string, text: string): string {
  const file = path.join(folder, name);
  writeFileSync(file, text);
  return `--import=${file}`;
}

it('a path never uses the network, nor loads the library of the hub', async () => {
  publish();
  const network = before(
    'network.mjs',
    `import { Socket } from 'node:net';
     Socket.prototype.connect = globalThis.fetch = () => { throw new Error('no network here'); };`,
  );
  const hooks = `export async function resolve(name, context, next) {
    if (name.startsWith('@huggingface')) throw new Error('no library here');
    return next(name, context);
  }`;
  const library = before(
    'library.mjs',
    `import { register } from 'node:module';
     register(${JSON.stringify(`data:text/javascript,${encodeURIComponent(hooks)}`)});`,
  );
  const run = (options: string, name: string) => {
    process.env['NODE_OPTIONS'] = options;
    return thaw(['inspect', name]).finally(() => delete process.env['NODE_OPTIONS']);
  };
  expect(await run(`${network} ${library}`, path.join(folder, 'base.safetensors'))).toMatchObject({
    code: 0,
    error: '',
  });
  // Both guards do guard.
  expect((await run(network, 'hf:org/model')).error).toMatch(/no network here.*ERR_HUB_NETWORK/);
  expect((await run(library, 'hf:org/model')).error).toMatch(/npm install @huggingface\/hub \(ERR_HUB_MISSING\)/);
});
