// The log's page: follow, filter while one types, pause. The server has written the first lines.
"use strict";

(() => {
  const log = document.getElementById("log");
  const search = document.getElementById("log-q");
  const stream = document.getElementById("log-stream");
  const pause = document.getElementById("log-pause");
  const said = document.getElementById("log-said");
  if (!log || !window.EventSource) return;

  const MOST = 3000;
  const resting = said.textContent;
  let paused = false;
  let waiting = [];

  const atEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  const fits = (line) =>
    (!stream.value || line.classList.contains(stream.value)) &&
    line.textContent.toLowerCase().includes(search.value.toLowerCase());

  const filter = () => {
    for (const line of log.children) line.hidden = line.id !== "log-empty" && !fits(line);
    log.scrollTop = log.scrollHeight;
  };

  const part = (name, className, text) => {
    const made = document.createElement(name);
    if (className) made.className = className;
    made.textContent = text;
    return made;
  };

  const stamp = (text) => {
    const at = new Date(text);
    const month = at.toLocaleString("en", { month: "short", timeZone: "UTC" });
    return `${month} ${at.getUTCDate()} ${at.toISOString().slice(11, 19)}`;
  };

  const add = (line) => {
    document.getElementById("log-empty")?.remove();
    const row = document.createElement("p");
    row.className = line.stream;
    const time = part("time", "", stamp(line.at));
    time.dateTime = line.at;
    row.append(time, part("span", "of", line.stream), part("span", "text", line.text));
    row.hidden = !fits(row);
    log.append(row);
    while (log.children.length > MOST) log.firstElementChild.remove();
  };

  const show = (lines) => {
    const follow = atEnd();
    lines.forEach(add);
    if (follow) log.scrollTop = log.scrollHeight;
  };

  // the stream begins with lines that may be here already: what came between two connections is among them
  const known = new Map();
  const keyed = (at, stream, text) => `${new Date(at).getTime()} ${stream} ${text}`;
  const remember = () => {
    known.clear();
    const rows = [...log.querySelectorAll("p:not(#log-empty)")].map((row) =>
      keyed(row.firstElementChild.dateTime, row.className, row.lastElementChild.textContent));
    for (const key of [...rows, ...waiting.map((line) => keyed(line.at, line.stream, line.text))])
      known.set(key, (known.get(key) || 0) + 1);
  };
  const isKnown = (line) => {
    const key = keyed(line.at, line.stream, line.text);
    const left = known.get(key) || 0;
    if (left) known.set(key, left - 1);
    return left > 0;
  };

  const heard = {
    line: (event) => {
      const line = JSON.parse(event.data);
      if (isKnown(line)) return;
      if (!paused) return show([line]);
      waiting.push(line);
      waiting = waiting.slice(-MOST);
      said.textContent = `Paused; ${waiting.length} new line${waiting.length === 1 ? "" : "s"}.`;
    },
    hello: () => {
      log.dataset.live = "true";
      if (!paused) said.textContent = resting;
    },
  };
  const lost = (why) => { if (!paused) said.textContent = why ? `Not live: ${why}` : "Not connected, trying again …"; };
  remember();
  window.followStream(log.dataset.follow, heard, lost, remember).open();

  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", paused);
    pause.textContent = paused ? "Go on" : "Pause";
    said.textContent = paused ? "Paused." : resting;
    if (!paused) show(waiting.splice(0));
  });
  document.getElementById("log-form").addEventListener("submit", (event) => event.preventDefault());
  search.addEventListener("input", filter);
  stream.addEventListener("change", filter);
  log.scrollTop = log.scrollHeight;
})();
