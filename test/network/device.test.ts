/** What `net.to` asks of the core, in which order, with GPUs that are made up. */
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { ThawError } from '../../src/errors.js';
import { create, fromGraph } from '../../src/network/create.js';
import { devices } from '../../src/network/device.js';
import { load } from '../../src/network/load.js';
import type { Network } from '../../src/network/network.js';
import { build } from '../../src/zoo/index.js';
import { gpus, sessions } from './fake-session.js';
import type { FakeSession } from './fake-session.js';
import { tensorsOf, writeFile } from './files.js';
import { tinyResNet } from './graphs.js';

vi.mock('../../src/native.js', async () => (await import('./fake-session.js')).fakeNative());

const gpu = (index: number, computeCapability: string) => ({
  ...{ device: `cuda:${index}` as const, name: `Made up ${index}`, multiprocessors: 4, memory: 2e9 },
  computeCapability,
});
const OLD = gpu(0, '7.5');
const NEW = gpu(1, '10.0');
beforeEach(() => void gpus.splice(0, gpus.length, OLD, NEW));

const fake = (net: Network): FakeSession => net.session as unknown as FakeSession;
const code = (wanted: string, message: RegExp = /./) =>
  expect.objectContaining({ code: wanted, message: expect.stringMatching(message) });
const image = { data: new Float32Array(3 * 8 * 8), shape: [1, 3, 8, 8] };
const shapes = { image: image.shape };

describe('net.to', () => {
  it('moves to the GPU that is named, and back', async () => {
    const net = await fromGraph(tinyResNet());
    expect([net.device, net.deviceReport]).toEqual(['cpu', { asked: 'cpu', device: 'cpu' }]);
    expect(await net.to('cuda:1')).toBe(net);
    expect(net.device).toBe('cuda:1');
    expect(net.deviceReport).toEqual({ asked: 'cuda:1', device: 'cuda:1', gpu: { ...NEW, usable: true } });
    await net.to('cpu');
    expect(net.deviceReport).toEqual({ asked: 'cpu', device: 'cpu' });
    const library = { library: '/somewhere/thaw.cuda.so', version: '1.2.3' };
    expect(fake(net).of('devices')).toEqual([library]);
    expect(fake(net).of('device')).toEqual([{ device: 1, ...library }, { device: -1 }]);
  });

  it('has plans made anew, but not where it is already', async () => {
    const net = await fromGraph(tinyResNet());
    const here = await net.compile('run', shapes);
    await net.to('cpu');
    expect(await net.compile('run', shapes)).toBe(here);
    expect(fake(net).of('device')).toEqual([]);
    await net.to('cuda:1');
    expect(here.released).toBe(true);
    const there = await net.compile('run', shapes);
    expect(there).not.toBe(here);
    await net.to('cuda:1');
    expect(await net.compile('run', shapes)).toBe(there);
  });

  it('lets predictions that are under way end, here or there', async () => {
    const net = await fromGraph(tinyResNet());
    const before = net.forward(image);
    const moved = net.to('cuda:1');
    const meanwhile = net.forward(image);
    await expect(Promise.all([before, moved, meanwhile, net.forward(image)])).resolves.toBeDefined();
  });

  it('is refused during a fit, and refuses a fit; marks may change', async () => {
    const net = await fromGraph(tinyResNet());
    const lock = net.lock();
    await expect(net.to('cuda:1')).rejects.toEqual(code('ERR_NETWORK_BUSY', /a move to 'cuda:1' while fit runs/));
    lock.release();
    const moved = net.to('cuda:1');
    expect(() => net.lock()).toThrow(code('ERR_NETWORK_BUSY', /fit while a move to 'cuda:1' runs/));
    net.freeze();
    await moved;
    expect(net.busy).toBe(null);
  });

  it('stays where it is after a failure', async () => {
    const net = await fromGraph(tinyResNet());
    fake(net).fail.set('device', new ThawError('ERR_DEVICE_MEMORY', 'full'));
    await expect(net.to('cuda:1')).rejects.toEqual(code('ERR_DEVICE_MEMORY'));
    expect([net.device, net.busy]).toEqual(['cpu', null]);
    await expect(net.forward(image)).resolves.toBeDefined();
    const stopped = net.to('auto', { signal: AbortSignal.abort() });
    await expect(stopped).rejects.toEqual(code('ERR_ABORTED'));
    net.dispose();
    await expect(net.to('auto')).rejects.toEqual(code('ERR_DISPOSED'));
  });

  it('says what is missing', async () => {
    const net = await fromGraph(tinyResNet());
    await expect(net.to('cuda')).rejects.toEqual(code('ERR_DEVICE', /8\.0 or later .*'cuda:0', .*Made up 0 with 7\.5/));
    await expect(net.to('cuda:2')).rejects.toEqual(code('ERR_DEVICE', /cuda:0 or cuda:1 .*'cuda:2'/));
    gpus.length = 0;
    await expect(net.to('cuda')).rejects.toEqual(code('ERR_DEVICE', /^expected a GPU, received none$/));
    expect(fake(net).of('device')).toEqual([]);
  });

  it.each(['tpu', 'CUDA', 'cuda:', 'cuda:01', 'cuda:-1', 'cuda:1.5', '', 0, null, undefined, Symbol('cpu')])(
    '%s is no device',
    async (device) => {
      const net = await fromGraph(tinyResNet());
      const wrong = code('ERR_ARGUMENT', /^expected 'cpu', 'cuda', 'cuda:1' or 'auto' for device, received /);
      await expect(net.to(device as never)).rejects.toEqual(wrong);
      expect(net.busy).toBe(null);
    },
  );
});

describe('auto', () => {
  it('takes the first GPU that can be used', async () => {
    const net = await fromGraph(tinyResNet(), { device: 'auto' });
    expect(net.deviceReport).toEqual({ asked: 'auto', device: 'cuda:1', gpu: { ...NEW, usable: true } });
  });

  it.each([
    ['there is none', () => void (gpus.length = 0), /received none/],
    ['it is too old', () => void gpus.pop(), /8\.0 or later/],
  ])('takes the processor where %s', async (_, arrange, why) => {
    arrange();
    const net = await fromGraph(tinyResNet(), { device: 'auto' });
    expect(net.deviceReport).toEqual({ asked: 'auto', device: 'cpu', why: expect.stringMatching(why) });
  });

  it('takes the processor where the GPU cannot be had', async () => {
    const net = await fromGraph(tinyResNet());
    fake(net).fail.set('device', new ThawError('ERR_DEVICE_MEMORY', 'full'));
    await net.to('auto');
    expect(net.deviceReport).toEqual({ asked: 'auto', device: 'cpu', why: 'full' });
  });

  it('comes back from a GPU that is gone', async () => {
    const net = await fromGraph(tinyResNet(), { device: 'cuda:1' });
    gpus.length = 0;
    await net.to('auto');
    expect(net.device).toBe('cpu');
    expect(fake(net).of('device').at(-1)).toEqual({ device: -1 });
  });
});

describe('the option device', () => {
  it('is looked at before weights are read', async () => {
    const path = writeFile('device.safetensors', tensorsOf(build('cifar_resnet20').graph));
    const net = await load(path, { device: 'cuda:1' });
    expect(fake(net).submitted.map(({ command }) => command)).toEqual(['devices', 'device', 'read']);
    await expect(load(path, { device: 'cuda:7' })).rejects.toEqual(code('ERR_DEVICE'));
    expect(sessions.at(-1)).toMatchObject({ disposed: true, submitted: [{ command: 'devices' }] });
    await expect(create('resnet18', { device: 'gpu' as never })).rejects.toEqual(code('ERR_ARGUMENT'));
  });
});

describe('devices', () => {
  it('lists processor and GPUs, and leaves nothing behind', async () => {
    const found = await devices();
    expect(found).toMatchObject({ processor: { device: 'cpu', threads: 1, isa: 'scalar', isas: ['scalar'] } });
    expect(found.processor.model).not.toBe('');
    expect(found.gpus).toEqual([
      { ...OLD, usable: false },
      { ...NEW, usable: true },
    ]);
    expect([found.why, found.driver, found.needed]).toEqual([null, '13.0', '13.0']);
    expect(sessions.at(-1)!.disposed).toBe(true);
    gpus.pop();
    expect((await devices()).why).toMatch(/8\.0 or later/);
    gpus.pop();
    expect((await devices()).why).toBe('expected a GPU, received none');
  });
});
