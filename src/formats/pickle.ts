/**
 * Python's pickle, protocols 2 to 5, only the opcodes that saved tensors need. Executes nothing: a global is whatever
 * `PickleWorld.global` answers (it throws for those it does not know), and a call is a method of that answer.
 * dict → Map, list and tuple → array, int → number (bigint beyond 2^53), str → string, bytes → Uint8Array.
 * Source: the comments of Python's Lib/pickletools.py.
 */
import { ThawError } from '../errors.js';
import { fault } from './fault.js';

/** Values made while reading one pickle: a bound on memory, far above what real files need. */
const MAX_VALUES = 2_000_000;
const MAX_STRING = 1 << 24;

/** Something that a pickle may call. */
export interface Callable {
  call(args: unknown[]): unknown;
}

export interface PickleWorld {
  /** The object named module.name. Throws ERR_PICKLE_UNSAFE for what is not allowed. */
  global(module: string, name: string): unknown;
  /** The object behind a persistent id. */
  persistent(id: unknown): unknown;
}

/** Reads one pickle from `start` on; `end` is the offset behind it. Throws ERR_TORCH_FILE, ERR_FILE_TRUNCATED. */
export function readPickle(bytes: Buffer, start: number, world: PickleWorld): { value: unknown; end: number } {
  const machine = new Machine(bytes, start, world);
  for (let opcode = machine.u8(); opcode !== STOP; opcode = machine.u8()) {
    const step = OPCODES[opcode];
    if (!step) throw broken('an opcode that saved tensors need', `byte ${machine.at - 1}`, `0x${opcode.toString(16)}`);
    step(machine);
  }
  return { value: machine.pop(), end: machine.at };
}

export function isCallable(value: unknown): value is Callable {
  return typeof (value as Callable | null)?.call === 'function';
}

function broken(what: string, subject: string, received: unknown): ThawError {
  return fault('ERR_TORCH_FILE', what, `pickle, ${subject}`, received);
}

class Machine {
  readonly #stack: unknown[] = [];
  readonly #marks: number[] = [];
  readonly memo = new Map<number, unknown>();
  #made = 0;

  constructor(
    readonly bytes: Buffer,
    public at: number,
    readonly world: PickleWorld,
  ) {}

  /** Moves past `length` bytes and returns where they start. */
  skip(length: number): number {
    const start = this.at;
    if (start + length > this.bytes.length)
      throw new ThawError('ERR_FILE_TRUNCATED', 'expected more bytes in a pickle');
    this.at += length;
    return start;
  }

  u8 = (): number => this.bytes.readUInt8(this.skip(1));
  u16 = (): number => this.bytes.readUInt16LE(this.skip(2));
  u32 = (): number => this.bytes.readUInt32LE(this.skip(4));
  i32 = (): number => this.bytes.readInt32LE(this.skip(4));
  f64 = (): number => this.bytes.readDoubleBE(this.skip(8));
  text = (length: number, encoding: 'utf8' | 'latin1' = 'utf8'): string => this.raw(length).toString(encoding);

  raw(length: number): Buffer {
    if (length > MAX_STRING) throw broken(`a string of at most ${MAX_STRING} bytes`, `byte ${this.at}`, length);
    const start = this.skip(length);
    return this.bytes.subarray(start, start + length);
  }

  line(): string {
    const end = this.bytes.indexOf(0x0a, this.at);
    const text = this.text((end < 0 ? this.bytes.length : end) - this.at);
    this.skip(1);
    return text;
  }

  long(length: number): number | bigint {
    const raw = this.raw(length);
    let value = 0n;
    for (let i = length - 1; i >= 0; i--) value = (value << 8n) | BigInt(raw[i]!);
    value = BigInt.asIntN(8 * length, value);
    const small = Number(value);
    return Number.isSafeInteger(small) ? small : value;
  }

  push(value: unknown): void {
    if (++this.#made > MAX_VALUES) throw broken(`at most ${MAX_VALUES} values`, `byte ${this.at}`, 'more');
    this.#stack.push(value);
  }

  pop(): unknown {
    if (this.#stack.length <= (this.#marks.at(-1) ?? 0))
      throw broken('a value on the stack', `byte ${this.at}`, 'none');
    return this.#stack.pop();
  }

  top(): unknown {
    const value = this.pop();
    this.#stack.push(value);
    return value;
  }

  mark(): void {
    this.#marks.push(this.#stack.length);
  }

  /** All values since the last mark. */
  popMark(): unknown[] {
    const mark = this.#marks.pop();
    if (mark === undefined) throw broken('a mark', `byte ${this.at}`, 'none');
    return this.#stack.splice(mark);
  }

  popMany(n: number): unknown[] {
    return Array.from({ length: n }, () => this.pop()).reverse();
  }

  get(index: number): void {
    if (!this.memo.has(index)) throw broken('a memo entry', `byte ${this.at}`, index);
    this.push(this.memo.get(index));
  }

  put(index: number): void {
    this.memo.set(index, this.top());
  }

  append(items: unknown[]): void {
    const list = this.top();
    if (!Array.isArray(list)) throw broken('a list', `byte ${this.at}`, list);
    for (const item of items) list.push(item);
  }

  setItems(items: unknown[]): void {
    const dict = this.top();
    if (!(dict instanceof Map) || items.length % 2 !== 0) throw broken('a dict and pairs', `byte ${this.at}`, dict);
    for (let i = 0; i < items.length; i += 2) dict.set(items[i], items[i + 1]);
  }

  reduce(): void {
    const [callee, args] = this.popMany(2);
    if (!isCallable(callee) || !Array.isArray(args)) throw broken('a callable', `byte ${this.at}`, callee);
    this.push(callee.call(args));
  }

  global(module: unknown, name: unknown): void {
    if (typeof module !== 'string' || typeof name !== 'string') throw broken('a name', `byte ${this.at}`, name);
    this.push(this.world.global(module, name));
  }
}

const STOP = 0x2e;

const OPCODES: Record<number, (m: Machine) => void> = {
  0x80: (m) => checkProtocol(m.u8()),
  0x95: (m) => m.skip(8), // FRAME: only a hint for buffering
  0x28: (m) => m.mark(),
  0x4e: (m) => m.push(null),
  0x88: (m) => m.push(true),
  0x89: (m) => m.push(false),
  0x4a: (m) => m.push(m.i32()),
  0x4b: (m) => m.push(m.u8()),
  0x4d: (m) => m.push(m.u16()),
  0x8a: (m) => m.push(m.long(m.u8())),
  0x47: (m) => m.push(m.f64()),
  0x58: (m) => m.push(m.text(m.u32())),
  0x8c: (m) => m.push(m.text(m.u8())),
  0x54: (m) => m.push(m.text(m.u32(), 'latin1')), // strings of Python 2
  0x55: (m) => m.push(m.text(m.u8(), 'latin1')),
  0x42: (m) => m.push(m.raw(m.u32())),
  0x43: (m) => m.push(m.raw(m.u8())),
  0x7d: (m) => m.push(new Map()),
  0x5d: (m) => m.push([]),
  0x29: (m) => m.push([]),
  0x85: (m) => m.push(m.popMany(1)),
  0x86: (m) => m.push(m.popMany(2)),
  0x87: (m) => m.push(m.popMany(3)),
  0x74: (m) => m.push(m.popMark()),
  0x61: (m) => m.append(m.popMany(1)),
  0x65: (m) => m.append(m.popMark()),
  0x73: (m) => m.setItems(m.popMany(2)),
  0x75: (m) => m.setItems(m.popMark()),
  0x71: (m) => m.put(m.u8()),
  0x72: (m) => m.put(m.u32()),
  0x94: (m) => m.put(m.memo.size),
  0x68: (m) => m.get(m.u8()),
  0x6a: (m) => m.get(m.u32()),
  0x63: (m) => m.global(m.line(), m.line()),
  0x93: (m) => m.global(...(m.popMany(2) as [unknown, unknown])),
  0x51: (m) => m.push(m.world.persistent(m.pop())),
  0x52: (m) => m.reduce(),
  0x81: (m) => m.reduce(), // NEWOBJ: cls.__new__(cls, *args), for us the same call
  0x62: (m) => void m.pop(), // BUILD: attributes of an object, such as a state dict's _metadata, say nothing of tensors
};

function checkProtocol(version: number): void {
  if (version < 2 || version > 5) throw broken('protocol 2 to 5', 'header', version);
}
