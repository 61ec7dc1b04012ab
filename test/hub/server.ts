/** A hub on this machine: its API, its downloads, and a second host to which large files are redirected. */
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Asked {
  /** 'hub' is the endpoint, 'store' the host of large files. */
  host: 'hub' | 'store';
  method: string;
  path: string;
  token: string | undefined;
  range: string | undefined;
}

/** Answers a request in place of the server; returns false to leave it to the server. */
export type Fault = (request: Asked, response: ServerResponse, content: Buffer | undefined) => boolean;

export interface Repository {
  commit: string;
  files: Record<string, Buffer>;
  /** Branches and tags beside main, as commits. */
  revisions?: Record<string, string>;
  /** Readers need this token. */
  token?: string;
}

/** Files from this size on are in the large file storage. */
const LARGE = 1000;

export const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
export const gitSha1 = (bytes: Buffer): string =>
  createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');
export const checksum = (bytes: Buffer): string => (bytes.length >= LARGE ? sha256(bytes) : gitSha1(bytes));

export class FakeHub {
  readonly repositories = new Map<string, Repository>();
  /** Every request, in order. */
  readonly asked: Asked[] = [];
  fault: Fault | undefined;
  /** Changes an entry of the list of files. */
  entry: (entry: Record<string, unknown>) => Record<string, unknown> = (entry) => entry;
  readonly #servers: Server[] = [];
  #hub = '';
  #store = '';

  static async start(): Promise<FakeHub> {
    const hub = new FakeHub();
    hub.#hub = await hub.#listen('hub');
    // Another host by its name, though the same machine.
    hub.#store = (await hub.#listen('store')).replace('127.0.0.1', 'localhost');
    return hub;
  }

  get endpoint(): string {
    return this.#hub;
  }

  get store(): string {
    return this.#store;
  }

  add(name: string, repository: Repository): void {
    this.repositories.set(name, repository);
  }

  /** Requests for the bytes of files. */
  downloads(): Asked[] {
    return this.asked.filter(
      ({ host, method, path }) => method === 'GET' && (host === 'store' || /\/resolve\//.test(path)),
    );
  }

  reset(): void {
    this.asked.length = 0;
    this.fault = undefined;
    this.entry = (entry) => entry;
  }

  async stop(): Promise<void> {
    for (const server of this.#servers) {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  }

  async #listen(host: Asked['host']): Promise<string> {
    const server = createServer((request, response) => this.#answer(host, request, response));
    this.#servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  #answer(host: Asked['host'], request: IncomingMessage, response: ServerResponse): void {
    const { method = '', url = '', headers } = request;
    const asked: Asked = {
      ...{ host, method, path: decodeURIComponent(url.split('?')[0]!), range: headers.range },
      token: headers.authorization?.replace('Bearer ', ''),
    };
    this.asked.push(asked);
    const content = host === 'store' ? this.#stored(asked.path) : this.#file(asked.path)?.content;
    if (this.fault?.(asked, response, content)) return;
    if (host === 'store') return sendRange(asked, response, content!);
    const refused = this.#refused(asked);
    if (refused) return void response.writeHead(refused[0], { 'x-error-code': refused[1] }).end();
    if (asked.path.startsWith('/api/')) return this.#api(asked.path, response);
    this.#resolve(asked, response);
  }

  #refused({ path, token }: Asked): [number, string] | undefined {
    const name = /^\/(?:api\/models\/)?([^/]+\/[^/]+)\//.exec(path)?.[1] ?? '';
    const repository = this.repositories.get(name);
    if (!repository || (repository.token && repository.token !== token)) return [401, 'RepoNotFound'];
    const revision = /\/(?:revision|tree|resolve)\/(refs\/pr\/\d+|[^/]+)/.exec(path)?.[1] ?? '';
    const known = ['main', repository.commit, ...Object.entries(repository.revisions ?? {}).flat()];
    return known.includes(revision) ? undefined : [404, 'RevisionNotFound'];
  }

  #api(path: string, response: ServerResponse): void {
    const [, name = '', kind, revision = ''] =
      /^\/api\/models\/([^/]+\/[^/]+)\/(revision|tree)\/(.+)$/.exec(path) ?? [];
    const { commit, files, revisions } = this.repositories.get(name)!;
    const json = (value: unknown): void =>
      void response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value));
    const sha = revision === 'main' ? commit : (revisions?.[revision] ?? revision);
    if (kind === 'revision') return json({ _id: '1', id: name, sha, lastModified: '2026-01-01T00:00:00.000Z' });
    json(
      Object.entries(files).map(([path, bytes]) => {
        const large = {
          lfs: { oid: sha256(bytes), size: bytes.length, pointerSize: 130 },
          oid: gitSha1(Buffer.from(path)),
        };
        const oid = bytes.length >= LARGE ? large : { oid: gitSha1(bytes) };
        return this.entry({ type: 'file', path, size: bytes.length, ...oid });
      }),
    );
  }

  #file(path: string): { content: Buffer; commit: string } | undefined {
    const [, name = '', file = ''] = /^\/([^/]+\/[^/]+)\/resolve\/(?:refs\/pr\/\d+|[^/]+)\/(.+)$/.exec(path) ?? [];
    const repository = this.repositories.get(name);
    const content = repository?.files[file];
    return repository && content && { content, commit: repository.commit };
  }

  #stored(path: string): Buffer | undefined {
    const all = [...this.repositories.values()].flatMap(({ files }) => Object.values(files));
    return all.find((bytes) => `/${sha256(bytes)}` === path);
  }

  #resolve(asked: Asked, response: ServerResponse): void {
    const found = this.#file(asked.path);
    if (!found) return void response.writeHead(404, { 'x-error-code': 'EntryNotFound' }).end();
    const { content, commit } = found;
    response.setHeader('x-repo-commit', commit);
    if (content.length < LARGE) return sendRange(asked, response.setHeader('etag', `"${gitSha1(content)}"`), content);
    const linked = { 'x-linked-etag': `"${sha256(content)}"`, 'x-linked-size': content.length };
    response.writeHead(302, { ...linked, location: `${this.#store}/${sha256(content)}?signature=s3cret` }).end();
  }
}

/** A file from the byte that was asked for. */
export function sendRange({ method, range }: Asked, response: ServerResponse, content: Buffer): void {
  const from = Number(/^bytes=(\d+)-/.exec(range ?? '')?.[1] ?? 0);
  if (from > 0 && from >= content.length) return void response.writeHead(416).end();
  const part = content.subarray(from);
  const headers = { 'content-length': part.length, 'accept-ranges': 'bytes' };
  if (range)
    response.writeHead(206, { ...headers, 'content-range': `bytes ${from}-${content.length - 1}/${content.length}` });
  else response.writeHead(200, headers);
  response.end(method === 'HEAD' ? undefined : part);
}

/** The beginning of an answer, and then the connection is gone: once `arrived` says that the reader has these bytes. */
export function cut(
  request: Asked,
  response: ServerResponse,
  content: Buffer,
  bytes: number,
  arrived: (bytes: number) => boolean = () => true,
): void {
  const from = Number(/^bytes=(\d+)-/.exec(request.range ?? '')?.[1] ?? 0);
  response.writeHead(request.range ? 206 : 200, {
    'content-length': content.length - from,
    ...(request.range && { 'content-range': `bytes ${from}-${content.length - 1}/${content.length}` }),
  });
  const part = content.subarray(from, from + bytes);
  response.write(part, () => {
    const look = setInterval(() => {
      if (!arrived(from + part.length)) return;
      clearInterval(look);
      response.destroy();
    }, 20);
  });
}
