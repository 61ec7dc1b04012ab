import { duration, percent, shortNumber, textTable } from '../report/text.js';
import type { EpochEvent, FitEvent, FitResult, StartEvent } from './events.js';
import type { Metrics } from './metrics.js';

/** One event as a line of text (without a newline). */
export function formatEvent(event: FitEvent): string {
  switch (event.type) {
    case 'start':
      return formatStart(event);
    case 'progress':
      return `${event.task} ${event.done}${event.total === null ? '' : `/${event.total}`}`;
    case 'step': {
      const rate = `learning rate ${shortNumber(event.learningRate)}`;
      return `epoch ${event.epoch} step ${event.step}  loss ${shortNumber(event.loss)}  ${rate}  ${shortNumber(event.samplesPerSecond)} samples/s`;
    }
    case 'epoch':
      return formatEpoch(event);
    case 'note':
      return event.message;
    case 'warning':
      return `warning: ${event.message}`;
    case 'end':
      return formatEnd(event.result);
  }
}

function formatStart(event: StartEvent): string {
  const { samples, validationSamples, trainableParameters, parameters } = event;
  const data = `${samples ?? 'a stream of'} samples${validationSamples === null ? '' : `, ${validationSamples} to validate`}`;
  const what = `training ${trainableParameters.toLocaleString('en')} of ${parameters.toLocaleString('en')} parameters`;
  return `${event.resumed ? 'going on' : 'start'}: ${data}; ${what}; ${event.epochs} epochs, batch ${event.batch}`;
}

function formatEpoch({ epoch, epochs, phase, train, validation, seconds, best }: EpochEvent): string {
  const accuracy = train.accuracy === undefined ? '' : ` accuracy ${percent(train.accuracy)}`;
  const own = validation ? `  validation ${headline(validation)}` : '';
  const of = phase === 'fit' ? '' : ` (${phase})`;
  return `epoch ${epoch}/${epochs}${of}  loss ${shortNumber(train.loss)}${accuracy}${own}  ${duration(seconds)}${best ? '  best' : ''}`;
}

function formatEnd(result: FitResult): string {
  const reasons = { finished: 'finished', earlyStopping: 'stopped early', aborted: 'aborted', stopped: 'stopped' };
  const which = result.weights === 'best' && result.best ? `; weights of epoch ${result.best.epoch}` : '';
  const own = result.validation ? `; validation ${headline(result.validation)}` : '';
  const left = result.skipped.length > 0 ? `; ${result.skipped.length} files left out` : '';
  return `${reasons[result.reason]} after ${result.epochs.length} epochs, ${duration(result.seconds)}${which}${own}${left}`;
}

function headline(metrics: Metrics & { custom?: Record<string, number> }): string {
  const own = Object.entries(metrics.custom ?? {}).map(([name, value]) => `${name} ${shortNumber(value)}`);
  return [...summaryLine(metrics), ...own].join(' ');
}

function summaryLine(metrics: Metrics): string[] {
  const loss = `loss ${shortNumber(metrics.loss)}`;
  if (metrics.kind === 'single')
    return [loss, `accuracy ${percent(metrics.accuracy)}`, `balanced ${percent(metrics.balancedAccuracy)}`];
  if (metrics.kind === 'multi')
    return [loss, `F1 ${shortNumber(metrics.microF1)}`, `mAP ${shortNumber(metrics.meanAveragePrecision)}`];
  return [
    loss,
    `MAE ${shortNumber(metrics.mae)}`,
    `RMSE ${shortNumber(metrics.rmse)}`,
    `R2 ${shortNumber(metrics.r2)}`,
  ];
}

/** All metrics as tables. Confusion matrices of more than 20 classes are left out. */
export function formatMetrics(metrics: Metrics & { custom?: Record<string, number> }): string {
  const parts = [`${metrics.count} samples  ${headline(metrics)}`];
  if (metrics.kind === 'regression') {
    const rows = metrics.perTarget.map(({ name, mae, rmse, r2 }) => [name, ...[mae, rmse, r2].map(shortNumber)]);
    return [...parts, textTable([['target', 'MAE', 'RMSE', 'R2'], ...rows], [1, 2, 3])].join('\n\n');
  }
  if (metrics.kind === 'single') parts[0] += `  top-5 ${percent(metrics.top5)}`;
  const rows = metrics.perClass.map((c) => [
    c.label,
    percent(c.precision),
    percent(c.recall),
    shortNumber(c.f1),
    String(c.support),
  ]);
  parts.push(textTable([['label', 'precision', 'recall', 'F1', 'samples'], ...rows], [1, 2, 3, 4]));
  if (metrics.kind === 'single' && metrics.confusion.length <= 20) parts.push(formatConfusion(metrics));
  return parts.join('\n\n');
}

function formatConfusion({ confusion, perClass }: Extract<Metrics, { kind: 'single' }>): string {
  const head = ['true \\ predicted', ...perClass.map(({ label }) => label)];
  const rows = confusion.map((counts, i) => [perClass[i]!.label, ...counts.map(String)]);
  return textTable(
    [head, ...rows],
    perClass.map((_, i) => i + 1),
  );
}
