// Pages of versions: a clock that goes on between two looks at the server; a field that chooses what it belongs to.
"use strict";

(() => {
  // the server's clock and the browser's may differ: what counts is how long it is since the server said so
  const heard = new WeakMap();
  const tick = () => {
    for (const clock of document.querySelectorAll("[data-clock]")) {
      if (!heard.has(clock)) heard.set(clock, Date.parse(clock.dataset.now) - Date.now());
      const seconds = (Date.now() + heard.get(clock) - Date.parse(clock.dataset.clock)) / 1000;
      clock.textContent = `${Math.max(0, seconds).toFixed(1)} s`;
    }
  };
  setInterval(tick, 100);

  document.addEventListener("input", (event) => {
    const part = event.target.closest("[data-chooses]");
    const choice = part && document.querySelector(part.dataset.chooses);
    if (choice) choice.checked = true;
  });
})();
