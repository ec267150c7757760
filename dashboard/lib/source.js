// The last answer of one URL: fetched in the background, never twice at once, kept when the next one fails.

/** How long an answer may take: longer than a service's own limit of 4 s. */
const LIMIT_MS = 4500;
/** How long an answer may be, in bytes. */
const MAX_BYTES = 4 * 1024 * 1024;
/** Seconds until the next try after 1, 2, 3 and more failures. */
const BACK_OFF = [5, 10, 30, 60];
/** What to do when the session has ended. */
const SIGNED_OUT = 'sign in again: load the page anew';
/** The bounds of the pause between two good answers, in seconds. */
const [LEAST, MOST] = [5, 60];

/** The states, the worst last. */
export const STATES = ['not set up', 'fresh', 'empty', 'refreshing', 'loading', 'partial', 'unknown', 'stale', 'error'];

const sources = new Map();

/** The source of a URL: one for everybody who asks for it. */
export function source(url) {
  if (!sources.has(url)) sources.set(url, new Source(url));
  return sources.get(url);
}

/** The tab is hidden: stop requesting. */
export const pauseAll = () => sources.forEach((each) => each.pause());
/** The tab is visible again: request overdue data now. */
export const resumeAll = () => sources.forEach((each) => each.resume());
/** Asks for everything now. */
export const refreshAll = () => sources.forEach((each) => each.isWatched && each.ask());

/** The worst state and the oldest age among sources. */
export function worst(list) {
  const views = list.map((each) => each.view());
  const state = views.reduce((state, view) => (STATES.indexOf(view.state) > STATES.indexOf(state) ? view.state : state), 'not set up');
  const ages = views.map((view) => view.age).filter((age) => age !== null);
  return { state, age: ages.length > 0 ? Math.max(...ages) : null };
}

/** In place of an answer that is too long to be read. */
const TOO_LARGE = Symbol('too large');

/** Asks once: the answer, or `{ code, detail }` with a sentence why there is none. */
export async function once(path) {
  try {
    const answer = await fetch(path, { cache: 'no-cache', signal: AbortSignal.timeout(LIMIT_MS) });
    const body = await read(answer);
    if (answer.ok && body?.data) return body;
    return { code: body?.code ?? `status_${answer.status}`, detail: answer.status === 401 ? SIGNED_OUT : body?.detail ?? `status ${answer.status} without a reason` };
  } catch (error) {
    return { code: 'unreachable', detail: error.name === 'TimeoutError' ? `no answer within ${LIMIT_MS / 1000} s` : 'the gateway cannot be reached' };
  }
}

/** The JSON of an answer; null if it is none. */
async function read(answer) {
  const reader = answer.body.getReader();
  const parts = [];
  let size = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    size += value.length;
    if (size > MAX_BYTES) {
      reader.cancel();
      return TOO_LARGE;
    }
  }
  try {
    return JSON.parse(await new Blob(parts).text());
  } catch {
    return null;
  }
}

class Source {
  /** @type {any} */ data = null;
  meta = null;
  failure = null;
  #received = null;
  #asking = null;
  #askedAt = 0;
  #failures = 0;
  #timer = null;
  #due = 0;
  #watchers = new Set();

  constructor(url) {
    this.url = url;
  }

  /** `true` if anybody waits for its answers. */
  get isWatched() {
    return this.#watchers.size > 0;
  }

  /** Calls back after every answer, good or bad; the first watcher starts the asking, and the last one that leaves ends it. */
  watch(callback) {
    this.#watchers.add(callback);
    if (this.#due === 0 && !document.hidden) this.ask();
    return () => {
      this.#watchers.delete(callback);
      if (this.#watchers.size > 0) return;
      this.pause();
      this.#due = 0;
    };
  }

  /** Current value: `data`, its age in seconds, its freshness, and the reasons for that. */
  view() {
    const age = this.#age();
    return { data: this.data, age, state: this.#state(age), reasons: this.#reasons(), retry: this.#retry() };
  }

  pause() {
    clearTimeout(this.#timer);
    this.#timer = null;
  }

  resume() {
    if (this.#due !== 0 && this.#timer === null && this.#asking === null) this.#schedule(Math.max(0, this.#due - Date.now()));
  }

  /** Asks now, unless an answer is already under way. */
  ask() {
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#askedAt = Date.now();
    this.#asking ??= this.#fetch().finally(() => {
      this.#asking = null;
      if (this.#watchers.size > 0) this.#schedule(this.#pause() * 1000);
      this.#watchers.forEach((callback) => callback());
    });
    return this.#asking;
  }

  #schedule(pause) {
    this.#due = Date.now() + pause;
    if (!document.hidden) this.#timer = setTimeout(() => this.ask(), pause);
  }

  async #fetch() {
    try {
      // `no-cache` asks each time; the browser sends the ETag and an unchanged answer costs a 304.
      const answer = await fetch(this.url, { cache: 'no-cache', signal: AbortSignal.timeout(LIMIT_MS) });
      const body = await read(answer);
      if (body?.meta && 'data' in body) this.#accept(body, answer);
      else this.#fail(answer, body);
    } catch (error) {
      const late = error.name === 'TimeoutError';
      this.#note({ code: late ? 'timed_out' : 'unreachable', detail: late ? `no answer within ${LIMIT_MS / 1000} s` : 'the gateway cannot be reached' });
    }
  }

  #accept({ data, meta }, answer) {
    const age = Number(answer.headers.get('Age') ?? 0);
    // Two clocks: a monotonic one, and one that continues while the machine sleeps.
    this.#received = { age, steady: performance.now(), wall: Date.now() };
    this.data = data;
    this.meta = meta;
    this.failure = null;
    this.#failures = meta.state === 'stale' || meta.state === 'error' ? this.#failures + 1 : 0;
  }

  #fail(answer, problem) {
    if (answer.status === 401) return this.#note({ code: 'signed_out', detail: SIGNED_OUT });
    const request = problem?.instance ?? answer.headers.get('X-Request-Id') ?? undefined;
    if (problem === TOO_LARGE) return this.#note({ code: 'too_large', detail: `the answer is longer than ${MAX_BYTES / 1024 / 1024} MiB`, request });
    if (answer.ok) return this.#note({ code: 'invalid_answer', detail: 'the answer is not the JSON that was expected', request });
    const detail = problem?.detail ?? `status ${answer.status} without a reason`;
    this.#note({ code: problem?.code ?? `status_${answer.status}`, detail, request });
  }

  #note(failure) {
    this.failure = { source: this.url, since: this.failure?.since ?? new Date().toISOString(), ...failure };
    this.#failures += 1;
  }

  #pause() {
    if (this.#failures > 0) {
      const seconds = BACK_OFF[Math.min(this.#failures, BACK_OFF.length) - 1];
      return seconds * (0.8 + 0.4 * Math.random());
    }
    const left = (this.meta?.ttlMs ?? 0) / 1000 - this.#age();
    return Math.min(MOST, Math.max(LEAST, left + 0.5 * Math.random()));
  }

  #age() {
    if (!this.#received || !this.meta?.asOf) return null;
    const { age, steady, wall } = this.#received;
    return age + Math.max(performance.now() - steady, Date.now() - wall, 0) / 1000;
  }

  #state(age) {
    if (this.failure?.code === 'gateway_404') return 'not set up';
    if (!this.meta) return this.failure ? 'error' : 'loading';
    if (this.failure) return this.data ? 'stale' : 'error';
    if (!['fresh', 'stale', 'partial', 'error'].includes(this.meta.state)) return 'unknown';
    if (this.meta.state === 'stale' || this.meta.state === 'error') return this.meta.state;
    // The value was not refreshed in time, whatever the cause.
    if (age > (2 * this.meta.ttlMs) / 1000 + LIMIT_MS / 1000 + MOST) return 'stale';
    if (this.#asking && Date.now() - this.#askedAt > 300) return 'refreshing';
    return this.meta.state;
  }

  #reasons() {
    return [this.failure, ...(this.meta?.errors ?? [])].filter(Boolean);
  }

  #retry() {
    return this.failure && this.#due > Date.now() ? (this.#due - Date.now()) / 1000 : null;
  }
}
