// The simulated phone: shows two people's chats live, sends what they write, and keeps what could not be sent.
"use strict";

const RETRY_MS = 1500;
const TYPING_MS = 5000;
const GROUP_MS = 120000;
const SHOWN_MAX = 300;
const STATES = { waiting: ["i-clock", "waiting"], sent: ["i-tick", "sent"], delivered: ["i-ticks", "delivered"], failed: ["i-cross", "not delivered"] };
const NAIROBI = { latitude: -1.286389, longitude: 36.817223, label: "KICC, Nairobi" };

const $ = (id) => document.getElementById(id);
const chat = $("chat"), text = $("text"), notice = $("notice");
const people = { whatsapp: null, telegram: null };
const messages = { whatsapp: new Map(), telegram: new Map() };
const drafts = { whatsapp: "", telegram: "" };
const typing = { whatsapp: 0, telegram: 0 };
let waiting = { whatsapp: "", telegram: "" };
let me = location.hash === "#telegram" ? "telegram" : "whatsapp";
let connected = true, last = 0, source = null, sending = false, loaded = false;

function make(tag, cls, words) {
  const node = document.createElement(tag);
  if (cls) node.className = cls;
  if (words !== undefined) node.textContent = words;
  return node;
}

function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", "#" + name);
  svg.append(use);
  return svg;
}

async function call(path, body) {
  const options = body ? { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) } : {};
  const response = await fetch("/sandbox/api/" + path, options);
  const value = await response.json().catch(() => ({}));
  if (!response.ok) throw Object.assign(new Error(value.error || "The sandbox answered " + response.status + "."), { status: response.status });
  return value;
}

// Messages that have no number yet live here, so that a reload or a restart loses nothing that was typed.
function unsent() {
  try { return JSON.parse(localStorage.getItem("mathia.sandbox.unsent") || "[]"); } catch { return []; }
}
function keepUnsent(list) {
  try { localStorage.setItem("mathia.sandbox.unsent", JSON.stringify(list)); } catch { /* private mode: memory only */ }
  pending = list;
}
let pending = unsent();

function day(at) {
  return new Date(at).toLocaleDateString("en-GB", { weekday: "short", day: "numeric", month: "short" });
}

function clock(at) {
  return new Date(at).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
}

function bubble(message) {
  const box = make("div", "bubble");
  if (message.reply_to && messages[me].has(message.reply_to)) box.append(make("div", "quote", messages[me].get(message.reply_to).text));
  if (message.media) {
    if (message.media.startsWith("/") && (!message.media_type || message.media_type.startsWith("image/"))) {
      const image = make("img");
      image.src = message.media;
      image.alt = message.name || "Picture of a hill at sunset";
      if (!message.media_type) {
        image.width = 240;
        image.height = 160;
      }
      box.append(image);
    } else if (message.media_type && /^(audio|video)/.test(message.media_type)) {
      const player = make(message.media_type.slice(0, 5));
      player.src = message.media;
      player.controls = true;
      player.title = message.name;
      box.append(player);
    } else {
      const link = make("a", "", message.name || message.media);
      link.href = message.media;
      link.rel = "noreferrer";
      box.append(link);
    }
  }
  if (message.location) {
    const place = make("div", "place");
    const where = message.location;
    place.append(icon("i-pin"), make("span", "", where.label || where.latitude.toFixed(4) + ", " + where.longitude.toFixed(4)));
    box.append(place);
  }
  if (message.voice) {
    const note = make("div", "place");
    note.append(icon("i-mic"), make("span", "", "Voice note: " + message.voice));
    box.append(note);
  }
  if (message.deleted) box.append(make("em", "", "Deleted"));
  else if (message.text) box.append(me === "telegram" ? formatted(message.text, message.entities || []) : marked(message.text));
  return box;
}

// Text with its web addresses as links.
function linked(words) {
  return words.split(/(https?:\/\/[^\s<>"]+[^\s<>".,;:!?)])/).map((piece, at) => {
    if (at % 2 === 0) return piece;
    const link = make("a", "", piece);
    link.href = piece;
    link.target = "_blank";
    link.rel = "noopener";
    return link;
  });
}

const TAGS = { bold: "b", italic: "i", underline: "u", strikethrough: "s", code: "code", pre: "pre" };

// Telegram's entities: offsets count UTF-16 units, as strings do here. Those that overlap an earlier one are not drawn.
function formatted(words, entities) {
  const box = make("span");
  let at = 0;
  for (const { type, offset, length } of entities) {
    if (offset < at || !TAGS[type]) continue;
    box.append(...linked(words.slice(at, offset)), make(TAGS[type], "", words.slice(offset, offset + length)));
    at = offset + length;
  }
  box.append(...linked(words.slice(at)));
  return box;
}

// WhatsApp's marks, as its own apps show them.
function marked(words) {
  const box = make("span");
  words.split(/(```[\s\S]+?```|(?<!\w)\*[^\s*](?:[^*\n]*[^\s*])?\*(?!\w))/).forEach((piece, at) => {
    if (at % 2 === 0) box.append(...linked(piece));
    else if (piece.startsWith("```")) box.append(make("pre", "", piece.slice(3, -3)));
    else box.append(make("b", "", piece.slice(1, -1)));
  });
  return box;
}

function keys(message) {
  const box = make("div", "keys");
  for (const row of message.buttons) {
    const line = make("div");
    for (const key of row) {
      let node;
      if (key.url) {
        node = make("a", "", key.text);
        node.href = key.url;
        node.rel = "noreferrer";
      } else {
        node = make("button", "", key.text);
        node.type = "button";
        node.addEventListener("click", () => (key.data ? tap(message, key) : send({ text: key.text })));
      }
      line.append(node);
    }
    box.append(line);
  }
  return box;
}

async function tap(message, key) {
  try {
    await call("tap", { as: "telegram", id: message.id, data: key.data });
  } catch (error) {
    say(error.message);
  }
}

async function edit(message) {
  const words = (prompt("What should the message say?", message.text) || "").trim();
  if (!words || words === message.text) return;
  try {
    await call("edit", { as: "telegram", id: message.id, text: words });
  } catch (error) {
    say(error.message);
  }
}

function show(message, before) {
  const first = !before || before.from !== message.from || new Date(message.at) - new Date(before.at) > GROUP_MS;
  const node = make("div", "msg" + (message.from === "me" ? " me" : "") + (first ? " first" : ""));
  node.dataset.id = message.id;
  node.append(make("span", "sr", message.from === "me" ? "You: " : "Mathia: "), bubble(message));
  if (message.buttons && message.buttons.length) node.append(keys(message));
  const failed = message.status === "failed";
  if (message.from === "me" || failed || first || message.edited) {
    const meta = make("div", "meta" + (failed ? " failed" : ""));
    meta.append(make("span", "", (message.edited ? "edited " : "") + clock(message.at)));
    const state = STATES[message.status];
    if (state) {
      meta.append(icon(state[0]), make("span", message.status === "sent" || message.status === "delivered" ? "sr" : "", state[1]));
    }
    node.append(meta);
    if (message.note) node.append(make("div", "meta failed", message.note));
    if (message.from === "me" && me === "telegram" && message.status === "delivered" && message.text && !message.media) {
      const change = make("button", "link", "Edit");
      change.type = "button";
      change.addEventListener("click", () => edit(message));
      meta.append(change);
    }
    if (message.from === "me" && failed) {
      const again = make("button", "link", "Send again");
      again.type = "button";
      again.addEventListener("click", () => send({ text: message.text, location: message.location, voice: message.voice, picture: Boolean(message.media) }));
      node.append(again);
    }
  }
  return node;
}

function draw() {
  const near = chat.scrollHeight - chat.scrollTop - chat.clientHeight < 80;
  const list = [...messages[me].values(), ...pending.filter((m) => m.as === me)].slice(-SHOWN_MAX);
  const nodes = [];
  let before = null;
  for (const message of list) {
    if (!before || day(before.at) !== day(message.at)) {
      nodes.push(make("div", "day", day(message.at)));
      before = null;
    }
    nodes.push(show(message, before));
    before = message;
  }
  if (!list.length) {
    const name = me === "whatsapp" ? "Amina on WhatsApp" : "Brian on Telegram";
    nodes.push(make("p", "empty", loaded ? "You are " + name + ". Write to Mathia below: ask for the weather in Nairobi, or to be reminded in 1 minute." : "Loading…"));
  }
  if (typing[me] > Date.now()) {
    const dots = make("div", "dots");
    dots.append(make("span", "sr", "Mathia is typing"), make("i"), make("i"), make("i"));
    nodes.push(dots);
  }
  chat.replaceChildren(...nodes);
  if (near) chat.scrollTop = chat.scrollHeight;
  tellState();
}

let complaint = "";
function say(words) {
  complaint = words;
  tellState();
  setTimeout(() => { if (complaint === words) { complaint = ""; tellState(); } }, 6000);
}

function tellState() {
  let words = complaint;
  if (!words && !connected) words = "Mathia is not reachable. Your messages are kept and delivered when it is back.";
  else if (!words && waiting[me]) words = "Waiting: " + waiting[me] + ". Will deliver when it is back.";
  if (notice.textContent !== words) notice.textContent = words;
  notice.hidden = !words;
}

function choose(who) {
  drafts[me] = text.value;
  me = who;
  text.value = drafts[me];
  grow();
  history.replaceState(null, "", "#" + me);
  for (const button of document.querySelectorAll(".people button")) {
    const mine = button.dataset.as === me;
    button.setAttribute("aria-pressed", String(mine));
    if (mine) button.querySelector(".dot").hidden = true;
  }
  chat.scrollTop = 0;
  draw();
  chat.scrollTop = chat.scrollHeight;
}

function send(content) {
  const message = { as: me, cid: crypto.randomUUID(), from: "me", status: "waiting", at: new Date().toISOString(), text: "", ...content };
  message.id = message.cid;
  if (content.picture) message.media = "/sandbox/picture.png";
  keepUnsent([...pending, message]);
  draw();
  chat.scrollTop = chat.scrollHeight;
  flush();
}

async function flush() {
  if (sending) return;
  sending = true;
  try {
    while (pending.length) {
      const message = pending[0];
      const body = { as: message.as, cid: message.cid, text: message.text, location: message.location, picture: message.picture, voice: message.voice };
      try {
        const sent = await call("send", body);
        if (!messages[message.as].has(sent.id)) messages[message.as].set(sent.id, sent);
        keepUnsent(pending.slice(1));
      } catch (error) {
        if (error.status && error.status < 500) {
          keepUnsent(pending.slice(1));
          messages[message.as].set(message.id, { ...message, status: "failed", note: error.message });
        } else {
          connected = false;
          tellState();
          await new Promise((done) => setTimeout(done, RETRY_MS));
        }
      }
      draw();
    }
  } finally {
    sending = false;
  }
}

function take(event) {
  const row = JSON.parse(event.data);
  if (event.lastEventId) last = Number(event.lastEventId);
  return row;
}

function isOurs(row) {
  return people[row.as] === row.person;
}

function follow() {
  if (source) source.close();
  source = new EventSource("/sandbox/api/events?after=" + last);
  source.onopen = () => {
    connected = true;
    tellState();
    flush();
  };
  source.onerror = () => {
    connected = false;
    tellState();
    if (source.readyState === EventSource.CLOSED) setTimeout(follow, RETRY_MS);
  };
  source.addEventListener("message", (event) => {
    const row = take(event);
    if (!isOurs(row)) return;
    messages[row.as].set(row.id, row);
    if (row.cid) keepUnsent(pending.filter((m) => m.cid !== row.cid));
    if (row.from === "bot") {
      typing[row.as] = 0;
      if (row.as !== me) document.querySelector(`[data-as=${row.as}] .dot`).hidden = false;
    }
    draw();
  });
  for (const kind of ["status", "edit"]) {
    source.addEventListener(kind, (event) => {
      const row = take(event);
      const known = messages[row.as].get(row.id);
      if (!known) return;
      const { n, at, event: _, ...change } = row;
      Object.assign(known, change);
      draw();
    });
  }
  source.addEventListener("reset", (event) => {
    take(event);
    messages.whatsapp.clear();
    messages.telegram.clear();
    draw();
  });
  source.addEventListener("typing", (event) => {
    const row = JSON.parse(event.data);
    if (!isOurs(row)) return;
    typing[row.as] = Date.now() + TYPING_MS;
    draw();
    setTimeout(draw, TYPING_MS + 50);
  });
  source.addEventListener("mpesa", showMpesa);
  source.addEventListener("waiting", (event) => {
    waiting = JSON.parse(event.data);
    tellState();
  });
}

async function load() {
  try {
    const history = await call("history");
    for (const who of history.people) people[who.as] ??= who.person;
    for (const message of history.messages) if (isOurs(message)) messages[message.as].set(message.id, message);
    last = history.last;
    loaded = true;
    draw();
    chat.scrollTop = chat.scrollHeight;
    follow();
    showPlans();
    showMpesa();
  } catch {
    connected = false;
    tellState();
    setTimeout(load, RETRY_MS);
  }
}

async function showPlans() {
  try {
    const plans = await call("faults");
    if (!$("provider").options.length) {
      for (const name of ["twilio", "telegram", ...Object.keys(plans).filter((n) => !["twilio", "telegram", "smtp"].includes(n))]) {
        $("provider").append(new Option(name, name));
      }
      for (const name of Object.keys(plans)) {
        const link = make("a", "", name);
        link.href = "/sandbox/truth/" + name;
        const item = make("li");
        item.append(link);
        $("logs").append(item);
      }
    }
    const active = Object.entries(plans).filter(([, state]) => state.plan && state.left !== 0);
    const words = active.map(([name, state]) => name + ": " + state.plan.plan.map((f) => f.fault || f).join(", ") + (state.left === null ? ", until stopped" : ", " + state.left + " left"));
    $("plan").textContent = words.join(" · ") || "Nothing goes wrong on purpose.";
  } catch (error) {
    $("plan").textContent = error.message;
  }
}

// What M-Pesa asks people and tells them. A PIN being typed is left alone while other prompts come and go.
async function showMpesa() {
  const asked = await call("mpesa").catch(() => null);
  if (!asked) return;
  const box = $("mpesa");
  const open = new Set(asked.prompts.map((prompt) => prompt.id));
  for (const form of [...box.children]) if (!open.delete(form.dataset.id)) form.remove();
  for (const prompt of asked.prompts) if (open.has(prompt.id)) box.append(promptForm(prompt));
  box.hidden = !box.children.length;
  if (asked.told.length) {
    $("told").replaceChildren(...asked.told.slice(-5).reverse().map((one) => make("li", "", clock(one.at) + " +" + one.phone + ": " + one.text)));
  }
}

function promptForm(prompt) {
  const form = make("form");
  form.dataset.id = prompt.id;
  form.autocomplete = "off";
  const words = make("p", "", "M-Pesa to +" + prompt.phone + ": " + prompt.text);
  const pin = make("input");
  Object.assign(pin, { type: "password", inputMode: "numeric", maxLength: 4, pattern: "[0-9]{4}", required: true, placeholder: "PIN", autocomplete: "off" });
  pin.setAttribute("aria-label", "M-Pesa PIN of +" + prompt.phone + ", any 4 digits");
  const pay = make("button", "primary", "Pay"), no = make("button", "", "Cancel");
  no.type = "button";
  const answer = async (value) => {
    try {
      await call("mpesa", { id: prompt.id, pin: value });
    } catch (error) {
      say(error.message);
    }
    showMpesa();
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    answer(pin.value);
  });
  no.addEventListener("click", () => answer(null));
  const row = make("div");
  row.append(pin, pay, no);
  form.append(words, row);
  return form;
}

function grow() {
  text.style.height = "auto";
  text.style.height = Math.min(text.scrollHeight + 2, 164) + "px";
}

$("compose").addEventListener("submit", (event) => {
  event.preventDefault();
  const words = text.value.trim();
  if (!words) return;
  text.value = "";
  grow();
  send({ text: words });
});
text.addEventListener("input", grow);
text.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    $("compose").requestSubmit();
  }
});
$("location").addEventListener("click", () => send({ location: NAIROBI }));
$("voice").addEventListener("click", () => {
  const words = text.value.trim();
  if (!words) return text.focus();
  text.value = "";
  grow();
  send({ voice: words });
});
$("picture").addEventListener("click", () => send({ picture: true, text: text.value.trim() }) ?? (text.value = ""));
for (const button of document.querySelectorAll(".people button")) button.addEventListener("click", () => choose(button.dataset.as));
$("faults").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    await call("faults", { provider: $("provider").value, plan: [$("fault").value], times: Number($("times").value) || 1 });
  } catch (error) {
    say(error.message);
  }
  showPlans();
});
$("heal").addEventListener("click", async () => {
  for (const option of $("provider").options) await call("faults", { provider: option.value, plan: [] }).catch(() => {});
  showPlans();
});
$("controls").addEventListener("toggle", showPlans);

choose(me);
load();
