// What the page does by itself: follow the server's events, keep times going, copy, keep open what was open.
"use strict";

(() => {
  const body = document.body;
  const lost = document.querySelector("[data-lost]");

  // every part of the page that can look again for itself (hx-trigger="look"); what changes while one of them looks
  // may be too late for its answer, and its queue goes with it when it is swapped: then all look once more
  const SETTLED = 50;
  const looking = new Set();
  let again = false;
  const look = () => {
    if (!window.htmx) return;
    again = looking.size > 0;
    if (again) return;
    for (const part of document.querySelectorAll("[data-look]")) window.htmx.trigger(part, "look");
  };
  body.addEventListener("htmx:beforeSend", (event) => {
    const { elt, target, xhr } = event.detail;
    // a search that is about to replace such a part counts, too
    if (elt.matches("[data-look]") || target?.matches("[data-look]")) looking.add(xhr);
  });
  body.addEventListener("htmx:afterRequest", (event) => {
    // what was swapped in hears nothing until it has settled
    setTimeout(() => { if (looking.delete(event.detail.xhr) && looking.size === 0 && again) look(); }, SETTLED);
  });

  const resting = lost?.textContent;
  const connected = (yes, why = null) => {
    if (lost) {
      lost.textContent = why ? `Not live: ${why}` : resting;
      lost.hidden = yes;
    }
    body.dataset.connected = yes;
  };

  if (body.dataset.live && window.EventSource) {
    const heard = { hello: () => { connected(true); look(); }, change: look };
    // at each try the parts are asked for, too: whoever was signed out meanwhile is sent to the sign-in page by that
    const { open, close } = window.followStream(body.dataset.live, heard, (why) => connected(false, why), look);
    if (!document.hidden) open();
    // a browser keeps six connections to a server: tabs that nobody sees must not hold one each
    document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
    window.addEventListener("pageshow", (event) => event.persisted && open());
  }

  // on a phone the tabs go on beyond the edge: the one that is open is to be seen
  const tab = document.querySelector(".tabs [aria-current]");
  const showTab = () => {
    const tabs = tab.parentElement;
    tabs.scrollLeft = tab.offsetLeft - (tabs.clientWidth - tab.offsetWidth) / 2;
  };
  if (tab) {
    showTab();
    window.addEventListener("resize", showTab);
  }

  // the same words as tags.py, `duration`
  const duration = (seconds) => {
    for (const [size, unit] of [[86400, "day"], [3600, "hour"], [60, "minute"]]) {
      const count = Math.floor(seconds / size);
      if (count >= 1) return `${count} ${unit}${count > 1 ? "s" : ""}`;
    }
    return "a moment";
  };
  const tick = () => {
    for (const time of document.querySelectorAll("time[data-since]")) {
      const text = duration((Date.now() - Date.parse(time.dateTime)) / 1000);
      if (time.textContent !== text) time.textContent = text;
    }
  };
  setInterval(tick, 5000);

  const prepare = () => {
    for (const button of document.querySelectorAll("[data-copy]")) button.hidden = !navigator.clipboard;
  };
  prepare();

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    await navigator.clipboard.writeText(document.querySelector(button.dataset.copy).textContent);
    button.textContent = "Copied";
  });

  let opened = [];
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (event.detail.xhr.getResponseHeader("X-Notice")) event.detail.shouldSwap = false;
    opened = [...document.querySelectorAll("[data-look] details[id][open]")].map((details) => details.id);
  });
  document.addEventListener("htmx:afterSwap", (event) => {
    for (const id of opened) document.getElementById(id)?.setAttribute("open", "");
    prepare();
  });
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (event.detail.requestConfig.verb !== "get") document.getElementById("notice")?.replaceChildren();
  });
  const unreachable = () => {
    const text = document.createElement("p");
    text.className = "notice bad";
    text.textContent = "The server did not answer. Nothing may have changed; try again in a moment.";
    return text;
  };
  // Whatever went wrong is said above the list, and the list stays. Heard from the request itself: a live refresh may
  // have taken the button off the page meanwhile, and with it all of htmx's own events.
  document.addEventListener("htmx:beforeSend", (event) => {
    const { xhr, requestConfig } = event.detail;
    xhr.addEventListener("loadend", () => {
      const notice = document.getElementById("notice");
      if (!notice || (xhr.status >= 200 && xhr.status < 400)) return;
      if (xhr.getResponseHeader("X-Notice")) notice.innerHTML = xhr.responseText;
      else if (requestConfig.verb !== "get") notice.replaceChildren(unreachable());
    });
  });
})();
