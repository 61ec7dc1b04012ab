/** Architectures as functions from their configuration to a graph, and how to tell them by their tensors. */
export { architectures, build } from './build.js';
export { recognise, type Recognised, type Unrecognised } from './recognise.js';
export { respelled } from './spelling.js';
export { fromTimm, timmNames, type TimmNetwork } from './timm.js';
export type { Architecture, Config, Norm, Preprocessing } from './types.js';
