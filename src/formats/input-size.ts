/** The size of pictures, where a file leaves it open and the network depends on it. */
import type { ThawError } from '../errors.js';
import { fault } from './fault.js';

/** Whether TensorFlow's `same` padding of a window that reaches over that many pixels is another for other sizes. */
export const paddingDepends = (reach: number, stride: number): boolean => stride > 1 && reach > 1;

/** The question to the user. ERR_INPUT_SIZE. */
export function inputSizeUnknown(where: string): ThawError {
  const what =
    "inputSize, the pictures' height and width, which the file leaves open and its 'same' padding depends on,";
  return fault('ERR_INPUT_SIZE', what, where, 'none');
}
