"use strict";
// While somebody is asked to pay: look again when the page would show something else.
(() => {
  const SOON_MS = 400;
  const SLOWER_MS = 150;
  const LOOK_MS = 2500;
  const LOOKS_MAX = 120; // Five minutes; then the link on the page is there.
  const waiting = document.getElementById("waiting");
  if (!waiting) return;
  let looks = 0;
  const look = async () => {
    if (looks++ >= LOOKS_MAX) return;
    try {
      const reply = await fetch(waiting.dataset.state, { cache: "no-store" });
      if (reply.ok && (await reply.json()).mark !== waiting.dataset.mark) return location.reload();
    } catch {
      // Away for a moment: the next look tells.
    }
    setTimeout(look, Math.min(LOOK_MS, SOON_MS + SLOWER_MS * looks));
  };
  setTimeout(look, SOON_MS);
})();
