/** The admin's few lines of script: whether the page is live, and the keyboard. The server renders everything else. */
(() => {
  const stream = document.getElementById("stream");
  const live = document.getElementById("live");

  /** @param {"live" | "paused"} state */
  const say = (state) => {
    if (!live || live.dataset.state === state) return;
    live.dataset.state = state;
    live.querySelector(".words").textContent = live.dataset[state];
  };
  stream?.addEventListener("htmx:sse:after:connection", (event) => {
    if (event.detail.connection.status === 200) say("live");
  });
  for (const name of ["htmx:sse:error", "htmx:sse:close", "htmx:sse:before:connection", "htmx:error"]) {
    stream?.addEventListener(name, () => say("paused"));
  }
  // What is on the screen was for somebody who has signed out since; the page that does it goes by itself.
  let leaving = false;
  document.querySelector("form[action='/admin/sign-out']")?.addEventListener("submit", () => {
    leaving = true;
  });
  stream?.addEventListener("signed-out", () => leaving || location.reload());

  // A canned reply goes where the cursor is, and the chooser is ready for the next one.
  document.querySelector("[data-insert]")?.addEventListener("change", (event) => {
    const box = document.getElementById(event.target.dataset.insert);
    box.setRangeText(event.target.value, box.selectionStart, box.selectionEnd, "end");
    event.target.value = "";
    box.focus();
  });

  const keys = document.getElementById("keys");
  document.querySelector("[data-open=keys]")?.addEventListener("click", () => keys.showModal());
  document.querySelector("tr.selected")?.scrollIntoView({ block: "nearest" });

  /** Move the focus among the rows. @param {number} step */
  const move = (step) => {
    const rows = [...document.querySelectorAll("table.rows a.open")];
    if (!rows.length) return;
    const focused = rows.indexOf(document.activeElement);
    const at = focused >= 0 ? focused : rows.findIndex((row) => row.hasAttribute("aria-current"));
    const next = at < 0 ? (step > 0 ? 0 : rows.length - 1) : Math.min(Math.max(at + step, 0), rows.length - 1);
    rows[next].focus();
    rows[next].closest("tr").scrollIntoView({ block: "nearest" });
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const typing = event.target instanceof Element && event.target.closest("input, select, textarea");
    if (typing) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (keys.open) return;
    if (event.key === "/") {
      const search = document.getElementById("search");
      if (search) {
        event.preventDefault();
        search.focus();
        search.select();
      } else {
        location.assign("/admin/conversations");
      }
    } else if (event.key === "j") {
      move(1);
    } else if (event.key === "k") {
      move(-1);
    } else if (event.key === "?") {
      keys.showModal();
    }
  });
})();

/** The widget's page: the preview follows the form, and a text can be copied. */
(() => {
  const form = document.getElementById("site");
  const help = document.getElementById("colour-help");
  /** The answer to the last question alone is shown. */
  let asked = 0;

  const preview = async () => {
    const mine = ++asked;
    const fields = new FormData(form);
    const response = await fetch(`/widget/default.json?colour=${encodeURIComponent(fields.get("colour"))}`);
    const look = await response.json();
    if (mine !== asked) return;
    if (response.ok) {
      const on = look.colours.on === "#ffffff" ? "white" : "black";
      help.textContent = `Text on it is ${on}; links are ${look.colours.ink}. Both are made readable (WCAG AA) whatever you choose.`;
      window.mathia?.("preview", JSON.stringify({
        title: fields.get("title"),
        position: fields.get("position"),
        greeting: { en: fields.get("greeting_en"), sw: fields.get("greeting_sw") },
        colours: look.colours,
      }));
    } else {
      help.textContent = look.error;
    }
  };
  if (form) {
    window.mathiaSettings = {};
    form.addEventListener("input", preview);
    document.addEventListener("DOMContentLoaded", () => {
      window.mathia?.("open");
      preview();
    });
  }

  document.querySelector("[data-copy]")?.addEventListener("click", async (event) => {
    const text = document.getElementById(event.target.dataset.copy);
    try {
      await navigator.clipboard.writeText(text.textContent);
      event.target.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(text);
      event.target.textContent = "Selected; copy it";
    }
  });
})();
