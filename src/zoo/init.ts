import type { Initialiser } from '../graph/types.js';

/** He et al. 2015 for a relu behind the layer, by the layer's outputs. */
export const kaimingOut: Initialiser = { kind: 'kaimingNormal', fan: 'out', gain: Math.SQRT2 };
/** The same by the layer's inputs. */
export const kaimingIn: Initialiser = { kind: 'kaimingNormal', fan: 'in', gain: Math.SQRT2 };
export const kaimingUniformIn: Initialiser = { kind: 'kaimingUniform', fan: 'in', gain: Math.SQRT2 };
export const small: Initialiser = { kind: 'normal', std: 0.01 };
export const zeros: Initialiser = { kind: 'zeros' };
