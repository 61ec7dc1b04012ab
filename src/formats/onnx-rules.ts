/**
 * What each ONNX operator becomes. Source of their meaning: https://github.com/onnx/onnx/blob/main/docs/Operators.md and
 * Changelog.md for older opsets. An operator that is not listed, or a form of it that cannot be told, is ERR_ONNX_OPERATOR.
 */
import type { Call } from './onnx-import.js';
import { layerRules } from './onnx-rules-layers.js';
import { mathRules } from './onnx-rules-math.js';
import { poolRules } from './onnx-rules-pool.js';
import { shapeRules } from './onnx-rules-shape.js';

export type Rule = (call: Call) => void;

export const RULES: Record<string, Rule> = { ...layerRules, ...mathRules, ...poolRules, ...shapeRules };
