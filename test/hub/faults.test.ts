/** Fetching from the hub when things go wrong. */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { pull } from '../../src/hub/pull.js';
import type { PullProgress } from '../../src/hub/pull.js';
import { useHub } from './environment.js';
import { cut, sendRange, sha256 } from './server.js';
import type { Fault } from './server.js';

const used = useHub();
const COMMIT = 'a'.repeat(40);
const WEIGHTS = Buffer.from(Uint32Array.from({ length: 100_000 }, (_, i) => i * 2654435761).buffer);

const addModel = (token?: string): void =>
  used.hub.add('org/model', { commit: COMMIT, files: { 'model.safetensors': WEIGHTS }, ...(token && { token }) });

const blobs = (): string[] => readdirSync(path.join(used.cache, 'models--org--model', 'blobs'));
const blob = (suffix = ''): string => path.join(used.cache, 'models--org--model', 'blobs', sha256(WEIGHTS) + suffix);
const PARTIAL = '.thaw.incomplete';

const written = (bytes: number): boolean => statSync(blob(PARTIAL), { throwIfNoEntry: false })?.size === bytes;

/** What no failed download may leave: a file under its final name. */
function expectNothingFinal(): void {
  expect(existsSync(path.join(used.cache, 'models--org--model', 'snapshots', COMMIT, 'model.safetensors'))).toBe(false);
  expect(existsSync(blob())).toBe(false);
  expect(existsSync(path.join(used.cache, 'models--org--model', 'refs', 'main'))).toBe(false);
}

/** A fault of the host of large files for the first `times` requests. */
function store(times: number, act: (...args: Parameters<Fault>) => void): void {
  used.hub.fault = (request, response, content) => {
    if (request.host !== 'store' || times-- <= 0) return false;
    act(request, response, content);
    return true;
  };
}

describe('a connection that is cut', () => {
  it('goes on where it was cut', async () => {
    addModel();
    store(3, (request, response, content) => cut(request, response, content!, 100_000, written));
    expect(sha256(readFileSync((await pull('hf:org/model')).path))).toBe(sha256(WEIGHTS));
    const ranges = used.hub.downloads().filter(({ host }) => host === 'store');
    expect(ranges.map(({ range }) => range)).toEqual([undefined, 'bytes=100000-', 'bytes=200000-', 'bytes=300000-']);
    expect(blobs()).toEqual([sha256(WEIGHTS)]);
  });

  it('is an error when nothing comes any more, and the next call goes on', async () => {
    addModel();
    store(1, (request, response, content) => cut(request, response, content!, 150_000, written));
    const once = used.hub.fault!;
    used.hub.fault = (request, response, content) => {
      if (once(request, response, content)) return true;
      if (request.host === 'store') response.destroy();
      return request.host === 'store';
    };
    await expect(pull('hf:org/model')).rejects.toMatchObject({ code: 'ERR_HUB_NETWORK' });
    expectNothingFinal();
    expect(sha256(readFileSync(blob(PARTIAL)))).toBe(sha256(WEIGHTS.subarray(0, 150_000)));
    used.hub.reset();
    const seen: PullProgress[] = [];
    const found = await pull('hf:org/model', { onProgress: (progress) => seen.push(progress) });
    expect(sha256(readFileSync(found.path))).toBe(sha256(WEIGHTS));
    expect(used.hub.downloads().at(-1)!.range).toBe('bytes=150000-');
    expect(seen.find(({ loaded }) => loaded > 0)!.loaded).toBe(150_000);
  });

  it('starts anew where the server cannot go on', async () => {
    addModel();
    let requests = 0;
    store(Infinity, (request, response, content) => {
      if (requests++ === 0) cut(request, response, content!, 100_000, written);
      else sendRange({ ...request, range: undefined }, response, content!);
    });
    expect(sha256(readFileSync((await pull('hf:org/model')).path))).toBe(sha256(WEIGHTS));
  });

  it('starts anew where what is left over is larger than the file, or not its beginning', async () => {
    addModel();
    for (const left of [Buffer.alloc(WEIGHTS.length + 1), Buffer.alloc(1000, 7), Buffer.alloc(WEIGHTS.length, 7)]) {
      rmSync(used.cache, { recursive: true });
      mkdirSync(path.dirname(blob()), { recursive: true });
      writeFileSync(blob(PARTIAL), left);
      expect(sha256(readFileSync((await pull('hf:org/model')).path))).toBe(sha256(WEIGHTS));
      expect(blobs()).toEqual([sha256(WEIGHTS)]);
    }
  });
});

describe('bytes that are not the file', () => {
  const wrong = Buffer.from(WEIGHTS);
  wrong[12_345]! ^= 1;

  it('of the right length have a wrong checksum: an error, and nothing stays', async () => {
    addModel();
    store(Infinity, (request, response) => sendRange(request, response, wrong));
    await expect(pull('hf:org/model')).rejects.toMatchObject({
      code: 'ERR_HUB_CHECKSUM',
      message: expect.stringMatching(new RegExp(`checksum ${sha256(WEIGHTS)} .*, received .*${sha256(wrong)}`)),
    });
    expectNothingFinal();
    expect(blobs()).toEqual([]);
  });

  it('of a small file have a wrong SHA-1', async () => {
    used.hub.add('org/model', { commit: COMMIT, files: { 'model.safetensors': Buffer.from('right') } });
    used.hub.fault = ({ path: url }, response) => {
      if (!url.includes('/resolve/')) return false;
      response.writeHead(200).end('wrong');
      return true;
    };
    await expect(pull('hf:org/model')).rejects.toMatchObject({ code: 'ERR_HUB_CHECKSUM' });
    expect(blobs()).toEqual([]);
  });

  it('are too many: an error', async () => {
    addModel();
    store(Infinity, (_, response) => void response.writeHead(200).end(Buffer.concat([WEIGHTS, WEIGHTS])));
    await expect(pull('hf:org/model')).rejects.toMatchObject({ code: expect.stringMatching(/NETWORK|CHECKSUM/) });
    expectNothingFinal();
  });
});

describe('a refusal', () => {
  it('401: names HF_TOKEN; with the right token it works', async () => {
    addModel('hf_right');
    await expect(pull('hf:org/model')).rejects.toMatchObject({
      code: 'ERR_HUB_ACCESS',
      message: expect.stringMatching(/401 \(RepoNotFound\).*HF_TOKEN/),
    });
    process.env['HF_TOKEN'] = 'hf_wrong';
    await expect(pull('hf:org/model')).rejects.toMatchObject({
      code: 'ERR_HUB_ACCESS',
      message: expect.not.stringContaining('hf_wrong'),
    });
    process.env['HF_TOKEN'] = 'hf_right';
    expect(sha256(readFileSync((await pull('hf:org/model')).path))).toBe(sha256(WEIGHTS));
  });

  it('403: says what the hub says of a gated model', async () => {
    addModel();
    const said = { 'x-error-code': 'GatedRepo', 'x-error-message': 'Accept the terms\u00e9' };
    used.hub.fault = ({ path: url }, response) => {
      if (!url.includes('/resolve/')) return false;
      response.writeHead(403, said).end();
      return true;
    };
    await expect(pull('hf:org/model')).rejects.toMatchObject({
      code: 'ERR_HUB_ACCESS',
      message: expect.stringContaining('403 (GatedRepo, Accept the terms?)'),
    });
    expectNothingFinal();
  });

  it('404: revision or file', async () => {
    addModel();
    await expect(pull('hf:org/model@v9')).rejects.toMatchObject({
      code: 'ERR_HUB_NOT_FOUND',
      message: expect.stringContaining('RevisionNotFound'),
    });
    used.hub.fault = ({ path: url }, response) => {
      if (url.includes('/resolve/')) response.writeHead(404, { 'x-error-code': 'EntryNotFound' }).end();
      return url.includes('/resolve/');
    };
    await expect(pull('hf:org/model')).rejects.toMatchObject({ code: 'ERR_HUB_NOT_FOUND' });
    expectNothingFinal();
  });

  it('429: waits as long as the hub asks, and says so', async () => {
    addModel();
    store(1, (_, response) => void response.writeHead(429, { 'retry-after': '1' }).end());
    const waits: string[] = [];
    const start = performance.now();
    const onProgress = ({ waiting }: PullProgress) => void (waiting && waits.push(waiting));
    expect(sha256(readFileSync((await pull('hf:org/model', { onProgress })).path))).toBe(sha256(WEIGHTS));
    expect(performance.now() - start).toBeGreaterThan(990);
    expect(waits).toEqual([expect.stringMatching(/received 429; the hub asks to wait 1 s: trying again in 1 s$/)]);
    // The signature of an address is no word for a terminal or a log.
    expect(waits[0]).not.toContain('s3cret');
  });

  it('429: gives up where it would have to wait for long', async () => {
    addModel();
    const later = new Date(Date.now() + 3_600_000).toUTCString();
    store(Infinity, (_, response) => void response.writeHead(429, { 'retry-after': later }).end());
    await expect(pull('hf:org/model')).rejects.toMatchObject({
      code: 'ERR_HUB_RATE_LIMIT',
      message: expect.stringMatching(/asks to wait (3600|3599) s/),
    });
    expectNothingFinal();
  });

  it('429: what the cache has is taken, and that is said', async () => {
    addModel();
    const before = await pull('hf:org/model');
    used.hub.fault = (_, response) => Boolean(response.writeHead(429, { 'retry-after': '3600' }).end());
    const notes = [expect.stringMatching(/^'org\/model' is taken from the cache as it is: .*received 429/)];
    expect(await pull('hf:org/model')).toEqual({ ...before, notes });
    await expect(pull('hf:org/model@v1')).rejects.toMatchObject({ code: 'ERR_HUB_RATE_LIMIT' });
  });

  it('503 is tried again', async () => {
    addModel();
    store(2, (_, response) => void response.writeHead(503).end());
    expect(sha256(readFileSync((await pull('hf:org/model')).path))).toBe(sha256(WEIGHTS));
  });
});

describe('the token', () => {
  it('goes to the endpoint and not to the host that large files are redirected to', async () => {
    addModel('hf_secret');
    process.env['HF_TOKEN'] = 'hf_secret';
    await pull('hf:org/model');
    const tokens = (host: string) => new Set(used.hub.asked.filter((a) => a.host === host).map(({ token }) => token));
    expect(tokens('hub')).toEqual(new Set(['hf_secret']));
    expect(tokens('store')).toEqual(new Set([undefined]));
  });

  it('need not begin with hf_, and is not sent to other hosts by the API either', async () => {
    addModel();
    process.env['HF_TOKEN'] = 'of-an-endpoint-of-our-own';
    used.hub.fault = ({ host, path: url }, response) => {
      if (host === 'hub' && url.includes('/tree/'))
        response.writeHead(307, { location: `${used.hub.store}/steal` }).end();
      else if (url === '/steal') response.writeHead(200, { 'content-type': 'application/json' }).end('[]');
      else return false;
      return true;
    };
    await expect(pull('hf:org/model')).rejects.toMatchObject({ code: 'ERR_HUB_FILE' });
    expect(used.hub.asked.find(({ path: url }) => url === '/steal')).toMatchObject({ host: 'store', token: undefined });
    expect(used.hub.asked[0]!.token).toBe('of-an-endpoint-of-our-own');
  });
});

describe('a disk', () => {
  it.runIf(existsSync('/dev/full'))('that is full is an error, and the next call goes on', async () => {
    addModel();
    mkdirSync(path.dirname(blob()), { recursive: true });
    symlinkSync('/dev/full', blob(PARTIAL));
    await expect(pull('hf:org/model')).rejects.toMatchObject({
      code: 'ERR_HUB_DISK',
      message: expect.stringContaining('ENOSPC'),
    });
    expectNothingFinal();
    rmSync(blob(PARTIAL));
    expect(sha256(readFileSync((await pull('hf:org/model')).path))).toBe(sha256(WEIGHTS));
  });

  it('too small for the file is told before anything is fetched', async () => {
    addModel();
    used.hub.entry = (entry) => ({ ...entry, lfs: { oid: sha256(WEIGHTS), size: 2 ** 52 } });
    await expect(pull('hf:org/model')).rejects.toMatchObject({
      code: 'ERR_HUB_DISK',
      message: expect.stringContaining(`expected ${2 ** 52} free bytes`),
    });
    expect(used.hub.downloads()).toEqual([]);
  });

  it('that cannot be written to', async () => {
    addModel();
    writeFileSync(path.join(used.cache, 'models--org--model'), 'a file in the place of a folder');
    await expect(pull('hf:org/model')).rejects.toMatchObject({ code: 'ERR_HUB_DISK' });
  });
});

describe('a server', () => {
  it('that falls silent is given up, in the headers as in the body', async () => {
    addModel();
    process.env['HF_HUB_DOWNLOAD_TIMEOUT'] = '0.5';
    store(1, () => {});
    expect(sha256(readFileSync((await pull('hf:org/model')).path))).toBe(sha256(WEIGHTS));
    rmSync(used.cache, { recursive: true });
    store(1, (_, response, content) => {
      response.writeHead(200, { 'content-length': content!.length });
      response.write(content!.subarray(0, 1000));
    });
    expect(sha256(readFileSync((await pull('hf:org/model')).path))).toBe(sha256(WEIGHTS));
    expect(used.hub.downloads().at(-1)!.range).toBe('bytes=1000-');
  });

  it.each([
    ['a web page', 'text/html', '<html>'],
    ['another JSON', 'application/json', '{"sha":"../../../x"}'],
    ['nothing', 'application/json', ''],
    ['null', 'application/json', 'null'],
  ])('that answers with %s is not the hub', async (_, type, body) => {
    used.hub.fault = (__, response) => Boolean(response.writeHead(200, { 'content-type': type }).end(body));
    await expect(pull('hf:org/model')).rejects.toMatchObject({ code: 'ERR_HUB_NETWORK' });
    await expect(pull(`hf:org/model@${COMMIT}`)).rejects.toMatchObject({ code: 'ERR_HUB_NETWORK' });
  });

  it('that redirects for ever, or to another protocol, is given up', async () => {
    used.hub.fault = ({ path: url }, response) => Boolean(response.writeHead(302, { location: url }).end());
    await expect(pull('hf:org/model')).rejects.toMatchObject({
      message: expect.stringContaining('more than 10 redirects'),
    });
    used.hub.fault = (_, response) => Boolean(response.writeHead(302, { location: 'file:///etc/passwd' }).end());
    await expect(pull('hf:org/model')).rejects.toMatchObject({ message: expect.stringContaining('a redirect from') });
  });
});

it('cancelling ends it at once and keeps what is there', async () => {
  addModel();
  const controller = new AbortController();
  store(1, (_, response, content) => {
    response.writeHead(200, { 'content-length': content!.length });
    response.write(content!.subarray(0, 50_000));
  });
  const onProgress = ({ loaded }: PullProgress) => loaded === 50_000 && controller.abort(new Error('enough'));
  const cancelled = pull('hf:org/model', { signal: controller.signal, onProgress });
  await expect(cancelled).rejects.toMatchObject({ code: 'ERR_ABORTED', cause: new Error('enough') });
  expectNothingFinal();
  expect(blobs()).toEqual([sha256(WEIGHTS) + PARTIAL]);
  await expect(pull('hf:org/model', { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'ERR_ABORTED' });
  await pull('hf:org/model');
  expect(used.hub.downloads().at(-1)!.range).toBe('bytes=50000-');
});

it('what onProgress throws comes out as it is', async () => {
  addModel();
  const mine = new Error('mine');
  const onProgress = ({ loaded }: PullProgress): void => {
    if (loaded > 0) throw mine;
  };
  await expect(pull('hf:org/model', { onProgress })).rejects.toBe(mine);
  expectNothingFinal();
  await pull('hf:org/model');
});

it.each([
  ['HF_ENDPOINT', 'ftp://hub'],
  ['HF_ENDPOINT', 'https://user:password@hub'],
  ['HF_HUB_DOWNLOAD_TIMEOUT', 'soon'],
  ['HF_TOKEN', 'two\nlines'],
])('%s=%j is refused', async (name, value) => {
  process.env[name] = value;
  await expect(pull('hf:org/model')).rejects.toMatchObject({
    code: 'ERR_OPTION',
    message: expect.stringContaining(name),
  });
});
