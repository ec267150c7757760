// Server-sent events, while the page is visible.

/** Delay before a refused stream is asked for again, in milliseconds. */
const REFUSED_MS = 30_000;

/**
 * Follows the changes of a stream. Without it, what is shown comes with the next answer of its source.
 * @param {string} url
 * @param {{ change: (item: any) => void, gap: () => void, back?: () => void }} handlers `gap`: some were lost; `back`: the page is visible again
 */
export function follow(url, { change, gap, back }) {
  let stream = null;
  let again = null;
  const open = () => {
    clearTimeout(again);
    stream = new EventSource(url);
    stream.addEventListener('change', ({ data }) => change(JSON.parse(data)));
    stream.addEventListener('gap', gap);
    // The browser reconnects after an interruption, but not after a refusal.
    stream.addEventListener('error', () => {
      if (stream.readyState === EventSource.CLOSED && !document.hidden) again = setTimeout(open, REFUSED_MS);
    });
  };
  document.addEventListener('visibilitychange', () => {
    stream?.close();
    clearTimeout(again);
    if (document.hidden) return;
    back?.();
    open();
  });
  if (!document.hidden) open();
}
