// Two small services to pages that work without them: local times, and a look at what changed.
"use strict";

for (const stamp of document.querySelectorAll("time[datetime]")) {
  const moment = new Date(stamp.dateTime);
  if (!Number.isNaN(moment.getTime())) {
    stamp.title = stamp.textContent;
    stamp.textContent = moment.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
  }
}

const source = document.body.dataset.events;
if (source) {
  const RELOAD_MS = 1500; // a burst of changes is one reload
  let pending = false;
  const isTyping = () =>
    [...document.querySelectorAll("main textarea")].some((area) => area.value !== area.defaultValue);
  const refresh = () => {
    pending = false;
    if (isTyping()) {
      document.getElementById("stale").hidden = false;
    } else if (!document.hidden) {
      window.location.reload();
    } else {
      document.addEventListener("visibilitychange", refresh, { once: true });
    }
  };
  new EventSource(source).addEventListener("message", () => {
    if (!pending) {
      pending = true;
      window.setTimeout(refresh, document.hidden ? 0 : Math.min(RELOAD_MS, performance.now() < RELOAD_MS ? RELOAD_MS : 100));
    }
  });
}
