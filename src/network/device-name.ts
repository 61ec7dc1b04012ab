/** Where a network lies: on the processor, or on a GPU by its number. */
export type Device = 'cpu' | `cuda:${number}`;

/** What can be asked for: 'cuda' is 'cuda:0'; 'auto' is a GPU where one can be used, else 'cpu'. */
export type DeviceRequest = Device | 'cuda' | 'auto';

const NAME = /^(?:cpu|auto|cuda(?::(?:0|[1-9]\d{0,2}))?)$/;

/** Is it the name of a device? Whether there is such a device is another question. */
export function isDeviceRequest(device: unknown): device is DeviceRequest {
  return typeof device === 'string' && NAME.test(device);
}
