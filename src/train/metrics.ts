/**
 * Metrics from scores and targets. Scores are what the head puts out before softmax or sigmoid, f32, row-major
 * [n, classes]. Definitions are scikit-learn's; a value that is undefined there (0/0) is 0 here as it is by default there.
 */

/** Scores and targets of a data set in its order. */
export interface Scored {
  /** Row-major [n, width]. */
  scores: Float32Array;
  width: number;
  /** single: class index [n]; multi: 0 or 1 [n, width]; regression: numbers in original units [n, width]. */
  targets: Int32Array | Float32Array;
}

/** Precision, recall and F1 of one label. */
export interface ClassMetrics {
  label: string;
  precision: number;
  recall: number;
  f1: number;
  /** Samples that bear this label. */
  support: number;
}

/** What `evaluate` measures of a head with one label a sample. */
export interface SingleLabelMetrics {
  kind: 'single';
  /** Mean cross-entropy, without label smoothing and class weights. */
  loss: number;
  accuracy: number;
  /** Mean recall over the classes that occur. */
  balancedAccuracy: number;
  /** Share of samples whose label is among the five best scores (all of them, with fewer classes). */
  top5: number;
  macroF1: number;
  perClass: ClassMetrics[];
  /** Rows: true class; columns: predicted class. */
  confusion: number[][];
  count: number;
}

/** What `evaluate` measures of a head with any number of labels a sample. */
export interface MultiLabelMetrics {
  kind: 'multi';
  /** Mean binary cross-entropy over samples and labels. */
  loss: number;
  /** A label is said to apply from this probability on. */
  threshold: number;
  /** Over all samples and labels together. */
  microF1: number;
  /** Mean of the labels' F1. */
  macroF1: number;
  /** Mean average precision over the labels that occur. */
  meanAveragePrecision: number;
  /** Share of samples with every label right. */
  exactMatch: number;
  perClass: (ClassMetrics & { averagePrecision: number })[];
  count: number;
}

/** What `evaluate` measures of a head that gives numbers. */
export interface RegressionMetrics {
  kind: 'regression';
  /** Mean squared error on the scaled targets (what training minimises). */
  loss: number;
  /** Mean absolute error, root mean squared error (original units) and R2, each a mean over targets. */
  mae: number;
  rmse: number;
  r2: number;
  perTarget: { name: string; mae: number; rmse: number; r2: number }[];
  count: number;
}

/** Metrics by the kind of the head; told apart by `kind`. */
export type Metrics = SingleLabelMetrics | MultiLabelMetrics | RegressionMetrics;

/** The classes a row of scores stands for, best first; equal scores in the order of their indices. */
export function ranking(scores: ArrayLike<number>): number[] {
  return Array.from({ length: scores.length }, (_, i) => i).sort((a, b) => scores[b]! - scores[a]! || a - b);
}

/** Softmax of one row, in double precision. */
export function softmax(scores: ArrayLike<number>): Float64Array {
  const row = Float64Array.from(scores);
  const highest = row.reduce((a, b) => Math.max(a, b), -Infinity);
  let sum = 0;
  for (let i = 0; i < row.length; i++) sum += row[i] = Math.exp(row[i]! - highest);
  return row.map((value) => value / sum);
}

/** 1 / (1 + exp(-score)), without overflow. */
export function sigmoid(score: number): number {
  return score >= 0 ? 1 / (1 + Math.exp(-score)) : Math.exp(score) / (1 + Math.exp(score));
}

/** Metrics of scores with one right class each; targets are class indices. */
export function singleLabelMetrics({ scores, width, targets }: Scored, labels: readonly string[]): SingleLabelMetrics {
  const confusion = Array.from({ length: width }, () => new Array<number>(width).fill(0));
  let loss = 0;
  let top = 0;
  for (let row = 0; row < targets.length; row++) {
    const own = scores.subarray(row * width, (row + 1) * width);
    const truth = targets[row]!;
    confusion[truth]![argmax(own)]! += 1;
    loss += logSumExp(own) - own[truth]!;
    if (rankOf(own, truth) < 5) top++;
  }
  const perClass = confusion.map((_, c) => classMetrics(confusion, c, labels[c] ?? String(c)));
  const present = perClass.filter((c) => c.support > 0);
  const right = confusion.reduce((sum, counts, c) => sum + counts[c]!, 0);
  return {
    kind: 'single',
    loss: ratio(loss, targets.length),
    accuracy: ratio(right, targets.length),
    balancedAccuracy: mean(present.map((c) => c.recall)),
    top5: ratio(top, targets.length),
    macroF1: mean(perClass.filter((c, i) => c.support > 0 || predicted(confusion, i) > 0).map((c) => c.f1)),
    perClass,
    confusion,
    count: targets.length,
  };
}

function classMetrics(confusion: number[][], c: number, label: string): ClassMetrics {
  const support = confusion[c]!.reduce((a, b) => a + b, 0);
  return { label, ...precisionRecall(confusion[c]![c]!, predicted(confusion, c), support), support };
}

function predicted(confusion: number[][], c: number): number {
  return confusion.reduce((sum, row) => sum + row[c]!, 0);
}

function precisionRecall(
  hits: number,
  said: number,
  support: number,
): { precision: number; recall: number; f1: number } {
  return { precision: ratio(hits, said), recall: ratio(hits, support), f1: ratio(2 * hits, said + support) };
}

/** How many classes stand before this one; equal scores in the order of their indices. */
function rankOf(scores: Float32Array, c: number): number {
  let before = 0;
  for (let i = 0; i < scores.length; i++) if (scores[i]! > scores[c]! || (scores[i] === scores[c] && i < c)) before++;
  return before;
}

/** Index of the highest score; of equal ones the first. */
export function argmax(scores: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < scores.length; i++) if (scores[i]! > scores[best]!) best = i;
  return best;
}

function logSumExp(scores: Float32Array): number {
  const highest = scores.reduce((a, b) => Math.max(a, b), -Infinity);
  let sum = 0;
  for (const score of scores) sum += Math.exp(score - highest);
  return highest + Math.log(sum);
}

/** Metrics of scores with any number of right labels each; targets are 0 and 1. */
export function multiLabelMetrics(
  { scores, width, targets }: Scored,
  labels: readonly string[],
  threshold = 0.5,
): MultiLabelMetrics {
  const rows = targets.length / Math.max(1, width);
  const hits = new Array<number>(width).fill(0);
  const said = new Array<number>(width).fill(0);
  const support = new Array<number>(width).fill(0);
  let loss = 0;
  let exact = 0;
  for (let row = 0; row < rows; row++) {
    let wrong = 0;
    for (let c = 0; c < width; c++) {
      const score = scores[row * width + c]!;
      const truth = targets[row * width + c]!;
      const yes = sigmoid(score) >= threshold;
      loss += Math.max(score, 0) - score * truth + Math.log1p(Math.exp(-Math.abs(score)));
      said[c]! += Number(yes);
      support[c]! += truth;
      hits[c]! += Number(yes && truth === 1);
      wrong += Number(yes !== (truth === 1));
    }
    exact += Number(wrong === 0);
  }
  const perClass = support.map((count, c) => ({
    label: labels[c] ?? String(c),
    ...precisionRecall(hits[c]!, said[c]!, count),
    support: count,
    averagePrecision: averagePrecision(column(scores, width, c), column(targets, width, c)),
  }));
  return {
    kind: 'multi',
    loss: ratio(loss, targets.length),
    threshold,
    microF1: precisionRecall(sum(hits), sum(said), sum(support)).f1,
    macroF1: mean(perClass.map((c) => c.f1)),
    meanAveragePrecision: mean(perClass.filter((c) => c.support > 0).map((c) => c.averagePrecision)),
    exactMatch: ratio(exact, rows),
    perClass,
    count: rows,
  };
}

/**
 * Average precision: the sum over thresholds of precision times the gain in recall; equal scores share one threshold.
 * 0 where no sample is positive.
 */
export function averagePrecision(scores: ArrayLike<number>, truth: ArrayLike<number>): number {
  const positives = sum(Array.from(truth));
  if (positives === 0) return 0;
  const order = ranking(scores);
  let found = 0;
  let average = 0;
  for (let i = 0; i < order.length;) {
    const score = scores[order[i]!];
    const before = found;
    while (i < order.length && scores[order[i]!] === score) found += truth[order[i++]!]!;
    average += ((found - before) / positives) * (found / i);
  }
  return average;
}

/** `scores` in original units; `lossScale`: the deviation each target was divided by for training (default 1). */
export function regressionMetrics(
  { scores, width, targets }: Scored,
  names: readonly string[],
  lossScale: readonly number[] = [],
): RegressionMetrics {
  const rows = targets.length / Math.max(1, width);
  let loss = 0;
  const perTarget = Array.from({ length: width }, (_, t) => {
    const truth = column(targets, width, t);
    const errors = column(scores, width, t).map((value, row) => value - truth[row]!);
    const squares = sum(errors.map((e) => e * e));
    const centre = mean(truth);
    const spread = sum(truth.map((value) => (value - centre) ** 2));
    loss += squares / (lossScale[t] ?? 1) ** 2;
    return {
      name: names[t] ?? String(t),
      mae: mean(errors.map(Math.abs)),
      rmse: Math.sqrt(ratio(squares, rows)),
      // As scikit-learn: a constant target has R2 1 if it is met exactly, else 0.
      r2: spread > 0 ? 1 - squares / spread : Number(squares === 0),
    };
  });
  const over = (key: 'mae' | 'rmse' | 'r2'): number => mean(perTarget.map((t) => t[key]));
  return {
    kind: 'regression',
    loss: ratio(loss, targets.length),
    mae: over('mae'),
    rmse: over('rmse'),
    r2: over('r2'),
    perTarget,
    count: rows,
  };
}

function column(values: ArrayLike<number>, width: number, c: number): number[] {
  return Array.from({ length: values.length / width }, (_, row) => values[row * width + c]!);
}

function sum(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0);
}

function mean(values: readonly number[]): number {
  return ratio(sum(values), values.length);
}

function ratio(a: number, b: number): number {
  return b === 0 ? 0 : a / b;
}
