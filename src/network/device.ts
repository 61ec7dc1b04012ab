import { cpus } from 'node:os';
import { expected, ThawError } from '../errors.js';
import { coreInfo, createSession, cudaPath } from '../native.js';
import type { Commands, CudaBinary, GpuDescription, Isa, NativeSession } from '../native.js';
import { isDeviceRequest } from './device-name.js';
import type { Device, DeviceRequest } from './device-name.js';
import type { PlanCache } from './plans.js';

export type { Device, DeviceRequest };

/** A GPU: compute capability as '9.0', memory in bytes. */
export interface Gpu extends GpuDescription {
  /** False where it is older than the kernels of thaw, which begin with compute capability 8.0 (Ampere). */
  usable: boolean;
}

/** Where a network lies and why. */
export interface DeviceReport {
  asked: DeviceRequest;
  device: Device;
  /** The GPU, where it is one. */
  gpu?: Gpu;
  /** Why 'auto' is the processor. */
  why?: string;
}

/** What this machine computes with; see `devices`. */
export interface Devices {
  processor: {
    device: 'cpu';
    /** Its name, as the system tells it. */
    model: string;
    /** Threads of the core: the processors that this process may use. */
    threads: number;
    /** The instruction set in use, and all that this process can run, the best first. */
    isa: Isa;
    isas: Isa[];
  };
  gpus: Gpu[];
  /** Why no GPU can be used; null where one can. */
  why: string | null;
  /** Version of CUDA that the driver has; null: there is no driver, or nothing that could ask it. */
  driver: string | null;
  /** The least that thaw-cuda runs on; null where that is not installed. */
  needed: string | null;
}

const LEAST_CAPABILITY = 8;

/** @throws ERR_ARGUMENT it is not the name of a device */
export function checkDevice(device: unknown): asserts device is DeviceRequest {
  if (!isDeviceRequest(device)) throw expected('ERR_ARGUMENT', "'cpu', 'cuda', 'cuda:1' or 'auto'", 'device', device);
}

/** Fails early where a GPU is asked for and its kernels are not installed. @throws ERR_DEVICE */
export function checkInstalled(device: DeviceRequest): void {
  if (device.startsWith('cuda')) cudaPath();
}

/**
 * The processor and the GPUs of this machine. That there is no GPU is no error: `why` says what is missing.
 * @throws ERR_NATIVE_MISSING, ERR_ABORTED
 */
export async function devices(options: { signal?: AbortSignal | undefined } = {}): Promise<Devices> {
  const { threads, isa, isas } = coreInfo();
  const model = cpus()[0]?.model.trim() || process.arch;
  const processor = { device: 'cpu', model, threads, isa, isas } as const;
  const session = createSession();
  try {
    const { gpus, driver, needed, why } = await listed(session, options.signal);
    const reason = gpus.some(({ usable }) => usable) ? null : (why ?? tooOld(gpus[0]!));
    return { processor, gpus, why: reason, driver: driver === '0.0' ? null : driver, needed };
  } catch (error) {
    if (!isOfDevice(error)) throw error;
    return { processor, gpus: [], why: error.message, driver: null, needed: null };
  } finally {
    session.dispose();
  }
}

/**
 * Moves a network's session. Its tensors stay, its plans are released: what runs next is compiled for the new place.
 * @throws ERR_DEVICE what is missing; of 'auto' never; ERR_ARGUMENT
 */
export async function move(
  session: NativeSession,
  plans: PlanCache,
  from: Device,
  asked: DeviceRequest,
  signal?: AbortSignal,
): Promise<DeviceReport> {
  checkDevice(asked);
  const to = async (device: Device, request: Commands['device']['request']): Promise<void> => {
    if (device === from) return;
    // In one go with the command: a plan that is asked for from now on is compiled behind it.
    plans.release();
    await session.submit('device', request, [], options(signal));
  };
  const toProcessor = async (): Promise<{ asked: DeviceRequest; device: 'cpu' }> => {
    await to('cpu', { device: -1 });
    return { asked, device: 'cpu' };
  };
  if (asked === 'cpu') return toProcessor();
  try {
    const gpu = chosen(await listed(session, signal), asked);
    await to(gpu.device, { device: Number(gpu.device.slice('cuda:'.length)), ...binary() });
    return { asked, device: gpu.device, gpu };
  } catch (error) {
    if (asked !== 'auto' || !isOfDevice(error)) throw error;
    return { ...(await toProcessor()), why: error.message };
  }
}

type Listed = Omit<Commands['devices']['reply'], 'gpus'> & { gpus: Gpu[] };

async function listed(session: NativeSession, signal: AbortSignal | undefined): Promise<Listed> {
  const { reply } = await session.submit('devices', binary(), [], options(signal));
  return { ...reply, gpus: reply.gpus.map((gpu) => ({ ...gpu, usable: usable(gpu) })) };
}

const binary = (): CudaBinary => ({ library: cudaPath(), version: coreInfo().version });

const usable = ({ computeCapability }: GpuDescription): boolean =>
  Number.parseFloat(computeCapability) >= LEAST_CAPABILITY;

/** @throws ERR_DEVICE there is no such GPU, or it is too old */
function chosen({ gpus, why }: Listed, asked: DeviceRequest): Gpu {
  if (gpus.length === 0)
    throw new ThawError('ERR_DEVICE', why ?? 'expected an NVIDIA GPU, received a machine without one');
  const name = asked === 'cuda' ? 'cuda:0' : asked;
  const gpu =
    asked === 'auto' ? (gpus.find((one) => one.usable) ?? gpus[0]) : gpus.find(({ device }) => device === name);
  if (!gpu) throw expected('ERR_DEVICE', gpus.map(({ device }) => device).join(' or '), 'device', asked);
  if (!gpu.usable) throw new ThawError('ERR_DEVICE', tooOld(gpu));
  return gpu;
}

const tooOld = ({ device, name, computeCapability }: GpuDescription): string =>
  `expected a GPU of compute capability ${LEAST_CAPABILITY.toFixed(1)} or later for '${device}', received ${name} with ${computeCapability}`;

/** What is missing or too small is known by its code; everything else is another matter. */
const isOfDevice = (error: unknown): error is ThawError =>
  error instanceof ThawError && (error.code === 'ERR_DEVICE' || error.code === 'ERR_DEVICE_MEMORY');

const options = (signal?: AbortSignal): { signal?: AbortSignal } => (signal ? { signal } : {});
