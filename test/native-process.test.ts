import { spawn } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import ts from 'typescript';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

// The addon in processes of its own: they must end when they should, and never by a signal.

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const folder = mkdtempSync(join(tmpdir(), 'thaw-process-'));

/** A package of the same name with nothing but the compiled native.ts, which finds the binary of this one. */
beforeAll(() => {
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ name: 'thaw', type: 'module' }));
  mkdirSync(join(folder, 'dist'));
  for (const name of ['errors', 'native']) {
    const source = readFileSync(join(root, 'src', `${name}.ts`), 'utf8');
    const compilerOptions = { module: ts.ModuleKind.ES2022, target: ts.ScriptTarget.ES2022 };
    writeFileSync(join(folder, 'dist', `${name}.js`), ts.transpileModule(source, { compilerOptions }).outputText);
  }
  for (const name of ['node_modules', 'build', 'prebuilds']) {
    if (existsSync(join(root, name))) symlinkSync(join(root, name), join(folder, name), 'dir');
  }
});
afterAll(() => rmSync(folder, { recursive: true }));

const preamble = `
import { createSession, coreInfo } from ${JSON.stringify(pathToFileURL(join(folder, 'dist', 'native.js')).href)};
import { Worker, isMainThread, parentPort } from 'node:worker_threads';
import { setTimeout as wait } from 'node:timers/promises';
const tensor = { name: 'x', dtype: 'F32', shape: [1 << 20], init: { kind: 'normal', std: 1 } };
const long = (session) => session.submit('initialise', { tensors: Array(5000).fill(tensor), seed: 1 });
const brief = (session) => session.submit('initialise', { tensors: [tensor], seed: 1 });
`;

interface Ended {
  code: number | null;
  signal: string | null;
  out: string;
  error: string;
}

function run(
  script: string,
  options: { args?: string[]; shell?: string; env?: NodeJS.ProcessEnv } = {},
): Promise<Ended> {
  const path = join(folder, `script-${Math.random().toString(36).slice(2)}.mjs`);
  writeFileSync(path, preamble + script);
  const args = [...(options.args ?? []), path];
  const env = { ...process.env, ...options.env };
  const child = options.shell
    ? spawn('sh', ['-c', `${options.shell}; exec "$0" "$@"`, process.execPath, ...args], { cwd: folder, env })
    : spawn(process.execPath, args, { cwd: folder, env });
  const ended: Ended = { code: null, signal: null, out: '', error: '' };
  child.stdout.on('data', (data) => (ended.out += data));
  child.stderr.on('data', (data) => (ended.error += data));
  const limit = setTimeout(() => child.kill('SIGKILL'), 30_000);
  return new Promise((resolve) =>
    child.on('close', (code, signal) => {
      clearTimeout(limit);
      resolve({ ...ended, code, signal });
    }),
  );
}

const slow = { timeout: 60_000 };

describe('a process', slow, () => {
  it('ends by itself with idle sessions, used and unused', async () => {
    expect(await run(`const s = createSession(); createSession(); await brief(s); console.log('done');`)).toMatchObject(
      {
        code: 0,
        out: 'done\n',
        error: '',
      },
    );
  });

  it('stays for a command that nobody awaits', async () => {
    expect(await run(`brief(createSession()).then(() => console.log('done'));`)).toMatchObject({
      code: 0,
      out: 'done\n',
    });
  });

  it.each([0, 1, 20, 100])('exits in the middle of a command after %d ms', async (ms) => {
    expect(await run(`long(createSession()); await wait(${ms}); process.exit(3);`)).toMatchObject({
      code: 3,
      signal: null,
    });
  });

  it('dies of an exception in the middle of a command', async () => {
    expect(await run(`long(createSession()); setTimeout(() => { throw new Error('no') }, 20);`)).toMatchObject({
      code: 1,
      signal: null,
    });
  });

  it('disposes in the middle of a command and goes on', async () => {
    const script = `
      const [a, b] = [createSession(), createSession()];
      const outcome = long(a).catch((error) => error.code);
      await wait(20);
      a.dispose();
      await brief(b);
      console.log(await outcome, a.bytes);`;
    expect(await run(script)).toMatchObject({ code: 0, out: 'ERR_ABORTED 0\n' });
  });

  it('disposes in the middle of a command and exits at once', async () => {
    expect(
      await run(`const s = createSession(); long(s); await wait(20); s.dispose(); process.exit(0);`),
    ).toMatchObject({ code: 0 });
  });

  it('says what to do when the binary is missing', async () => {
    const script = `try { createSession() } catch (error) { console.log(error.code, error.message) }`;
    const { out } = await run(script, { env: { THAW_PREBUILD: join(folder, 'nowhere') } });
    expect(out).toMatch(/^ERR_NATIVE_MISSING expected a binary for .*npx thaw build/);
  });

  // The limit on the size of a file stands for a full disk: the system refuses the same call in the same place.
  it.skipIf(process.platform === 'win32')('leaves nothing behind when the disk is full', async () => {
    const target = join(folder, 'full', 'model');
    mkdirSync(dirname(target));
    writeFileSync(target, 'before');
    const script = `
      const s = createSession();
      await brief(s);
      await s.submit('write', { path: ${JSON.stringify(target)}, tensors: ['x'] }, [new Uint8Array(8)]).catch((e) => console.log(e.code));`;
    expect(await run(script, { shell: 'ulimit -f 1000' })).toMatchObject({ code: 0, out: 'ERR_FILE_WRITE\n' });
    expect(readdirSync(dirname(target))).toEqual(['model']);
    expect(readFileSync(target, 'utf8')).toBe('before');
  });
});

describe('worker threads', slow, () => {
  it('work, several at once', async () => {
    const script = `
      if (isMainThread) {
        const workers = [0, 1, 2].map(() => new Worker(new URL(import.meta.url)));
        const next = (event) => Promise.all(workers.map((worker) => new Promise((resolve) => worker.once(event, resolve))));
        const [sums] = await Promise.all([next('message'), next('exit'), brief(createSession())]);
        console.log(new Set(sums).size);
      } else {
        const session = createSession();
        await brief(session);
        const { buffers } = await session.submit('get', { names: ['x'] });
        parentPort.postMessage(new Float32Array(buffers[0]).reduce((sum, v) => sum + v, 0));
      }`;
    expect(await run(script)).toMatchObject({ code: 0, out: '1\n', error: '' });
  });

  it('are terminated in the middle of a command, again and again', async () => {
    const script = `
      if (isMainThread) {
        const session = createSession();
        for (let i = 0; i < 8; ++i) {
          const worker = new Worker(new URL(import.meta.url));
          await new Promise((resolve) => worker.once('message', resolve));
          await wait(i * 3);
          await worker.terminate();
        }
        await brief(session);
        console.log('alive');
      } else {
        const sessions = [createSession(), createSession()];
        sessions.forEach(long);
        sessions.push(createSession());
        long(sessions[2]).catch(() => {});
        sessions[2].dispose();
        parentPort.postMessage('running');
      }`;
    expect(await run(script)).toMatchObject({ code: 0, signal: null, out: 'alive\n' });
  });

  it('are left in the middle of a command when the main thread exits', async () => {
    const script = `
      const worker = new Worker(\`
        import(\${JSON.stringify(${JSON.stringify(pathToFileURL(join(folder, 'dist', 'native.js')).href)})}).then(({ createSession }) => {
          const tensor = { name: 'x', dtype: 'F32', shape: [1 << 20], init: { kind: 'normal', std: 1 } };
          createSession().submit('initialise', { tensors: Array(5000).fill(tensor) });
          require('worker_threads').parentPort.postMessage('running');
        });\`, { eval: true });
      worker.once('message', () => process.exit(4));`;
    expect(await run(script)).toMatchObject({ code: 4, signal: null });
  });
});

describe('memory', slow, () => {
  it.each(['disposed', 'collected'])('stays flat over 1,000 sessions that are %s', async (how) => {
    const script = `
      const data = new Float32Array(250_000);
      const one = async () => {
        const session = createSession();
        await session.submit('put', { tensors: [{ name: 'x', dtype: 'F32', shape: [data.length] }] }, [data]);
        await session.submit('get', { names: ['x'] });
        ${how === 'disposed' ? 'session.dispose();' : ''}
      };
      const settled = async () => { for (let i = 0; i < 5; ++i) { gc(); await wait(20); } return process.memoryUsage().rss / 2 ** 20; };
      for (let i = 0; i < 200; ++i) await one();
      const before = await settled();
      for (let i = 0; i < 800; ++i) await one();
      console.log(await settled() - before);`;
    const { code, out, error } = await run(script, { args: ['--expose-gc'] });
    expect({ code, error }).toEqual({ code: 0, error: '' });
    // 800 of them hold 800 MB if nothing is given back.
    expect(Number(out)).toBeLessThan(30);
  });
});
