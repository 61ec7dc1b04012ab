import { expected } from '../errors.js';

/** Where the hub is and how it is asked: its client libraries' environment variables. */
export interface HubSettings {
  /** `HF_ENDPOINT`, without a slash at its end. */
  endpoint: string;
  /** `HF_TOKEN`: sent to the endpoint's own host and nowhere else. */
  token: string | undefined;
  /** `HF_HUB_OFFLINE`: what lies in the cache, and no network. */
  offline: boolean;
  /** `HF_HUB_DOWNLOAD_TIMEOUT`, here in milliseconds: the longest silence of a server. */
  timeout: number;
}

const ENDPOINT = 'https://huggingface.co';
const TIMEOUT_SECONDS = 30;

/** @throws ERR_OPTION a variable of the environment that cannot be used */
export function hubSettings(environment: NodeJS.ProcessEnv = process.env): HubSettings {
  const { HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE, HF_HUB_DOWNLOAD_TIMEOUT } = environment;
  const seconds = HF_HUB_DOWNLOAD_TIMEOUT ? Number(HF_HUB_DOWNLOAD_TIMEOUT) : TIMEOUT_SECONDS;
  if (!(seconds > 0 && seconds <= 86_400))
    throw expected('ERR_OPTION', 'seconds, more than 0', 'HF_HUB_DOWNLOAD_TIMEOUT', HF_HUB_DOWNLOAD_TIMEOUT);
  const token = HF_TOKEN?.trim();
  // The value of a token does not belong into a message.
  if (token && !/^[\x21-\x7e]+$/.test(token))
    throw expected('ERR_OPTION', 'a token of letters and digits', 'HF_TOKEN', 'other characters');
  return {
    endpoint: checkEndpoint(HF_ENDPOINT || ENDPOINT),
    token: token || undefined,
    offline: /^(1|true|yes|on)$/i.test(HF_HUB_OFFLINE ?? ''),
    timeout: seconds * 1000,
  };
}

function checkEndpoint(given: string): string {
  const url = URL.canParse(given) ? new URL(given) : null;
  if (!url || !/^https?:$/.test(url.protocol) || url.username || url.password)
    throw expected('ERR_OPTION', 'an address that begins with https:// or http://', 'HF_ENDPOINT', given);
  return (url.origin + url.pathname).replace(/\/+$/, '');
}
