// An event stream that comes back by itself, and knows why where the server refuses it.
"use strict";

// `heard`: what to do at each event, by name. `lost(why, after)`: called while there is none, with the server's reason
// where it gave one. `again()`: called before each new try.
window.followStream = (address, heard, lost, again = () => {}) => {
  const FIRST = 500;
  const MOST = 15000;
  let source = null;
  let retry = FIRST;
  let timer = 0;

  const close = () => {
    clearTimeout(timer);
    if (source) source.close();
    source = null;
  };

  // an EventSource does not say why it was refused: asked once more, the answer is read
  const reason = async () => {
    const asking = new AbortController();
    try {
      const answer = await fetch(address, { signal: asking.signal });
      if (answer.ok || !(answer.headers.get("Content-Type") || "").includes("json")) return null;
      const { detail } = await answer.json();
      return { detail, after: 1000 * Number(answer.headers.get("Retry-After")) };
    } catch {
      return null;
    } finally {
      asking.abort();
    }
  };

  const failed = async (mine) => {
    const refused = mine.readyState === EventSource.CLOSED;
    lost(null);
    const why = refused ? await reason() : null;
    // closed, or opened anew, meanwhile
    if (source !== mine) return;
    close();
    if (why) lost(why.detail);
    const pause = Math.max(retry, why ? why.after : 0);
    retry = Math.min(retry * 2, MOST);
    timer = setTimeout(() => { again(); open(); }, pause);
  };

  const open = () => {
    close();
    const mine = new EventSource(address);
    source = mine;
    mine.addEventListener("hello", () => { retry = FIRST; });
    for (const [name, act] of Object.entries(heard)) mine.addEventListener(name, act);
    mine.addEventListener("error", () => failed(mine), { once: true });
  };

  window.addEventListener("pagehide", close);
  return { open, close };
};
