import type { Batch, SkippedFile } from '../data/types.js';
import { ThawError } from '../errors.js';
import type { Network } from '../network/network.js';
import type { NetworkLock } from '../network/types.js';
import { placed, stepsPerEpoch } from './batches.js';
import type { PlacedBatch } from './batches.js';
import { BestWeights } from './best.js';
import { identityOf, readCheckpoint, writeCheckpoint } from './checkpoint.js';
import type { Identity } from './checkpoint.js';
import type { EpochEvent, FitResult, ValidationMetrics } from './events.js';
import { FeatureCache, runBatch } from './feature-cache.js';
import { cacheOptions, isBetter, metricValue } from './options.js';
import type { Settings } from './options.js';
import type { Phase } from './phases.js';
import type { PlanResult } from './plans.js';
import type { RunControl } from './run.js';
import { fillFeatures, keepOrigin, rowsOfStep, setUp, startEvent } from './set-up.js';
import type { SetUp } from './set-up.js';
import { advance, count, freshState, reopen } from './state.js';
import type { TrainingState } from './state.js';
import type { TrainingData } from './options.js';
import { checkTrainable, explained, isAbort } from './failures.js';
import { addTimes, noTimes, Stopwatch } from './times.js';
import { Updates } from './update.js';
import { validate } from './validate.js';

/** One run: its phases, their epochs, their steps. The order of things here is what `resume` relies on. */
export class Trainer {
  #state: TrainingState = freshState();
  #identity: Identity | null = null;
  #features!: FeatureCache;
  #up!: SetUp;
  readonly #best: BestWeights;
  #toldFull = false;
  /** Whether the position is that of this run, and may be written to its checkpoint. */
  #underway = false;
  #validation: ValidationMetrics | undefined;
  #begun = performance.now();
  /** Of the epoch under way, and of all before it. */
  readonly #clock = new Stopwatch();
  readonly #times = noTimes();

  constructor(
    readonly net: Network,
    readonly data: TrainingData,
    readonly settings: Settings,
    readonly phases: Phase[],
    readonly control: RunControl,
    readonly lock: NetworkLock,
  ) {
    this.#best = new BestWeights(net);
  }

  async run(): Promise<FitResult> {
    try {
      await this.#train().catch((error: unknown) => {
        // Work that was given up because the run should end: what was done until then stands.
        if (!this.control.stopping || !isAbort(error)) throw error;
      });
      return await this.#finish();
    } catch (error) {
      await this.#best.drop().catch(() => undefined);
      throw error;
    } finally {
      await this.#features?.dispose().catch(() => undefined);
    }
  }

  async #train(): Promise<void> {
    await this.#begin();
    this.#underway = true;
    while (!this.#state.ended && !this.control.stopping) await this.#epoch();
  }

  get #phase(): Phase {
    return this.phases[this.#state.phase]!;
  }

  async #begin(): Promise<void> {
    const { net, data, settings, control } = this;
    if (!settings.resume) await this.#best.drop();
    const resumed = await this.#resume();
    this.#mark();
    this.#up = await setUp(net, data, settings, control, (file) => this.#report(file));
    this.#features = new FeatureCache(net, this.#up.feed, cacheOptions(settings), (message) => {
      control.emit({ type: 'warning', message });
    });
    control.emit(startEvent(this.#up, this.phases, resumed));
    const last = this.#state.history.at(-1);
    // The reader of the killed run may have changed marks at this event; the one of this run gets to do the same.
    if (resumed && last && this.#state.batches === 0) await this.#tell({ ...last, resumed: true });
  }

  async #resume(): Promise<boolean> {
    const { net, data, settings, phases } = this;
    if (!settings.resume && !settings.checkpoint) return false;
    const recipe = phases.map(({ name, epochs, learningRate, schedule }) => ({ name, epochs, learningRate, schedule }));
    this.#identity = await identityOf(net, data, settings, recipe);
    const found =
      settings.resume && (await this.#unlocked(() => readCheckpoint(net, settings.resume!, this.#identity!)));
    if (!found) return false;
    this.#state = found.state;
    this.#begun -= found.state.seconds * 1000;
    if (found.otherEpochs) {
      const message =
        'the number of epochs is another than in the checkpoint: the schedule is stretched over the new number';
      this.control.emit({ type: 'note', message });
      // A run that had ended goes on if there is more to do now.
      reopen(this.#state, phases);
    }
    return true;
  }

  /** Sets the marks of a phase that begins. */
  #mark(): void {
    if (this.#state.prepared || this.#state.ended) return;
    const { mark } = this.#phase;
    if (mark) void this.#unlocked(() => mark(this.net));
    this.#state.prepared = true;
  }

  #unlocked<T>(work: () => T): T {
    this.lock.open();
    const done = work();
    if (done instanceof Promise) return done.finally(() => this.lock.close()) as T;
    this.lock.close();
    return done;
  }

  async #epoch(): Promise<void> {
    addTimes(this.#times, this.#clock.lap());
    this.#mark();
    checkTrainable(this.net);
    await this.#features.refresh();
    await this.#touch();
    await this.#fill();
    await this.#steps();
    if (this.control.stopping) return;
    if (this.settings.validation) await this.#validate();
    await this.#endEpoch();
  }

  /** Tensors that may change from here on: their best values so far are their present ones. */
  async #touch(): Promise<void> {
    const frozen = new Set(this.net.frozen);
    const known = new Set(this.#state.touched);
    const fresh = this.net.parameters().flatMap(({ name }) => (frozen.has(name) || known.has(name) ? [] : [name]));
    if (this.#state.best && this.settings.keepBest) await this.#best.keep(fresh);
    this.#state.touched.push(...fresh);
    if (this.settings.l2sp) await keepOrigin(this.net);
  }

  /** Version of the augmented pictures that this epoch sees; without augmentation there is one. */
  get #version(): number {
    const { augment, variants } = this.settings;
    if (!augment) return 0;
    return variants > 0 ? this.#state.epochs % variants : this.#state.epochs;
  }

  get #caches(): boolean {
    const { augment, variants, cacheBytes } = this.settings;
    return this.#features.below && cacheBytes > 0 && (!augment || variants > 0);
  }

  /** Sends every sample through the frozen part that has not been through it. */
  async #fill(): Promise<void> {
    if (!this.#caches) return;
    await fillFeatures(this.#up, this.#features, this.#version, this.control, this.#clock);
    if (!this.#features.full || this.#toldFull) return;
    this.#toldFull = true;
    const limit = `cacheBytes (${this.settings.cacheBytes} bytes; ${this.#features.size} samples kept)`;
    this.control.emit({
      type: 'note',
      message: `the features do not all fit in ${limit}: the others are computed anew each epoch`,
    });
  }

  async #steps(): Promise<void> {
    const { settings, control } = this;
    const { source } = this.#up;
    const updates = this.#updates();
    const at = {
      epoch: this.#state.epochs,
      version: this.#version,
      from: this.#state.batches,
      batch: settings.batch,
      seed: settings.seed,
    };
    const batches = source.epoch(at, this.#caches ? this.#features : null, this.#signal);
    let before = { ...this.#clock.parts };
    let group = { rows: 0, loss: 0 };
    for await (const place of placed(this.#clock.waiting(batches), settings.accumulate)) {
      const result = await this.#batch(place, updates, group);
      if (!place.last) continue;
      await this.#stepDone(place, result, group, updates, before);
      if (control.stopping) return;
      group = { rows: 0, loss: 0 };
      before = { ...this.#clock.parts };
    }
  }

  #updates(): Updates {
    const { source } = this.#up;
    const { batch, accumulate } = this.settings;
    const perEpoch = source.length === null ? 1 : stepsPerEpoch(source.length, batch, accumulate);
    return new Updates(this.net, this.settings, this.#phase, perEpoch * this.#phase.epochs);
  }

  /** One batch: features, then loss, gradients and, behind the last of its step, the update. */
  async #batch(place: PlacedBatch, updates: Updates, group: Group): Promise<PlanResult> {
    const { batch, next, first, last } = place;
    const { accumulate, seed } = this.settings;
    const part = first ? 'begin' : last ? 'last' : 'add';
    const update = { ...updates.at(this.#phaseStep), ...(!(first && last) && { accumulate: part }) };
    const request = {
      seed,
      epoch: this.#state.epochs,
      samples: batch.samples,
      update,
      // The mean over all rows of the step, as if they were one batch.
      ...(accumulate > 1 && { lossScale: batch.size / rowsOfStep(this.#up, this.#state.step) }),
    };
    const again = (): Promise<Batch> => this.#up.source.again(batch, this.#version, this.#signal);
    const how = { mode: 'step', request, again, next, clock: this.#clock, part: 'step' } as const;
    const run = runBatch(this.#features, batch, how);
    const result = await run.catch((error: unknown) => {
      const { epochs, step } = this.#state;
      const rate = updates.at(this.#phaseStep).learningRate;
      throw explained(error, `epoch ${epochs + 1}, step ${step + 1}, learning rate ${rate}`);
    });
    group.rows += batch.size;
    group.loss += result.loss * batch.size;
    const single = this.net.head.kind === 'single';
    count(this.#state, batch, result, single);
    return result;
  }

  /** With several batches a step, data must not end in the middle of one. */
  get #signal(): AbortSignal {
    return this.settings.accumulate > 1 ? NEVER : this.control.signal;
  }

  get #phaseStep(): number {
    const { source } = this.#up;
    const { batch, accumulate } = this.settings;
    const perEpoch = source.length === null ? 1 : stepsPerEpoch(source.length, batch, accumulate);
    return this.#state.epoch * perEpoch + (source.length === null ? 0 : this.#state.step);
  }

  /** @param before what the clock said when the step began */
  async #stepDone(
    place: PlacedBatch,
    result: PlanResult,
    group: Group,
    updates: Updates,
    before: Stopwatch['parts'],
  ): Promise<void> {
    const { parts } = this.#clock;
    const times = {
      data: parts.data - before.data,
      features: parts.features - before.features,
      step: parts.step - before.step,
      update: parts.update - before.update,
    };
    const learningRate = updates.at(this.#phaseStep).learningRate;
    this.#state.batches = place.batch.until;
    this.#state.step++;
    this.#state.steps++;
    this.control.emit({
      type: 'step',
      phase: this.#phase.name,
      epoch: this.#state.epochs + 1,
      step: this.#state.step,
      steps: 1,
      loss: group.loss / group.rows,
      learningRate,
      samplesPerSecond: (1000 * group.rows) / (times.data + times.features + times.step + times.update),
      ...(result.gradientNorm !== undefined && { gradientNorm: result.gradientNorm }),
      times,
    });
    const every = this.settings.checkpoint?.every;
    if (typeof every === 'number' && this.#state.steps % every === 0) await this.#checkpoint();
  }

  async #validate(): Promise<void> {
    this.#validation = await validate(this.#up, this.#features, this.control, this.#clock);
  }

  async #endEpoch(): Promise<void> {
    const { settings, control } = this;
    const { partial } = this.#state;
    if (partial.rows === 0)
      throw new ThawError('ERR_DATA', 'expected at least one readable sample in an epoch, received none');
    const best = await this.#judge();
    this.#state.epochs++;
    const times = this.#clock.lap();
    addTimes(this.#times, times);
    const event: EpochEvent = {
      type: 'epoch',
      phase: this.#phase.name,
      epoch: this.#state.epochs,
      epochs: this.phases.reduce((sum, phase) => sum + phase.epochs, 0),
      train: {
        loss: partial.loss / partial.rows,
        ...(this.net.head.kind === 'single' && { accuracy: partial.right / partial.rows }),
      },
      ...(this.#validation && settings.validation && { validation: this.#validation }),
      seconds: Object.values(times).reduce((sum, part) => sum + part, 0) / 1000,
      times,
      best,
    };
    advance(this.#state, event, this.phases, settings.earlyStopping?.patience ?? Infinity);
    if (settings.checkpoint) await this.#checkpoint();
    await this.#tell(event);
    if (this.#state.ended === 'earlyStopping') control.emit({ type: 'note', message: this.#stoppedEarly() });
  }

  /** Was this the best epoch so far? Keeps its weights where that was asked for. */
  async #judge(): Promise<boolean> {
    const { settings } = this;
    if (!this.#validation) return false;
    const value = metricValue(this.#validation, settings.metric);
    const before = this.#state.best;
    const better = !before || isBetter(settings.metric, value, before.value);
    this.#state.waited = better ? 0 : this.#state.waited + 1;
    if (!better) return false;
    this.#state.best = { epoch: this.#state.epochs + 1, metric: settings.metric, value };
    if (settings.keepBest) await this.#best.keep(this.#state.touched);
    return true;
  }

  #stoppedEarly(): string {
    const { best } = this.#state;
    return `stopped early: no better ${best?.metric} than ${best?.value} (epoch ${best?.epoch}) for ${this.settings.earlyStopping?.patience} epochs`;
  }

  async #tell(event: EpochEvent): Promise<void> {
    await this.control.emitEpoch(
      event,
      () => this.lock.open(),
      () => this.lock.close(),
    );
  }

  async #checkpoint(): Promise<void> {
    this.#state.seconds = this.#seconds;
    await writeCheckpoint(this.net, this.settings.checkpoint!.path, this.#identity!, this.#state);
  }

  get #seconds(): number {
    return (performance.now() - this.#begun) / 1000;
  }

  #report(skipped: SkippedFile): void {
    if (this.#state.skipped.some(({ file }) => file === skipped.file)) return;
    this.#state.skipped.push(skipped);
    this.control.emit({ type: 'warning', message: `left out ${skipped.file}: ${skipped.reason}`, skipped });
  }

  async #finish(): Promise<FitResult> {
    const { settings, control } = this;
    const state = this.#state;
    const reason = state.ended ?? control.stopping ?? 'finished';
    // A run that was stopped can go on from here. One that has ended wrote its last checkpoint with its last epoch.
    if (this.#underway && !state.ended && settings.checkpoint) await this.#checkpoint();
    const useBest = settings.keepBest && state.best !== null;
    if (useBest) await this.#best.restore();
    const shown = useBest ? state.history.find(({ epoch }) => epoch === state.best!.epoch) : this.#lastWhole();
    const train = state.history.at(-1)?.train;
    addTimes(this.#times, this.#clock.lap());
    const result: FitResult = {
      reason,
      epochs: state.history,
      steps: state.steps,
      seconds: this.#seconds,
      weights: useBest ? 'best' : 'last',
      ...(state.best && { best: state.best }),
      ...(shown?.validation && { validation: shown.validation }),
      ...(train && { train }),
      skipped: state.skipped,
      times: { ...this.#times, reading: this.#up?.reading ?? { read: 0, decode: 0, prepare: 0 } },
    };
    control.emit({ type: 'end', result });
    return result;
  }

  /** The last epoch, if no step followed it: only then its validation is that of the present weights. */
  #lastWhole(): EpochEvent | undefined {
    return this.#state.step === 0 ? this.#state.history.at(-1) : undefined;
  }
}

const NEVER = new AbortController().signal;

/** What is summed over the batches of one step: rows, losses times rows. */
interface Group {
  rows: number;
  loss: number;
}
