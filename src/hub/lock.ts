import { mkdir, open, readFile, rm, stat, utimes } from 'node:fs/promises';
import { hostname } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** The holder of a lock touches it this often, and one that was not touched for this long is left over; milliseconds. */
const TOUCH = 2_000;
const LEFT_OVER = 15_000;
const LOOK = 250;

/**
 * Does work while no other process does the same. The lock saves time, nothing hangs on it: what it guards stays right when
 * two processes hold it, which can happen where one was stopped for a while.
 * @param onWait called once, if another process is at work
 */
export async function withLock<T>(
  file: string,
  work: () => Promise<T>,
  options: { signal?: AbortSignal | undefined; onWait?: () => void },
): Promise<T> {
  await mkdir(path.dirname(file), { recursive: true });
  const mine = `${hostname()} ${process.pid} ${Math.random()}`;
  await take(file, mine, options);
  const touch = setInterval(() => {
    const now = new Date();
    utimes(file, now, now).catch(() => {});
  }, TOUCH);
  touch.unref();
  try {
    return await work();
  } finally {
    clearInterval(touch);
    if ((await text(file)) === mine) await rm(file, { force: true });
  }
}

async function take(
  file: string,
  mine: string,
  { signal, onWait }: { signal?: AbortSignal | undefined; onWait?: () => void },
): Promise<void> {
  let [seen, since] = ['', performance.now()];
  for (let waited = false; !(await create(file, mine)); waited = true) {
    const now = await state(file);
    if (now.content !== seen) [seen, since] = [now.content, performance.now()];
    if (now.dead || performance.now() - since > LEFT_OVER) {
      await rm(file, { force: true });
      continue;
    }
    if (!waited) onWait?.();
    await sleep(LOOK, undefined, signal && { signal });
  }
}

async function create(file: string, content: string): Promise<boolean> {
  try {
    const handle = await open(file, 'wx');
    await handle.writeFile(content).finally(() => handle.close());
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

const text = (file: string): Promise<string> => readFile(file, 'utf8').catch(() => '');

/** What changes as long as the holder lives, and whether it is a process of this machine that has ended. */
async function state(file: string): Promise<{ content: string; dead: boolean }> {
  const content = await text(file);
  const touched = (await stat(file).catch(() => null))?.mtimeMs;
  const [host, pid] = content.split(' ');
  return { content: `${content} ${touched}`, dead: host === hostname() && !alive(Number(pid)) };
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}
