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
  const isBusy = () =>
    [...document.querySelectorAll("main textarea, main input:not([type=hidden])")].some(
      (field) => field.value !== field.defaultValue,
    ) || document.querySelector("main details.confirm[open]") !== null;
  const look = () => {
    pending = false;
    const live = document.getElementById("live");
    if (live && window.htmx) {
      const here = window.location.pathname + window.location.search;
      window.htmx.ajax("GET", here, { target: live, select: "#live", swap: "outerHTML" })
        .then(() => showLocalTimes(document));
    } else if (isBusy()) {
      document.getElementById("stale").hidden = false;
    } else {
      window.location.reload();
    }
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
