/**
 * Requests to the hub: the token goes to the endpoint's own host alone, what can be tried again is, silence ends. The
 * client library sends its requests through here, since by itself it keeps the token on some redirects and gives up at
 * the first fault.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { ThawError } from '../errors.js';
import type { HubSettings } from './settings.js';

export interface Hub extends HubSettings {
  /** What is asked for, for the sentences of errors. */
  subject: string;
  signal: AbortSignal | undefined;
  /** Told, in a sentence, why nothing happens for a while. */
  onWait: ((why: string) => void) | undefined;
}

const ATTEMPTS = 5;
const REDIRECTS = 10;
/** Waits before further attempts, in milliseconds: this, then twice as much each time. */
const FIRST_WAIT = 300;
/** A hub that wants to be left alone for longer than this many seconds is an error. */
const LONGEST_WAIT = 300;
/** Bytes of an answer of the hub's API. */
const LARGEST_ANSWER = 2 ** 25;

const AGAIN = new Set([408, 429, 500, 502, 503, 504]);
/** Reasons that another attempt would meet again. */
const FINAL = /redirect|bad port|ENOTFOUND|ECONNREFUSED|EHOSTUNREACH|ENETUNREACH|CERT|SSL|TLS|SELF_SIGNED/;

/**
 * An answer with a status of success (or 416: no such range), its body not yet read.
 * @throws ERR_HUB_ACCESS, ERR_HUB_NOT_FOUND, ERR_HUB_RATE_LIMIT, ERR_HUB_NETWORK, ERR_ABORTED
 */
export async function request(hub: Hub, url: string, headers: Record<string, string> = {}): Promise<Response> {
  for (let attempt = 1; ; attempt++) {
    const answer = await follow(hub, url, headers).catch((error: unknown) => networkFault(hub, url, error));
    if (answer instanceof Response && (answer.ok || answer.status === 416)) return answer;
    const fault = answer instanceof Response ? await refusal(hub, url, answer) : answer;
    const wait = answer instanceof Response ? retryAfter(answer) : undefined;
    if (fault.again && attempt < ATTEMPTS && (wait ?? 0) <= LONGEST_WAIT)
      await pause(hub, attempt, fault.error.message, wait);
    else throw fault.error;
  }
}

/** Waits before attempt number `attempt + 1`. Throws ERR_ABORTED. */
export async function pause(hub: Hub, attempt: number, why: string, seconds?: number): Promise<void> {
  const wait = seconds === undefined ? FIRST_WAIT * 2 ** (attempt - 1) : seconds * 1000;
  if (wait >= 1000) hub.onWait?.(`${why}: trying again in ${Math.ceil(wait / 1000)} s`);
  await sleep(wait, undefined, hub.signal && { signal: hub.signal }).catch(() => {});
  checkSignal(hub);
}

export function checkSignal({ signal }: Pick<Hub, 'signal'>): void {
  if (signal?.aborted)
    throw new ThawError('ERR_ABORTED', 'the download was cancelled; the next one goes on from here', {
      cause: signal.reason,
    });
}

/** `fetch` as the client library calls it: for small answers, which are read to their end. */
export function fetchFor(hub: Hub): typeof fetch {
  return async (input, init) => {
    const url = String(input instanceof Request ? input.url : input);
    const headers = Object.fromEntries(new Headers(init?.headers));
    const answer = await request(hub, url, headers);
    const parts: Uint8Array[] = [];
    let size = 0;
    for await (const part of bytesOf(hub, answer)) {
      parts.push(part);
      if ((size += part.length) > LARGEST_ANSWER)
        throw networkError(url, `an answer of more than ${LARGEST_ANSWER} bytes`);
    }
    return new Response(Buffer.concat(parts), { status: answer.status, headers: answer.headers });
  };
}

/** The body of an answer. A silence longer than the hub's timeout is an error, and what is not read is given up. */
export async function* bytesOf(hub: Hub, answer: Response): AsyncGenerator<Uint8Array> {
  const reader = answer.body?.getReader();
  if (!reader) return;
  try {
    for (;;) {
      const { done, value } = await within(hub.timeout, reader.read());
      if (done) return;
      yield value;
    }
  } catch (error) {
    checkSignal(hub);
    throw networkError(answer.url, reason(error), error);
  } finally {
    reader.cancel().catch(() => {});
  }
}

async function within<T>(milliseconds: number, work: Promise<T>): Promise<T> {
  const timer = new AbortController();
  const silence = sleep(milliseconds, undefined, { signal: timer.signal }).then(() => {
    throw new Error(`${milliseconds / 1000} s without a byte`);
  });
  silence.catch(() => {});
  try {
    return await Promise.race([work, silence]);
  } finally {
    timer.abort();
  }
}

/** One attempt, redirects followed by hand: the token is for the endpoint's own origin. */
async function follow(hub: Hub, from: string, headers: Record<string, string>): Promise<Response> {
  const home = new URL(hub.endpoint).origin;
  let url = new URL(from);
  for (let hop = 0; hop <= REDIRECTS; hop++) {
    checkSignal(hub);
    const own = hub.token && url.origin === home ? { authorization: `Bearer ${hub.token}` } : {};
    // Compressed answers would have other lengths than the files, and could not be taken up where they were cut.
    const all = { ...headers, 'accept-encoding': 'identity', 'user-agent': 'thaw', ...own };
    const answer = await headersOf(hub, url, all);
    const target = answer.headers.get('location');
    if (answer.status < 300 || answer.status >= 400 || target === null) return answer;
    answer.body?.cancel().catch(() => {});
    url = nextHop(url, target);
  }
  throw new Error(`more than ${REDIRECTS} redirects`);
}

/** An answer whose headers came in time. `hub.signal` also ends the reading of its body. */
async function headersOf(hub: Hub, url: URL, headers: Record<string, string>): Promise<Response> {
  const late = new AbortController();
  const signal = hub.signal ? AbortSignal.any([hub.signal, late.signal]) : late.signal;
  try {
    return await within(hub.timeout, fetch(url, { headers, redirect: 'manual', signal }));
  } catch (error) {
    late.abort();
    throw error;
  }
}

function nextHop(from: URL, target: string): URL {
  if (!URL.canParse(target, from.href)) throw new Error('a redirect to nowhere');
  const url = new URL(target, from.href);
  const worse = from.protocol === 'https:' && url.protocol !== 'https:';
  if (worse || !/^https?:$/.test(url.protocol)) throw new Error(`a redirect from ${from.protocol} to ${url.protocol}`);
  url.username = url.password = '';
  return url;
}

interface Fault {
  error: ThawError;
  again: boolean;
}

function networkFault(hub: Hub, url: string, error: unknown): Fault {
  checkSignal(hub);
  const why = reason(error);
  return { error: networkError(url, why, error), again: !FINAL.test(why) };
}

export function networkError(url: string, received: string, cause?: unknown): ThawError {
  return new ThawError('ERR_HUB_NETWORK', `expected an answer of ${shown(url)}, received ${received}`, { cause });
}

/** fetch says 'fetch failed'; why stands in its cause, and of several addresses in the first cause's errors. */
function reason(error: unknown): string {
  const { cause } = error as { cause?: { code?: string; message?: string; errors?: { message: string }[] } };
  const text = cause ? cause.errors?.[0]?.message || cause.message || cause.code : (error as Error).message;
  const code = cause?.code && !text?.includes(cause.code) ? `${cause.code}: ` : '';
  return `${code}${text || 'no answer'}`;
}

/** Without the query, which may hold the signature of a storage service. */
const shown = (url: string): string => (URL.canParse(url) ? new URL(url).origin + new URL(url).pathname : url);

/** What a status other than success says. The hub gives its reason in two headers. */
async function refusal(hub: Hub, url: string, answer: Response): Promise<Fault> {
  answer.body?.cancel().catch(() => {});
  const { status } = answer;
  const code = answer.headers.get('x-error-code');
  const message = answer.headers.get('x-error-message');
  const said = [code, message]
    .filter(Boolean)
    .join(', ')
    .slice(0, 200)
    .replace(/[^\x20-\x7e]/g, '?');
  const received = `${status}${said && ` (${said})`}`;
  const error = (kind: string, what: string, hint = ''): ThawError =>
    new ThawError(kind, `expected ${what}, received ${received}${hint}`);
  if (status === 401 || status === 403)
    return { error: error('ERR_HUB_ACCESS', `access to ${hub.subject}`, accessHint(hub)), again: false };
  if (status === 404 || status === 410) return { error: error('ERR_HUB_NOT_FOUND', hub.subject), again: false };
  if (status === 429) {
    const wait = retryAfter(answer);
    const hint = wait === undefined ? '' : `; the hub asks to wait ${wait} s`;
    return { error: error('ERR_HUB_RATE_LIMIT', `an answer of ${shown(url)}`, hint), again: true };
  }
  return { error: error('ERR_HUB_NETWORK', `an answer of ${shown(url)}`), again: AGAIN.has(status) };
}

function accessHint({ token }: Hub): string {
  return token
    ? '; is the name right, and may this HF_TOKEN read it?'
    : '; is the name right? What is private or gated needs a token in HF_TOKEN';
}

/** Seconds, from a number of seconds or a date. */
function retryAfter(answer: Response): number | undefined {
  const given = answer.headers.get('retry-after');
  if (!given) return undefined;
  const seconds = /^\d+$/.test(given.trim()) ? Number(given) : (Date.parse(given) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.max(0, Math.ceil(seconds)) : undefined;
}
