// The live client: one WebSocket per tab, many subscriptions. It applies deltas, checks sequence
// numbers, asks for a fresh snapshot after a hole, reconnects with jittered back-off, and rests
// while the tab is hidden. Protocol: docs/wire.md. Data goes to the listeners (api/hooks.ts).
import { decodeFrame, type Frame } from './frames';
import { mergePatch } from './merge';

export interface Topic {
  topic:
    | 'now'
    | 'pipelines'
    | 'pipeline'
    | 'stage'
    | 'groups'
    | 'loss'
    | 'incidents'
    | 'incident'
    | 'self'
    | 'alerts'
    | 'query';
  key?: string;
  /** PromQL of topic `query`; of others the parameters of their HTTP route, URL-encoded. */
  query?: string;
  step?: number;
  window?: number;
}

export interface Listener {
  /** The whole answer after each snapshot or delta. */
  data?(answer: unknown): void;
  /** A binary frame of topic `query`. */
  frame?(frame: Frame): void;
  /** Values were left out; fetch what is shown again. */
  gap?(): void;
  error?(message: string): void;
}

export type Phase = 'idle' | 'connecting' | 'open' | 'retrying' | 'paused';

export interface Status {
  phase: Phase;
  /** Local clock of the last message, 0 before the first. */
  heard: number;
  /** Local clock minus the server's, from its pings. */
  skew: number;
  /** Failed attempts in a row. */
  attempts: number;
  /** Holes in the sequence and gap messages met so far. */
  gaps: number;
}

export interface Options {
  url: string;
  socket?: (url: string) => WebSocket;
  random?: () => number;
  now?: () => number;
}

interface Sub {
  id: number;
  topic: Topic;
  listeners: Set<Listener>;
  seq: number;
  data: unknown;
  /** False until a snapshot came for this id. */
  ready: boolean;
}

const BACKOFF_FIRST = 500;
const BACKOFF_MAX = 30_000;
/** Pings come every 15 s; two missed ones and the line is dead. */
const SILENCE = 40_000;
/** How long after a gap message the promised snapshot may take. */
const GAP_PATIENCE = 5_000;

export class LiveClient {
  private socket?: WebSocket;
  private readonly subs = new Map<string, Sub>();
  private readonly byId = new Map<number, Sub>();
  private readonly watchers = new Set<() => void>();
  private nextId = 1;
  private retry?: ReturnType<typeof setTimeout>;
  private watchdog?: ReturnType<typeof setTimeout>;
  private status: Status = { phase: 'idle', heard: 0, skew: 0, attempts: 0, gaps: 0 };

  constructor(private readonly options: Options) {}

  /** Current state, for useSyncExternalStore: a new object after each change. */
  getStatus = (): Status => this.status;

  watch = (f: () => void): (() => void) => {
    this.watchers.add(f);
    return () => this.watchers.delete(f);
  };

  /** Starts listening; the returned function stops. Equal topics share one subscription. */
  subscribe(topic: Topic, listener: Listener): () => void {
    const key = JSON.stringify([topic.topic, topic.key, topic.query, topic.step, topic.window]);
    let sub = this.subs.get(key);
    if (sub) {
      if (sub.ready && sub.data !== undefined) listener.data?.(sub.data);
    } else {
      sub = { id: 0, topic, listeners: new Set(), seq: 0, data: undefined, ready: false };
      this.subs.set(key, sub);
      this.open(sub);
    }
    const mine = sub;
    mine.listeners.add(listener);
    this.connect();
    return () => {
      mine.listeners.delete(listener);
      if (mine.listeners.size > 0 || this.subs.get(key) !== mine) return;
      this.subs.delete(key);
      this.close(mine);
      if (this.subs.size === 0) this.drop('idle');
    };
  }

  /** Closes the line until resume: hidden tab, or the reader paused. */
  pause(): void {
    if (this.status.phase !== 'paused') this.drop('paused');
  }

  resume(): void {
    if (this.status.phase !== 'paused') return;
    this.set({ phase: 'idle', attempts: 0 });
    if (this.subs.size > 0) this.connect();
  }

  private set(patch: Partial<Status>): void {
    this.status = { ...this.status, ...patch };
    for (const f of this.watchers) f();
  }

  private connect(): void {
    if (this.socket || this.retry || this.status.phase === 'paused') return;
    this.set({ phase: this.status.attempts > 0 ? 'retrying' : 'connecting' });
    const make = this.options.socket ?? ((url: string) => new WebSocket(url));
    let socket: WebSocket;
    try {
      socket = make(this.options.url);
    } catch {
      this.again();
      return;
    }
    this.socket = socket;
    socket.binaryType = 'arraybuffer';
    socket.onopen = () => {
      if (this.socket !== socket) return;
      this.set({ phase: 'open', attempts: 0, heard: this.now() });
      this.arm();
      for (const sub of this.subs.values()) this.open(sub);
    };
    socket.onmessage = (event) => {
      if (this.socket !== socket) return;
      this.heard();
      this.message(event.data);
    };
    socket.onclose = () => {
      if (this.socket !== socket) return;
      this.forget();
      this.again();
    };
    socket.onerror = () => undefined; // onclose follows and does the work
  }

  private again(): void {
    const attempts = this.status.attempts + 1;
    this.set({ phase: 'retrying', attempts });
    const most = Math.min(BACKOFF_MAX, BACKOFF_FIRST * 2 ** Math.min(attempts - 1, 10));
    // Half fixed, half random: a thousand tabs must not come back in the same second.
    const delay = most / 2 + (most / 2) * (this.options.random ?? Math.random)();
    this.retry = setTimeout(() => {
      this.retry = undefined;
      if (this.subs.size > 0) this.connect();
      else this.set({ phase: 'idle' });
    }, delay);
  }

  private drop(phase: Phase): void {
    clearTimeout(this.retry);
    this.retry = undefined;
    const socket = this.socket;
    this.forget();
    socket?.close();
    this.set({ phase });
  }

  private forget(): void {
    this.socket = undefined;
    clearTimeout(this.watchdog);
    this.byId.clear();
    for (const sub of this.subs.values()) {
      sub.ready = false;
      sub.id = 0;
    }
  }

  private now(): number {
    return (this.options.now ?? Date.now)();
  }

  private heard(): void {
    this.set({ heard: this.now() });
    this.arm();
  }

  private arm(): void {
    clearTimeout(this.watchdog);
    const socket = this.socket;
    this.watchdog = setTimeout(() => {
      if (!socket || this.socket !== socket) return;
      this.forget();
      socket.close();
      this.again();
    }, SILENCE);
  }

  private send(message: object): boolean {
    if (this.socket?.readyState !== 1) return false;
    this.socket.send(JSON.stringify(message));
    return true;
  }

  /** Asks for sub under a fresh id, so that late messages of the old one cannot be mistaken. */
  private open(sub: Sub): void {
    if (this.socket?.readyState !== 1) return;
    if (sub.id) this.close(sub);
    sub.id = this.nextId++;
    sub.seq = 0;
    sub.ready = false;
    this.byId.set(sub.id, sub);
    this.send({ op: 'sub', id: sub.id, ...sub.topic });
  }

  private close(sub: Sub): void {
    if (!sub.id) return;
    this.byId.delete(sub.id);
    this.send({ op: 'unsub', id: sub.id });
    sub.id = 0;
  }

  private message(raw: unknown): void {
    try {
      if (typeof raw === 'string') this.text(JSON.parse(raw));
      else if (raw instanceof ArrayBuffer) this.binary(decodeFrame(raw));
    } catch (error) {
      // A message nobody can read means a server of another version: start afresh, slowly.
      console.warn('live: message not understood', error);
      const socket = this.socket;
      this.forget();
      socket?.close();
      this.again();
    }
  }

  private text(m: { id?: number; seq?: number; kind: string; data?: unknown; error?: string; t?: number }): void {
    if (m.kind === 'ping') {
      if (m.t) this.set({ skew: this.now() - m.t });
      return;
    }
    const sub = this.byId.get(m.id ?? 0);
    if (!sub) return; // a message of a subscription just given up
    switch (m.kind) {
      case 'snapshot':
        sub.seq = m.seq ?? 0;
        sub.ready = true;
        sub.data = m.data;
        this.tell(sub, (l) => l.data?.(sub.data));
        break;
      case 'delta':
        if (!this.inOrder(sub, m.seq)) return;
        sub.data = mergePatch(sub.data, m.data);
        this.tell(sub, (l) => l.data?.(sub.data));
        break;
      case 'gap':
        this.gap(sub);
        break;
      case 'error':
        this.tell(sub, (l) => l.error?.(m.error ?? 'the server gave no reason'));
        break;
    }
  }

  private binary(frame: Frame): void {
    const sub = this.byId.get(frame.id);
    if (!sub) return;
    if (frame.kind === 'snapshot') {
      sub.seq = frame.seq;
      sub.ready = true;
    } else if (!this.inOrder(sub, frame.seq)) return;
    this.tell(sub, (l) => l.frame?.(frame));
  }

  private inOrder(sub: Sub, seq = 0): boolean {
    if (sub.ready && seq === sub.seq + 1) {
      sub.seq = seq;
      return true;
    }
    if (!sub.ready) return false; // values between a gap and its snapshot: the snapshot has them
    this.set({ gaps: this.status.gaps + 1 });
    this.tell(sub, (l) => l.gap?.());
    this.open(sub);
    return false;
  }

  private gap(sub: Sub): void {
    this.set({ gaps: this.status.gaps + 1 });
    sub.ready = false;
    this.tell(sub, (l) => l.gap?.());
    const id = sub.id;
    setTimeout(() => {
      if (sub.id === id && !sub.ready) this.open(sub);
    }, GAP_PATIENCE);
  }

  private tell(sub: Sub, f: (l: Listener) => void): void {
    for (const l of [...sub.listeners]) f(l);
  }
}
