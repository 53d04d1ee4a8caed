// Passkeys: asks the browser for one, and sends what it gives with the form.
"use strict";

(() => {
  const fromText = (text) => {
    const plain = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
    return Uint8Array.from(plain, (character) => character.charCodeAt(0));
  };
  const toText = (buffer) => {
    const plain = String.fromCharCode(...new Uint8Array(buffer));
    return btoa(plain).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  };

  const known = (list) => (list ?? []).map((each) => ({ ...each, id: fromText(each.id) }));

  // A passkey that is made here signs in by itself, so the device keeps it and knows its owner.
  const create = (given) => navigator.credentials.create({
    publicKey: {
      ...given.publicKey,
      challenge: fromText(given.publicKey.challenge),
      user: { ...given.publicKey.user, id: fromText(given.publicKey.user.id) },
      excludeCredentials: known(given.publicKey.excludeCredentials),
      authenticatorSelection: {
        ...given.publicKey.authenticatorSelection,
        residentKey: "required",
        requireResidentKey: true,
        userVerification: "required",
      },
    },
  });

  const get = (given) => navigator.credentials.get({
    publicKey: {
      ...given.publicKey,
      challenge: fromText(given.publicKey.challenge),
      allowCredentials: known(given.publicKey.allowCredentials),
    },
  });

  const PARTS = ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"];
  const asJSON = (credential) => {
    const response = {};
    for (const part of PARTS) if (credential.response[part]) response[part] = toText(credential.response[part]);
    if (credential.response.getTransports) response.transports = credential.response.getTransports();
    return JSON.stringify({
      id: credential.id,
      rawId: toText(credential.rawId),
      type: credential.type,
      authenticatorAttachment: credential.authenticatorAttachment,
      clientExtensionResults: credential.getClientExtensionResults(),
      response,
    });
  };

  const options = async (form) => {
    const inPage = document.getElementById("passkey-options");
    if (inPage) return JSON.parse(inPage.textContent);
    const answer = await fetch(form.dataset.options, { headers: { Accept: "application/json" } });
    if (!answer.ok) throw new Error("refused");
    return (await answer.json()).request_options;
  };

  const WORDS = {
    NotAllowedError: "It was cancelled, took too long, or there is no passkey for this page here. Try again.",
    InvalidStateError: "This device has a passkey for your account already.",
    SecurityError: "This browser allows passkeys only at an address that begins with https.",
  };

  const use = async (form, button) => {
    const error = form.querySelector("[data-passkey-error]");
    error.hidden = true;
    button.disabled = true;
    try {
      const given = await options(form);
      const credential = await (form.dataset.passkey === "create" ? create(given) : get(given));
      form.elements.credential.value = asJSON(credential);
      form.submit();
    } catch (failure) {
      error.textContent = WORDS[failure.name] ?? "That did not work. Load the page anew and try again.";
      error.hidden = false;
      button.disabled = false;
    }
  };

  if (!window.PublicKeyCredential || !window.isSecureContext) return;
  for (const form of document.querySelectorAll("form[data-passkey]")) {
    form.hidden = false;
    const button = form.querySelector("button[type=button]");
    button.addEventListener("click", () => use(form, button));
    // Enter in its field means the passkey, too: without one there is nothing to send
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      use(form, button);
    });
  }
  for (const missing of document.querySelectorAll("[data-passkey-missing]")) missing.hidden = true;
})();
