/** Fetching from the hub, as it should go. */
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { pull } from '../../src/hub/pull.js';
import type { PullProgress } from '../../src/hub/pull.js';
import { useHub } from './environment.js';
import { checksum, gitSha1, sha256 } from './server.js';

const used = useHub();
const COMMIT = 'a'.repeat(40);
const OTHER = 'b'.repeat(40);
const WEIGHTS = Buffer.alloc(200_000, 'weights ');
const CONFIG = Buffer.from('{"architecture":"resnet18"}');

function addModel(extra: Record<string, Buffer> = {}): void {
  const files = {
    'README.md': Buffer.from('# A model'),
    'config.json': CONFIG,
    'model.safetensors': WEIGHTS,
    ...extra,
  };
  used.hub.add('org/model', { commit: COMMIT, files, revisions: { 'refs/pr/1': OTHER, 'v1.0': COMMIT } });
}

/** Where nobody listens. */
async function closedPort(): Promise<string> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return `http://127.0.0.1:${port}`;
}

const inCache = (...parts: string[]): string => path.join(used.cache, 'models--org--model', ...parts);

describe('pull', () => {
  it('fetches the weights and the configuration into the layout that all clients share', async () => {
    addModel();
    const found = await pull('hf:org/model');
    expect(found).toEqual({
      ...{ repository: 'org/model', revision: 'main', commit: COMMIT, notes: [] },
      folder: inCache('snapshots', COMMIT),
      path: inCache('snapshots', COMMIT, 'model.safetensors'),
      files: [
        { name: 'model.safetensors', path: inCache('snapshots', COMMIT, 'model.safetensors'), bytes: WEIGHTS.length },
        { name: 'config.json', path: inCache('snapshots', COMMIT, 'config.json'), bytes: CONFIG.length },
      ],
    });
    expect(sha256(readFileSync(found.path))).toBe(sha256(WEIGHTS));
    expect(readlinkSync(found.path)).toBe(`../../blobs/${sha256(WEIGHTS)}`);
    expect(readdirSync(inCache('blobs')).sort()).toEqual([sha256(WEIGHTS), gitSha1(CONFIG)].sort());
    expect(readFileSync(inCache('refs', 'main'), 'utf8')).toBe(COMMIT);
    expect(readdirSync(path.join(used.cache, '.locks', 'models--org--model'))).toEqual([]);
  });

  it('does not fetch again what is there, and links a content that another commit brought', async () => {
    addModel();
    await pull('hf:org/model');
    used.hub.reset();
    await pull('hf:org/model');
    expect(used.hub.downloads()).toEqual([]);
    const other = await pull('hf:org/model@refs/pr/1');
    expect(used.hub.downloads()).toEqual([]);
    expect(other.path).toBe(inCache('snapshots', OTHER, 'model.safetensors'));
    expect(readFileSync(inCache('refs', 'refs', 'pr', '1'), 'utf8')).toBe(OTHER);
  });

  it('takes revision and file from the name or from the options', async () => {
    const nested = Buffer.from('nested');
    addModel({ 'onnx/x.bin': nested });
    const a = await pull('hf:org/model@v1.0/onnx/x.bin');
    const b = await pull('hf:org/model', { revision: 'v1.0', file: 'onnx/x.bin' });
    expect(b).toEqual(a);
    expect(a.files).toEqual([{ name: 'onnx/x.bin', path: inCache('snapshots', COMMIT, 'onnx', 'x.bin'), bytes: 6 }]);
    expect(readlinkSync(a.path)).toBe(`../../../blobs/${checksum(nested)}`);
    expect((await pull(`hf:org/model@${COMMIT}`)).revision).toBe(COMMIT);
    expect(existsSync(inCache('refs', COMMIT))).toBe(false);
  });

  it('brings the files that belong together', async () => {
    const [onnx, data, shard] = [Buffer.from('onnx'), Buffer.from('data'), Buffer.from('shard')];
    used.hub.add('org/model', {
      commit: COMMIT,
      files: {
        ...{ 'model.onnx': onnx, 'model.onnx_data': data, 'other.onnx_data': data, 'web/model.json': CONFIG },
        ...{ 'web/group1-shard1of1.bin': shard, 'net.cfg': onnx, 'net.weights': data },
      },
    });
    const names = async (name: string) => (await pull(name)).files.map((file) => file.name);
    expect(await names('hf:org/model')).toEqual(['model.onnx', 'model.onnx_data']);
    expect(await names('hf:org/model/web/model.json')).toEqual(['web/model.json', 'web/group1-shard1of1.bin']);
    expect(await names('hf:org/model/net.weights')).toEqual(['net.weights', 'net.cfg']);
  });

  it('reports bytes of all files together', async () => {
    addModel();
    const seen: PullProgress[] = [];
    await pull('hf:org/model', { onProgress: (progress) => seen.push({ ...progress }) });
    const total = WEIGHTS.length + CONFIG.length;
    expect(seen[0]).toEqual({ file: 'model.safetensors', loaded: 0, total });
    expect(seen.at(-1)).toEqual({ file: 'config.json', loaded: total, total });
    for (let i = 1; i < seen.length; i++) expect(seen[i]!.loaded).toBeGreaterThanOrEqual(seen[i - 1]!.loaded);
  });

  it('reads what another client has put into the cache', async () => {
    addModel();
    mkdirSync(inCache('blobs'), { recursive: true });
    mkdirSync(inCache('snapshots', COMMIT), { recursive: true });
    writeFileSync(inCache('blobs', sha256(WEIGHTS)), WEIGHTS);
    // Where links may not be made, the content itself lies there.
    writeFileSync(inCache('snapshots', COMMIT, 'config.json'), CONFIG);
    const found = await pull('hf:org/model');
    expect(used.hub.downloads()).toEqual([]);
    expect(sha256(readFileSync(found.path))).toBe(sha256(WEIGHTS));
    expect(lstatSync(found.files[1]!.path).isSymbolicLink()).toBe(false);
  });

  it('asks for the checksum of a file in the newer storage where the list has none', async () => {
    addModel();
    used.hub.entry = ({ lfs, ...entry }) => (lfs ? { ...entry, xetHash: 'c'.repeat(64) } : entry);
    used.hub.fault = ({ host, range }, response) => {
      if (host !== 'hub' || range !== 'bytes=0-0') return false;
      const link = ['xet-auth', 'xet-reconstruction-info'].map((rel) => `<${used.hub.store}/${rel}>; rel="${rel}"`);
      response.writeHead(200, {
        ...{ 'content-type': 'application/vnd.xet-fileinfo+json', 'x-xet-hash': 'c'.repeat(64), link: link.join(', ') },
        ...{ 'x-linked-size': WEIGHTS.length, 'x-linked-etag': `"${sha256(WEIGHTS)}"` },
      });
      response.end('{}');
      return true;
    };
    expect(sha256(readFileSync((await pull('hf:org/model')).path))).toBe(sha256(WEIGHTS));
  });

  it('refuses a file without a checksum', async () => {
    addModel();
    used.hub.entry = ({ lfs: _lfs, oid: _oid, ...entry }) => entry;
    used.hub.fault = ({ range }, response) => {
      if (range !== 'bytes=0-0') return false;
      response.writeHead(206, { 'content-range': `bytes 0-0/${WEIGHTS.length}`, etag: '"../../evil"' }).end('w');
      return true;
    };
    await expect(pull('hf:org/model')).rejects.toMatchObject({ code: 'ERR_HUB_CHECKSUM' });
    expect(existsSync(inCache('blobs'))).toBe(false);
  });
});

describe('offline', () => {
  it('takes what is in the cache and asks nobody', async () => {
    addModel();
    const online = await pull('hf:org/model');
    used.hub.reset();
    process.env['HF_HUB_OFFLINE'] = '1';
    expect(await pull('hf:org/model')).toEqual(online);
    expect(await pull(`hf:org/model@${COMMIT}/config.json`)).toMatchObject({ path: online.files[1]!.path });
    expect(used.hub.asked).toEqual([]);
  });

  it('says what is missing', async () => {
    addModel();
    process.env['HF_HUB_OFFLINE'] = 'true';
    await expect(pull('hf:org/model')).rejects.toMatchObject({
      code: 'ERR_HUB_OFFLINE',
      message: expect.stringContaining(
        `'org/model' at 'main' in the cache '${used.cache}', received nothing: HF_HUB_OFFLINE`,
      ),
    });
    expect(used.hub.asked).toEqual([]);
  });

  it('does not take a cache in which another client has all but the weights', async () => {
    addModel();
    await pull('hf:org/model/config.json');
    process.env['HF_HUB_OFFLINE'] = '1';
    await expect(pull('hf:org/model')).rejects.toMatchObject({ code: 'ERR_HUB_OFFLINE' });
  });

  it('is not needed where the hub cannot be reached: the cache is taken, and that is said', async () => {
    addModel();
    const online = await pull('hf:org/model');
    process.env['HF_ENDPOINT'] = await closedPort();
    const kept = await pull('hf:org/model');
    expect(kept).toEqual({
      ...online,
      notes: [expect.stringMatching(/taken from the cache as it is: .*ECONNREFUSED/)],
    });
    await expect(pull('hf:org/other')).rejects.toMatchObject({ code: 'ERR_HUB_NETWORK' });
  });
});

describe('names', () => {
  it.each([
    ...[
      'hf:model',
      'hf:/model',
      'hf:org/',
      'hf:org/model/',
      'hf:org/model@',
      'hf:../model',
      'hf:org/..',
      'hf:org/a--b',
    ],
    ...[
      'hf://org/model',
      'hf:https://huggingface.co/org/model',
      'hf:org/model/../x',
      'hf:org/model//x',
      'hf:org/model@..',
    ],
    ...['hf:org/model@a%2F..%2F..', 'hf:org/mo del', 'hf:org/model/a\\b', 'hf:.org/model', 'hf:'],
  ])('%s is refused before anything is asked', async (name) => {
    await expect(pull(name)).rejects.toMatchObject({ code: 'ERR_HUB_NAME' });
    expect(used.hub.asked).toEqual([]);
  });

  it('several weights, or none, are an error that lists them', async () => {
    const [x, y] = [Buffer.from('x'), Buffer.from('y')];
    used.hub.add('org/model', { commit: COMMIT, files: { 'a.pth': x, 'b.pth': y } });
    await expect(pull('hf:org/model')).rejects.toMatchObject({
      code: 'ERR_HUB_FILE',
      message:
        "expected one file of weights in 'org/model', received 'a.pth', 'b.pth': name one, as in 'hf:org/model/a.pth'",
    });
    used.hub.add('org/model', { commit: COMMIT, files: { 'README.md': x } });
    await expect(pull('hf:org/model')).rejects.toMatchObject({ code: 'ERR_HUB_FILE' });
    await expect(pull('hf:org/model/none.pth')).rejects.toMatchObject({ code: 'ERR_HUB_FILE' });
  });

  it('that a server lists outside of the folder are not taken', async () => {
    addModel({ '../../../../evil.safetensors': WEIGHTS, '/etc/evil.pth': WEIGHTS });
    const found = await pull('hf:org/model');
    expect(found.files.map(({ name }) => name)).toEqual(['model.safetensors', 'config.json']);
    await expect(pull('hf:org/model', { file: '../../../../evil.safetensors' })).rejects.toMatchObject({
      code: 'ERR_HUB_NAME',
    });
  });
});
