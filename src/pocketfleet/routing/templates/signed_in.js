"use strict";
try {
  const session = JSON.parse(document.getElementById("session").textContent);
  localStorage.setItem(session.key, session.value);
  location.replace(session.path);
} catch (error) {
  document.getElementById("waits").hidden = true;
  document.getElementById("refused").hidden = false;
}
