// Forms with a large file: it is sent ahead by itself, with progress; the form then only names it.
"use strict";

(() => {
  const size = (bytes) => (bytes >= 1e9 ? `${(bytes / 1e9).toFixed(1)} GB` : `${Math.round(bytes / 1e5) / 10} MB`);

  for (const form of document.querySelectorAll("form[data-upload]")) {
    const file = form.querySelector("input[type=file]");
    const named = form.querySelector("input[name=upload]");
    const button = form.querySelector("[data-send]");
    const bar = form.querySelector("progress");
    const said = form.querySelector("[data-said]");
    button.disabled = false;

    const failed = (text) => {
      said.textContent = text;
      said.className = "error";
      bar.hidden = true;
      button.disabled = false;
    };

    const send = () => {
      const request = new XMLHttpRequest();
      const team = form.querySelector("[name=team]");
      const query = new URLSearchParams(form.dataset.upload ? { instance: form.dataset.upload } : team ? { team: team.value } : {});
      request.open("POST", `/api/v1/uploads?${query}`);
      request.setRequestHeader("X-CSRFToken", form.querySelector("[name=csrfmiddlewaretoken]").value);
      request.setRequestHeader("Content-Type", "application/zip");
      request.upload.addEventListener("progress", (event) => {
        if (!event.lengthComputable) return;
        bar.value = (100 * event.loaded) / event.total;
        said.textContent = `${size(event.loaded)} of ${size(event.total)}`;
      });
      request.addEventListener("error", () => failed("The connection broke off. Nothing has changed; try again."));
      request.addEventListener("load", () => {
        let answer = {};
        try { answer = JSON.parse(request.responseText); } catch { /* said below */ }
        if (request.status !== 201) return failed(answer.detail || "The file was not taken. Try again.");
        named.value = answer.upload;
        said.textContent = "The file is there.";
        form.submit();
      });
      request.send(file.files[0]);
    };

    form.addEventListener("submit", (event) => {
      if (!file.files.length && named.value) return;
      event.preventDefault();
      if (!file.files.length) return failed("Choose a file first.");
      said.className = "hint";
      bar.hidden = false;
      button.disabled = true;
      send();
    });
  }
})();
