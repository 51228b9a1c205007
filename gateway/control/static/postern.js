// Small services to pages that work without them: local times, and a look at what changed.
"use strict";

// htmx parses answers of this server, which escapes all text; nothing else may make HTML. Scripts
// and script addresses have no policy, so no text becomes one.
if (window.trustedTypes) {
  window.trustedTypes.createPolicy("default", { createHTML: (html) => html });
}

const showLocalTimes = (root) => {
  for (const stamp of root.querySelectorAll("time[datetime]:not([title])")) {
    const moment = new Date(stamp.dateTime);
    if (!Number.isNaN(moment.getTime())) {
      stamp.title = stamp.textContent;
      stamp.textContent = moment.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
    }
  }
};
showLocalTimes(document);

const source = document.body.dataset.events;
if (source) {
  const BURST_MS = 200; // a burst of changes is one look
  let pending = false;
  const isBusy = (region) =>
    [...region.querySelectorAll("textarea, input:not([type=hidden])")].some(
      (field) => field.value !== field.defaultValue,
    ) || region.querySelector("details.confirm[open]") !== null;
  const look = async () => {
    pending = false;
    const answer = await fetch(window.location.pathname + window.location.search);
    if (!answer.ok || answer.redirected) {
      window.location.reload(); // signed out meanwhile, or gone
      return;
    }
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const region of document.querySelectorAll("[data-live]")) {
      const next = fresh.getElementById(region.id);
      const isSame = region.dataset.key !== undefined && region.dataset.key === next?.dataset.key;
      if (!next || isSame) continue;
      if (isBusy(region)) {
        document.getElementById("stale").hidden = false;
      } else {
        window.htmx.swap(region, next.outerHTML, { swapStyle: "outerHTML" });
      }
    }
    showLocalTimes(document);
  };
  const lookSoon = () => {
    if (document.hidden) {
      document.addEventListener("visibilitychange", look, { once: true });
    } else {
      window.setTimeout(look, BURST_MS);
    }
  };
  new EventSource(source).addEventListener("message", () => {
    if (!pending) {
      pending = true;
      lookSoon();
    }
  });
}

// The step of a SAML login that needs no person; without scripts there is its button.
document.getElementById("saml-form")?.submit();
