/** thaw: transfer learning for Node.js. */

export { ThawError } from './errors.js';

// Graphs
export { GraphBuilder } from './graph/builder.js';
export type {
  BatchNormOptions,
  Conv2dGeometry,
  Conv2dOptions,
  Conv2dSizes,
  GivenWeights,
  LayerInit,
  LinearSizes,
  Padding,
  Pair,
  PoolOptions,
} from './graph/builder.js';
export type * from './graph/types.js';
export { architectures } from './zoo/index.js';
export type { Preprocessing } from './zoo/index.js';

// Networks
export { create, fromGraph } from './network/create.js';
export type { CreateOptions, FromGraphOptions } from './network/create.js';
export type { GivenPreprocessing } from './network/preprocessing.js';
export type { PreprocessingMode } from './formats/keras-preprocessing.js';
export type { NetworkOptions } from './network/assemble.js';
export { devices } from './network/device.js';
export type { Device, DeviceReport, DeviceRequest, Devices, Gpu } from './network/device.js';
export type { GpuDescription, Isa, Precision } from './native.js';
export { load } from './network/load.js';
export type { LoadOptions } from './network/load.js';
export type { LoadProgress } from './network/weights.js';
export { pull } from './hub/pull.js';
export type { Pulled, PulledFile, PullOptions, PullProgress } from './hub/pull.js';
export { Network } from './network/network.js';
export { batchNorm, concatPool, dropout, flatten, globalAveragePool, linear, relu } from './network/head-layers.js';
export type { HeadLayer, HeadOptions } from './network/head-layers.js';
export { LoadReport } from './network/report.js';
export type { TensorReport } from './network/report.js';
export { Summary } from './network/summary.js';
export type { SummaryMemory, SummaryOptions, SummaryRow } from './network/summary.js';
export { exportOnnx } from './network/export-onnx.js';
export { exportTfjs } from './network/export-tfjs.js';
export type { ExportOnnxOptions } from './network/export-onnx.js';
export type { ExportTfjsOptions } from './network/export-tfjs.js';
export type { SaveOptions } from './network/save.js';
export type { ForwardOptions, GradientsResult, StepOptions, StepResult } from './network/lowlevel.js';
export type {
  Batch,
  BatchNormMode,
  CachedRows,
  CompileOptions,
  ExecuteOptions,
  FreezeOptions,
  FreezePattern,
  HeadDescription,
  HeadKind,
  LayerGroup,
  LayerRange,
  LossOptions,
  NamePattern,
  NetworkLock,
  NetworkVersion,
  NextBatch,
  Plan,
  PlanMode,
  RandomOptions,
  TargetScaling,
  Tensor,
  TypedArray,
  Update,
  ValueDescription,
} from './network/types.js';
export type { RunReply } from './network/plans.js';

// Training and use
export * from './data/index.js';
export type { Batch as DataBatch } from './data/types.js';
export * from './train/index.js';
