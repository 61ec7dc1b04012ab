/** Devices as a user meets them, on a machine that need not have a GPU: what is missing is said, and `auto` goes on without. */
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { deviceTable } from '../../src/cli/commands/devices.js';
import { coreInfo, nativePath } from '../../src/native.js';

const root = path.resolve(import.meta.dirname, '../..');
const folder = mkdtempSync(path.join(tmpdir(), 'thaw-devices-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** An installed thaw, with nothing but the core's binary. */
const installed = path.join(folder, 'node_modules', 'thaw');
const packaged = path.join(folder, 'node_modules', 'thaw-cuda');
beforeAll(() => {
  mkdirSync(path.join(installed, 'build', 'Release'), { recursive: true });
  cpSync(path.join(root, 'dist'), path.join(installed, 'dist'), { recursive: true });
  cpSync(path.join(root, 'package.json'), path.join(installed, 'package.json'));
  cpSync(nativePath(), path.join(installed, 'build', 'Release', 'thaw.node'));
  symlinkSync(path.join(root, 'node_modules'), path.join(installed, 'node_modules'), 'dir');
});

interface Ended {
  code: number | null;
  out: string;
  error: string;
}

function thaw(args: string[], binary = '', home = installed): Ended {
  const env = { ...process.env, THAW_CUDA_BINARY: binary };
  const main = path.join(home, 'dist', 'cli', 'main.js');
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args], { encoding: 'utf8', env });
  return { code: status, out: stdout, error: stderr };
}

const bench = (device: string, binary?: string): Ended =>
  thaw(['bench', '--net', 'cifar_resnet20', '--batch', '1', '--repeats', '1', '--device', device, '--json'], binary);

/** `cuda` fails with this sentence, `auto` takes the processor and repeats it, and `thaw devices` says it too. */
function expectMissing(why: RegExp, binary?: string): void {
  const refused = bench('cuda', binary);
  expect(refused.code).toBe(1);
  const { error } = JSON.parse(refused.out) as { error: { code: string; message: string } };
  expect(error).toEqual({ code: 'ERR_DEVICE', message: expect.stringMatching(why) });
  const chosen = bench('auto', binary);
  expect(chosen).toMatchObject({ code: 0, error: `device auto: cpu (${error.message})\n` });
  expect(JSON.parse(chosen.out)).toMatchObject({ device: 'cpu' });
  expect(JSON.parse(thaw(['devices', '--json'], binary).out)).toMatchObject({ gpus: [], why: error.message });
}

describe('what is missing for a GPU is said', () => {
  it('the package thaw-cuda, with the command that installs it', () => {
    const { version } = coreInfo();
    const wanted = `^expected the package thaw-cuda for a GPU, received none: 'npm install thaw-cuda@${version}' adds it$`;
    expectMissing(new RegExp(wanted));
  });

  it('a binary of thaw-cuda for this platform', () => {
    cpSync(path.join(root, 'packages', 'thaw-cuda'), packaged, {
      recursive: true,
      filter: (file) => path.basename(file) !== 'prebuilds',
    });
    expectMissing(new RegExp(`binary of thaw-cuda for ${process.platform} ${process.arch}, received none at '`));
  });

  it('a binary that loads: the one of the package is found', () => {
    const place = path.join(packaged, 'prebuilds', `${process.platform}-${process.arch}`);
    mkdirSync(place, { recursive: true });
    const file = path.join(place, process.platform === 'win32' ? 'thaw.cuda.dll' : 'thaw.cuda.so');
    writeFileSync(file, 'no library');
    expectMissing(/^expected the binary of the package thaw-cuda for '.*thaw-cuda.prebuilds.*thaw\.cuda\./);
  });

  it('a file where THAW_CUDA_BINARY says that there is one', () => {
    expectMissing(/'.*nowhere\.so', received .*nowhere\.so/, path.join(folder, 'nowhere.so'));
  });

  it('a library of thaw, where it is another', () => {
    expectMissing(/thaw\.node', received .*thaw_gpu_backend/, path.join(installed, 'build', 'Release', 'thaw.node'));
  });
});

// A library that begins as the core expects it to (cpp/kernels/cuda/backend.h), and knows no GPU.
const library = (version: string, why: string): string => `
typedef struct { const char* version; const void* (*table)(const char*); void (*versions)(int*, int*);
  const char* (*count)(int*); } Backend;
static const void* table(const char* name) { (void)name; return 0; }
static void versions(int* driver, int* needed) { *driver = 12040; *needed = 13000; }
static const char* count(int* devices) { *devices = 0; return "${why}"; }
static const Backend backend = {"${version}", table, versions, count};
const Backend* thaw_gpu_backend(void) { return &backend; }
`;

function compiled(name: string, source: string): string {
  const [from, to] = [path.join(folder, `${name}.c`), path.join(folder, `${name}.so`)];
  writeFileSync(from, source);
  const { status, stderr } = spawnSync('cc', ['-shared', '-fPIC', '-o', to, from], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`cc: ${stderr}`);
  return to;
}

describe.runIf(process.platform === 'linux')('what the second binary tells', () => {
  it('a version of another thaw is refused', () => {
    const other = compiled('other', library('0.0.7', 'no matter'));
    expectMissing(/^expected version [\d.]+ for the package thaw-cuda, received version 0\.0\.7$/, other);
  });

  it('why there is no GPU is passed on, with the versions of CUDA', () => {
    const old = compiled('old', library(coreInfo().version, 'expected a driver of today, received one of old'));
    expectMissing(/^expected a driver of today, received one of old$/, old);
    const { out } = thaw(['devices'], old);
    expect(out).toMatch(/^The driver is for CUDA 12\.4; thaw-cuda needs 13\.0 or later\.$/m);
    expect(out).toMatch(/^No GPU can be used: expected a driver of today/m);
  });

  const built = path.join(root, 'build', 'Release', 'thaw.cuda.so');
  it.skipIf(!existsSync(built))('the one that was built here tells of driver and GPUs: needs CUDA', () => {
    const { gpus, why, needed } = JSON.parse(thaw(['devices', '--json'], built).out);
    expect(needed).toBe('13.0');
    if (existsSync('/proc/driver/nvidia/version')) expect([gpus.length > 0, why]).toContain(null);
    else expect(why).toBe("expected NVIDIA's driver for a GPU, received a system without it");
    expect(readFileSync(built).length).toBeLessThan(40e6);
  });
});

describe('thaw devices', () => {
  it('names the processor and its instruction sets', () => {
    const { isa, isas, threads } = coreInfo();
    const { code, out } = thaw(['devices']);
    expect(code).toBe(0);
    expect(out).toMatch(/^device +name +units +instructions +memory\ncpu +\S/);
    expect(out).toContain(isas.join(', '));
    const { processor } = JSON.parse(thaw(['devices', '--json']).out);
    expect(processor).toMatchObject({ device: 'cpu', threads, isa, isas });
    expect(thaw(['devices', 'all']).code).toBe(2);
  });

  it('lines up', () => {
    const processor = { device: 'cpu', model: 'P', threads: 1, isa: 'avx2', isas: ['avx2', 'scalar'] } as const;
    const common = { multiprocessors: 132, memory: 85e9 };
    const gpus = [
      { device: 'cuda:0', name: 'NVIDIA H100', computeCapability: '9.0', usable: true, ...common },
      { device: 'cuda:1', name: 'Old', computeCapability: '7.5', usable: false, ...common, memory: 8e9 },
    ] as const;
    const found = { processor: { ...processor, isas: [...processor.isas] }, gpus: [...gpus] };
    expect(deviceTable({ ...found, why: null, driver: '13.0', needed: '13.0' })).toBe(
      [
        'device  name         units                instructions                       memory',
        'cpu     P            1 thread             avx2, scalar',
        'cuda:0  NVIDIA H100  132 multiprocessors  compute capability 9.0            85.0 GB',
        'cuda:1  Old          132 multiprocessors  compute capability 7.5 (too old)   8.0 GB',
        '',
        'The driver is for CUDA 13.0; thaw-cuda needs 13.0 or later.',
      ].join('\n'),
    );
  });
});
