// Mathia's chat, a web component: a launcher on any page, or all of its own.
// window.mathiaSettings = {server, site, title, color, position, locale};
// mathia('open' | 'close' | 'send' | 'identify' | 'logout' | 'on' | 'off', …): calls wait in a queue until it is there.
(() => {
  'use strict'
  if (window.mathia?.loaded) return
  const CALLS = ['open', 'close', 'send', 'identify', 'logout', 'on', 'off', 'preview']
  const EVENTS = ['ready', 'open', 'close', 'message', 'unread', 'error']
  const calls = [...(window.mathia?.q || [])]
  let chat = null
  window.mathia = (...call) => (chat ? run(call) : void calls.push(call))
  window.mathia.loaded = true
  const run = ([name, ...values]) => {
    if (CALLS.includes(name)) return chat[name](...values)
    throw new TypeError(`mathia(${JSON.stringify(name)}): want one of ${CALLS.slice(0, -1).join(', ')}.`)
  }
  const settings = window.mathiaSettings || {}
  const script = document.currentScript || document.querySelector('script[src*="/widget.js"]')
  const server = new URL(settings.server || script?.src || '/', location.href).origin
  const site = settings.site || 'default'
  let look = {}
  let title = settings.title || 'Mathia'
  const locale = settings.locale || navigator.language || 'en'

  const BACK_OFF_MS = 500
  const BACK_OFF_MAX_MS = 15000
  const ECHO_MS = 10000 // A send not back by then means a dead connection.
  const TYPING_MS = 45000
  const TYPING_EVERY_MS = 5000
  const GROUP_MS = 120000
  const LINES_MAX = 6
  const TEXT_MAX = 16384
  const STICK_PX = 80
  const SWIPE_PX = 56
  const PAGE = 50
  const THREADS_MAX = 500 // Of so many threads a browser remembers how far they were read.
  const REMOVED = 4404 // Not in this room any more.
  const LOOK_MS = 3000
  const VOICE_S_MAX = 600
  const FILES_MAX = 10
  const FILE_BYTES_MAX = 50 * 1024 * 1024
  const PICTURE_PX = 320
  const VOICE_KINDS = ['audio/webm;codecs=opus', 'audio/mp4', 'audio/ogg;codecs=opus']
  const REACTIONS = ['👍', '❤️', '😂', '😮', '😢', '🙏']
  const CID = /^[\w-]{1,64}$/

  const WORDS = {
    en: {
      open: 'Open chat', close: 'Close chat', log: 'Messages', box: 'Write a message', send: 'Send', you: 'You', unread: 'unread',
      on: 'Online', off: 'No connection. Your messages are kept.', wait: 'Connecting…', typing: 'is writing', today: 'Today', yesterday: 'Yesterday',
      sending: 'Sending…', sent: 'Sent', failed: 'Not sent.', retry: 'Try again', edit: 'Edit', reply: 'Reply', cancel: 'Cancel reply', latest: 'Latest messages',
      choose: 'Suggested replies', hello: (name) => `Hello. I am ${name}, an assistant.`, first: 'Ask me something, or start with one of these.', file: 'File', voice: 'Voice note',
      edited: 'edited', deleted: 'This message was deleted.',
      mic: 'Record a voice note', allow: 'Allow the microphone, and speak.', blocked: 'The microphone is blocked. Allow it in the browser’s settings.', drop: 'Discard the voice note',
      erase: 'Delete', sure: 'Delete this message for everybody?', gone: 'You are not in this room any more.', wiped: 'Everything you wrote here is erased. This is a new chat.', quiet: 'Nobody has written here yet.', call: 'Write @mathia to ask the assistant.', react: 'React', reactions: 'Reactions', within: 'Reply in thread', thread: 'Thread', replies: (n) => (n === 1 ? '1 reply' : `${n} replies`), fresh: 'new', long: 'Only the first 1,000 messages are shown.', attach: 'Attach files', files: 'Files to send', remove: 'Remove', lost: 'The file did not get through.', large: 'A file may have at most 50 MB.',
    },
    sw: {
      open: 'Fungua mazungumzo', close: 'Funga mazungumzo', log: 'Ujumbe', box: 'Andika ujumbe', send: 'Tuma', you: 'Wewe', unread: 'hazijasomwa',
      on: 'Mtandaoni', off: 'Hakuna mtandao. Ujumbe wako umehifadhiwa.', wait: 'Inaunganisha…', typing: 'anaandika', today: 'Leo', yesterday: 'Jana',
      sending: 'Inatumwa…', sent: 'Imetumwa', failed: 'Haikutumwa.', retry: 'Jaribu tena', edit: 'Hariri', reply: 'Jibu', cancel: 'Ghairi jibu', latest: 'Ujumbe mpya',
      choose: 'Majibu yaliyopendekezwa', hello: (name) => `Habari. Mimi ni ${name}, msaidizi.`, first: 'Niulize kitu, au anza na mojawapo ya haya.', file: 'Faili', voice: 'Ujumbe wa sauti',
      edited: 'umehaririwa', deleted: 'Ujumbe huu umefutwa.',
      mic: 'Rekodi ujumbe wa sauti', allow: 'Ruhusu maikrofoni, kisha ongea.', blocked: 'Maikrofoni imezuiwa. Iruhusu kwenye mipangilio ya kivinjari.', drop: 'Tupa ujumbe wa sauti',
      erase: 'Futa', sure: 'Futa ujumbe huu kwa wote?', gone: 'Huko kwenye chumba hiki tena.', wiped: 'Yote uliyoandika hapa yamefutwa. Hili ni gumzo jipya.', quiet: 'Hakuna aliyeandika hapa bado.', call: 'Andika @mathia kumuuliza msaidizi.', react: 'Weka hisia', reactions: 'Hisia', within: 'Jibu kwenye mjadala', thread: 'Mjadala', replies: (n) => (n === 1 ? 'Jibu 1' : `Majibu ${n}`), fresh: 'mapya', long: 'Ujumbe 1,000 wa kwanza tu ndio unaonyeshwa.', attach: 'Ambatisha faili', files: 'Faili za kutuma', remove: 'Ondoa', lost: 'Faili haikufika.', large: 'Faili isizidi MB 50.',
      codes: { type: 'Faili ya aina hii haipokelewi.', empty: 'Faili haina kitu.', picture: 'Picha hii haisomeki.', pixels: 'Picha ni kubwa mno.', hidden: 'Faili hii haipokelewi.', limit: 'Umetuma faili nyingi leo. Tuma nyingine kesho.', busy: 'Jaribu tena baada ya muda mfupi.' },
    },
  }
  const words = locale.startsWith('sw') ? WORDS.sw : WORDS.en
  const PROMPTS = words === WORDS.sw ? ['Hali ya hewa Nairobi', 'Nikumbushe baada ya dakika 10 ninyooshe mgongo', 'Badilisha dola 100 kuwa shilingi'] : ["What's the weather in Nairobi?", 'Remind me in 10 minutes to stretch', '100 USD in KES']

  const ICONS = {
    chat: 'M20.5 11.5a8 8 0 0 1-11.7 7.1L4 20l1.4-4.6a8 8 0 1 1 15.1-3.9z', close: 'M6 6l12 12M18 6L6 18',
    send: 'M12 19V5M6 11l6-6 6 6', reply: 'M9 14L4 9l5-5M4 9h9a6 6 0 0 1 6 6v4', tick: 'M5 12.5l4.5 4.5L19 7.5',
    pen: 'M4 20h4L19 9l-4-4L4 16zM13 7l4 4', bin: 'M5 7h14M9 7V4h6v3M7 7l1 13h8l1-13', down: 'M12 5v14M6 13l6 6 6-6', mark: 'M6 17V8l6 6 6-6v9',
    clip: 'M20 11.5l-8.2 8.2a5 5 0 0 1-7-7l8.5-8.6a3.4 3.4 0 0 1 4.8 4.8l-8.5 8.5a1.7 1.7 0 0 1-2.4-2.4l7.8-7.8',
    face: 'M12 3.5a8.5 8.5 0 1 0 0 17a8.5 8.5 0 1 0 0-17zM8.5 14.5a4.5 4.5 0 0 0 7 0M9 9.5v.5M15 9.5v.5',
    thread: 'M4 5h16v9H9l-5 4zM8 9.5h8',
    mic: 'M12 3a3 3 0 0 0-3 3v5a3 3 0 0 0 6 0V6a3 3 0 0 0-3-3zM6 11a6 6 0 0 0 12 0M12 17v4',
  }

  const STYLE = `
:host{all:initial;position:fixed;right:20px;bottom:20px;z-index:2147483000;display:block;color-scheme:light dark;
--accent:var(--site-accent,#0b6b4f);--on:var(--site-on,#fff);--bg:#fff;--fg:#1a1f1c;--mute:#59635e;--soft:#f0f3f1;--line:#dde4e0;--edge:#7d8983;--red:#a8231a;
--own:var(--site-own,#dfece8);--ink:var(--site-ink,#0a6249);
font:400 14px/1.5 ui-sans-serif,system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif;color:var(--fg)}
@media (prefers-color-scheme:dark){:host{--bg:#151917;--fg:#eaeeec;--mute:#a2ada8;--soft:#222825;--line:#2f3733;--edge:#75807b;--red:#ff9a90;
--own:var(--site-own-dark,#113b2f);--ink:var(--site-ink-dark,#a2c7bc)}}
:host([left]){right:auto;left:20px}
:host([full]),:host([preview]){position:absolute;inset:0;z-index:auto}
:host([preview]) .panel{height:calc(100% - 72px);width:100%}
*,::before{box-sizing:border-box}
[hidden]{display:none!important}
button,textarea{font:inherit;color:inherit;margin:0;border:0;background:none;padding:0}
button{cursor:pointer}
:focus-visible{outline:2px solid var(--ink);outline-offset:2px}
svg{width:20px;height:20px;display:block;fill:none;stroke:currentColor;stroke-width:var(--stroke,1.5);stroke-linecap:round;stroke-linejoin:round;flex:none}
.sr{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
.launch{position:absolute;right:0;bottom:0;width:56px;height:56px;border-radius:50%;background:var(--accent);color:var(--on);display:grid;place-items:center;box-shadow:0 6px 24px #0000002e,0 0 0 1px #ffffff1f}
:host([left]) .launch,:host([left]) .panel{right:auto;left:0}
.launch svg{width:26px;height:26px}
.launch[aria-expanded=true] svg:first-child,.launch[aria-expanded=false] svg+svg{display:none}
.badge{position:absolute;top:-4px;right:-4px;min-width:22px;height:22px;padding:0 6px;border-radius:11px;background:var(--bg);color:var(--ink);border:1px solid;font-size:12px;line-height:20px;font-weight:600}
.panel{position:absolute;right:0;bottom:72px;width:384px;height:min(640px,calc(100vh - 112px));background:var(--bg);border:1px solid var(--line);border-radius:12px;box-shadow:0 12px 48px #00000029;display:flex;flex-direction:column;overflow:hidden}
:host([full]) .panel{position:absolute;inset:0;width:auto;height:auto;border:0;border-radius:0;box-shadow:none}
:host([full]) :is(.head,.log,.quick,.quote,.tray,form,.foot){padding-inline:max(16px,calc(50% - 344px))}
.head{display:flex;align-items:center;gap:12px;padding:12px 8px 12px 16px;border-bottom:1px solid var(--line);min-height:64px}
.mark{width:36px;height:36px;--stroke:2;border-radius:50%;background:var(--accent);color:var(--on);display:grid;place-items:center;flex:none}
.head div{flex:1;min-width:0}
:host([room]) .head{min-height:0;padding-block:4px}
:host([room]) :is(.mark,h1){display:none}
h1,h2{margin:0;font-size:16px;line-height:1.3;font-weight:600;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.state{margin:0;font-size:12px;color:var(--mute)}
.state::before{content:"";display:inline-block;width:7px;height:7px;border-radius:50%;margin-right:6px;border:1.5px solid var(--mute)}
.state.on::before{background:var(--ink);border-color:var(--ink)}
.icon{width:44px;height:44px;border-radius:6px;display:grid;place-items:center;color:var(--mute);flex:none}
.log{flex:1;overflow-y:auto;overscroll-behavior:contain;padding:16px;display:flex;flex-direction:column;font-size:16px;}
.log>:first-child{margin-top:auto}
.day{align-self:center;font-size:12px;color:var(--mute);margin:16px 0 12px}
.group{display:flex;flex-direction:column;align-items:flex-start;gap:3px;margin-bottom:14px}
.group.me{align-items:flex-end}
.row{display:flex;align-items:center;gap:2px;max-width:100%}
.me .row{flex-direction:row-reverse}
.bubble{max-width:min(82%,560px);padding:8px 14px;border-radius:18px;background:var(--soft);border:1px solid transparent;white-space:pre-wrap;overflow-wrap:anywhere;min-width:0}
.row .bubble{max-width:min(calc(100% - 46px),560px)}
.row{position:relative}
.own{position:absolute;top:-36px;left:0;z-index:1;display:none;background:var(--bg);border:1px solid var(--line);border-radius:8px}
.row:is(:hover,:focus-within,.tap) .own:not(:empty){display:flex}
.me .own{left:auto;right:8px}
.me .bubble{background:var(--own)}
.chips{display:flex;flex-wrap:wrap;gap:4px}
.me .chips{justify-content:flex-end}
.chips button{min-width:44px;min-height:44px;padding:0 10px;border:1px solid var(--line);border-radius:22px;font-size:14px;font-variant-numeric:tabular-nums;background:var(--bg)}
.chips [aria-pressed=true]{background:var(--own);border-color:var(--ink)}
.own button{font-size:20px}
.thread{min-height:44px;padding:0 8px;font-size:14px;font-weight:500;color:var(--ink);text-decoration:underline}
.thread.fresh{font-weight:600}
.bot .row:last-of-type .bubble{border-bottom-left-radius:6px}
.me .row:last-of-type .bubble{border-bottom-right-radius:6px}
.bubble a{color:var(--ink)}
.bubble :is(table,dl){border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:14px;margin:0}
.wide{overflow-x:auto;white-space:normal;max-width:100%}
.wide:focus-visible{outline-offset:-2px}
.bubble :is(th,td){text-align:start;vertical-align:top;padding:4px 16px 4px 0;border-bottom:1px solid var(--line);overflow-wrap:normal}
.bubble th{font-weight:600}
.bubble tr:last-child td{border-bottom:0}
.bubble dl{display:grid;grid-template-columns:fit-content(46%) minmax(0,1fr);gap:2px 12px;white-space:normal}
.bubble dt{color:var(--mute)}
.me dt{color:inherit}
.bubble dd{margin:0}
.title{display:block;font-weight:600}
.bubble q{display:block;quotes:none;border-left:2px solid var(--ink);padding-left:8px;margin:2px 0 6px;font-size:14px;color:var(--mute);max-height:4.5em;overflow:hidden}
.me q{color:inherit}
.was{font-size:12px;color:var(--mute)}
.row .icon{opacity:0}
.row:is(:hover,:focus-within,.tap) .icon{opacity:1}
.meta{display:flex;align-items:center;gap:4px;font-size:12px;color:var(--mute);padding:1px 4px;font-variant-numeric:tabular-nums}
.meta svg{width:14px;height:14px}
.bad{color:var(--red)}
.meta button{color:var(--ink);font-weight:500;text-decoration:underline;white-space:nowrap;min-height:44px;padding:0 8px}
.empty{text-align:center;margin:auto 0;padding:24px 16px;color:var(--mute)}
.empty .mark{margin:0 auto 16px;width:52px;height:52px}
.empty svg{width:28px;height:28px}
.empty b{display:block;font-weight:600;font-size:20px;line-height:1.4;color:var(--fg);margin-bottom:4px}
.bone{height:40px;width:62%;border-radius:18px;background:var(--soft);margin-bottom:12px;flex:none}
.bone:nth-child(even){align-self:flex-end;width:44%}
.dots{display:flex;gap:4px;align-self:flex-start;padding:14px;border-radius:18px 18px 18px 6px;background:var(--soft);margin-bottom:12px}
.dots:has(p:not(:empty)){flex-wrap:wrap;row-gap:10px;max-width:82%}
.dots p{flex-basis:100%;margin:0;white-space:pre-wrap;overflow-wrap:anywhere}.dots p:empty{display:none}
.dots i{width:7px;height:7px;border-radius:50%;background:var(--mute)}
.quick{display:flex;flex-wrap:wrap;gap:8px;padding:4px 16px 12px}
.quick button{border:1px solid var(--edge);border-radius:22px;min-height:44px;padding:6px 16px;color:var(--ink);font-weight:500;text-align:left;overflow-wrap:anywhere}
.quick button:hover{background:var(--own);border-color:var(--ink)}
.foot{position:relative;height:0}
.jump{position:absolute;right:16px;bottom:12px;width:44px;height:44px;border-radius:50%;background:var(--bg);border:1px solid var(--line);display:grid;place-items:center;box-shadow:0 2px 10px #0000001f;color:var(--ink)}
.quote{display:flex;align-items:center;gap:8px;border-top:1px solid var(--line);padding:0 8px 0 16px;font-size:14px;color:var(--mute)}
.quote span{flex:1;min-width:0;overflow:hidden;text-overflow:ellipsis;white-space:nowrap;border-left:2px solid var(--ink);padding-left:8px}
form{display:flex;align-items:flex-end;gap:8px;padding:12px 16px max(12px,env(safe-area-inset-bottom));border-top:1px solid var(--line)}
textarea{flex:1;min-width:0;font-size:16px;line-height:24px;resize:none;height:44px;padding:9px 14px;border:1px solid var(--edge);border-radius:22px;background:var(--bg)}
textarea::placeholder{color:var(--mute);opacity:1}
textarea:focus{outline:2px solid var(--ink);outline-offset:-1px;border-color:transparent}
.go{width:44px;height:44px;border-radius:50%;background:var(--accent);color:var(--on);display:grid;place-items:center;flex:none}
.go:disabled{opacity:.45;cursor:default}
.rec{flex:1;display:flex;align-items:center;min-height:44px;font-size:16px}
.rec span{flex:1;font-variant-numeric:tabular-nums}
.rec.on span::before{content:'';display:inline-block;width:10px;height:10px;border-radius:50%;background:var(--red);margin-right:8px}
audio{display:block;max-width:100%;height:44px}
.bubble img{display:block;max-width:100%;height:auto;border-radius:12px}
video{display:block;max-width:100%;max-height:320px}
.tray{display:flex;flex-direction:column;gap:4px;margin:0;padding:8px 8px 0 16px;border-top:1px solid var(--line);list-style:none;max-height:40%;overflow-y:auto}
.tray li{display:flex;align-items:center;gap:8px;font-size:14px}
.tray img{width:40px;height:40px;object-fit:cover;border-radius:6px;flex:none}
.tray span{flex:1;min-width:0;overflow:hidden;text-overflow:ellipsis}
.tray small{display:block;font-size:12px;color:var(--mute)}
.tray .bad small{color:var(--red)}
progress{width:64px;height:6px;accent-color:var(--accent);flex:none}
.over{outline:2px dashed var(--ink);outline-offset:-6px}
@media (max-width:480px){:host(:not([full])){right:16px;bottom:16px}:host([left]:not([full])){left:16px}
:host(:not([full],[preview])) .panel{position:fixed;inset:var(--top,0) 0 auto 0;width:auto;height:var(--height,100dvh);border:0;border-radius:0}
:host(:not([preview])) .panel:not([hidden])+.launch{display:none}}
@media (prefers-reduced-motion:no-preference){:host(:not([full])) .panel{animation:rise .16s ease-out}.group{animation:fade .14s ease-out}
.dots i{animation:dot 1.2s ease-in-out infinite}.dots i:nth-child(2){animation-delay:.15s}.dots i:nth-child(3){animation-delay:.3s}}
@keyframes rise{from{opacity:0;transform:translateY(8px)}}
@keyframes fade{from{opacity:0}}
@keyframes dot{0%,60%,100%{opacity:.35}30%{opacity:1}}`

  const sheet = new CSSStyleSheet()
  sheet.replaceSync(STYLE)

  const memory = new Map()
  const prefix = `mathia:${server}:${site}:`
  let disk = null
  try { disk = localStorage } catch { /* Not allowed here. */ }
  // In a shared room (<mathia-chat full room="id">) everything is the room's own but who one is, and how it looks.
  const storeOf = (within) => {
    const full = (key) => prefix + (['token', 'signed', 'look'].includes(key) ? '' : within) + key
    return {
      get: (key) => memory.get(full(key)) ?? disk?.getItem(full(key)) ?? null,
      set: (key, value) => { try { disk.setItem(full(key), value) } catch { memory.set(full(key), String(value)) } },
      drop: (key) => { memory.delete(full(key)); disk?.removeItem(full(key)) },
      keys: () => Object.keys(disk || {}).filter((key) => key.startsWith(prefix + within)).map((key) => key.slice(prefix.length + within.length)),
    }
  }
  const store = storeOf('')

  const make = (tag, attributes = {}, ...children) => {
    const node = document.createElement(tag)
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith('on')) node.addEventListener(name.slice(2), value)
      else if (value === true) node.setAttribute(name, '')
      else if (value !== false && value != null) node.setAttribute(name, value)
    }
    node.append(...children.filter((child) => child != null))
    return node
  }
  const icon = (name) => {
    const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg')
    const path = document.createElementNS(svg.namespaceURI, 'path')
    svg.setAttribute('viewBox', '0 0 24 24')
    svg.setAttribute('aria-hidden', 'true')
    path.setAttribute('d', ICONS[name])
    svg.append(path)
    return svg
  }
  const link = (href, text) => make('a', { href, target: '_blank', rel: 'noopener noreferrer nofollow' }, text)
  const linked = (text) => text.split(/(https?:\/\/[^\s<>"]*[^\s<>".,;:!?)\]'])/).map((piece, at) => (at % 2 ? link(piece, piece) : piece))
  const clock = (date) => date.toLocaleTimeString('en-GB', { hour: '2-digit', minute: '2-digit' })
  const dayName = (date) => {
    const days = Math.round((new Date().setHours(0, 0, 0, 0) - new Date(date).setHours(0, 0, 0, 0)) / 864e5)
    if (days < 2) return days === 1 ? words.yesterday : words.today
    const year = days > 300 ? 'numeric' : undefined
    return date.toLocaleDateString(words === WORDS.sw ? 'sw' : 'en-GB', { weekday: 'short', day: 'numeric', month: 'short', year }).replace(',', '')
  }
  const plain = (part) => part.text ?? part.caption ?? part.label ?? part.filename ?? part.title ?? part.name ?? part.transcript ?? (part.kind === 'voice' ? words.voice : part.kind === 'table' ? part.columns.join(', ') : words.file)
  const row = (cells, tag) => make('tr', {}, ...cells.map((cell) => make(tag, tag === 'th' ? { scope: 'col' } : {}, cell)))
  const isWeb = (url) => /^https?:/.test(url)
  const weight = (bytes) => (bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toFixed(1)} MB`)
  const shown = ({ ref, url, media_type: kind, filename, size, width, height }) => {
    const name = filename || words.file
    if (!url) return isWeb(ref) ? link(ref, name) : name
    const src = new URL(url, server).href
    const scale = Math.min(1, PICTURE_PX / height) // The place is there before the picture is.
    if (width && kind.startsWith('image/')) return link(src, make('img', { src, alt: name, width: Math.round(width * scale), height: Math.round(height * scale), loading: 'lazy' }))
    if (/^(audio|video)\//.test(kind)) return make(kind.slice(0, 5), { controls: true, preload: 'none', src, 'aria-label': name })
    return make('span', {}, link(src, name), ` ${weight(size)}`)
  }
  const DRAWN = {
    media: (part) => [shown(part), ...(part.caption ? ['\n', ...linked(part.caption)] : [])],
    card: ({ title, text, facts, link: to }) => [
      make('span', { class: 'title' }, title), ...(text ? [...linked(text), '\n'] : []),
      ...(facts.length ? [make('dl', {}, ...facts.flatMap(({ label, value }) => [make('dt', {}, label), make('dd', {}, ...linked(value))]))] : []),
      ...(to && isWeb(to.url) ? [link(to.url, to.label || to.url)] : []),
    ],
    table: ({ title, columns, rows }) => [
      ...(title ? [make('span', { class: 'title' }, title)] : []),
      make('div', { class: 'wide', tabindex: 0, role: 'region', 'aria-label': title || columns.join(', ') },
        make('table', {}, make('thead', {}, row(columns, 'th')), make('tbody', {}, ...rows.map((cells) => row(cells, 'td'))))),
    ],
    voice: ({ ref, url, transcript }) => [url ? make('audio', { controls: true, preload: 'none', src: new URL(url, server).href, 'aria-label': words.voice }) : isWeb(ref) ? link(ref, words.voice) : words.voice, ...(transcript ? ['\n', ...linked(transcript)] : [])],
    contact: ({ name, phones, emails }) => [
      make('span', { class: 'title' }, name),
      ...phones.flatMap((phone) => [make('a', { href: `tel:${phone.replace(/[^+\d]/g, '')}` }, phone), '\n']),
      ...emails.flatMap((email) => [make('a', { href: `mailto:${encodeURIComponent(email)}` }, email), '\n']),
    ],
  }
  // What the site's owner set, as it was last time and then as it is now.
  const show = (text) => {
    look = JSON.parse(text)
    title = settings.title || look.title || title
    chat?.repaint()
  }
  const hex = (color) => {
    if (!color || !CSS.supports('color', color)) return ''
    const pen = document.createElement('canvas').getContext('2d')
    pen.fillStyle = color
    return pen.fillStyle.startsWith('#') ? pen.fillStyle : ''
  }
  const load = async () => {
    const colour = hex(settings.color)
    const address = `${server}/widget/${encodeURIComponent(site)}.json${colour && `?colour=${encodeURIComponent(colour)}`}`
    const response = await fetch(address, { credentials: 'omit', signal: AbortSignal.timeout(LOOK_MS) })
    if (!response.ok) return
    const text = await response.text()
    if (!chat?.still) show(text)
    store.set('look', text)
  }
  const newCid = () => [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('')

  class MathiaChat extends HTMLElement {
    #socket = null
    #ready = false
    #backOff = BACK_OFF_MS
    #token = null
    #wiped = false
    #room = null
    #seq = 0
    #changes = 0
    #target = 0
    #outbox = []
    #sending = null
    #open = false
    #unread = 0
    #texts = new Map()
    #last = null
    #replyTo = null
    #timers = {}
    #identity = null
    #asked = null
    #first = 0
    #older = false
    #before = null
    #heard = []
    #files = []
    #waiting = null
    #answers = new Map() // What answers what, by number.

    connectedCallback() {
      if (this.shadowRoot) return
      this.full = this.hasAttribute('full')
      this.still = this.hasAttribute('preview')
      this.shared = this.getAttribute('room')
      this.thread = Number(this.getAttribute('thread')) // Of a shared room no more than the thread of this message is shown.
      this.store = storeOf(this.shared ? `${this.shared}:${this.thread ? `${this.thread}:` : ''}` : '')
      this.#build()
      this.#paint()
      for (const key of this.store.keys().filter((key) => key.startsWith('out:'))) {
        try { this.#outbox.push({ ...JSON.parse(this.store.get(key)), cid: key.slice(4) }) } catch { this.store.drop(key) }
      }
      this.#outbox = this.#outbox.filter((one) => CID.test(one.cid) && typeof one.text === 'string').sort((a, b) => a.at - b.at)
      for (const one of this.#outbox) this.#drawPending(one)
      this.box.value = this.store.get('draft') || ''
      this.#grow()
      this.#emptyOrNot()
      window.addEventListener('online', () => this.#again(0))
      window.addEventListener('storage', ({ key, newValue }) => { if (key === prefix + 'token') newValue ? this.#agree(newValue) : this.#ready && this.#leave(false) })
      document.addEventListener('visibilitychange', () => { if (!document.hidden) { this.#again(0); this.#seen(); this.#tally() } })
      const view = window.visualViewport
      view?.addEventListener('resize', () => {
        this.style.setProperty('--height', `${view.height}px`)
        this.style.setProperty('--top', `${view.offsetTop}px`)
      })
      new ResizeObserver(() => { this.#follow(); this.#seen() }).observe(this.log)
      if (this.full) { this.#open = true; this.#focus() }
      if (this.full || this.store.get('token') || this.#outbox.length) this.#connect()
    }

    // A thread that is closed sends what was written in it, and goes.
    disconnectedCallback() {
      if (this.take) this.#drop()
      if (!this.#outbox.length) this.#hang()
    }

    #build() {
      this.heading = make(this.full ? 'h1' : 'h2', {}, title)
      this.state = make('p', { class: 'state', role: 'status' })
      this.log = make('div', { class: 'log', role: 'log', 'aria-label': this.thread ? words.thread : words.log, tabindex: 0, onscroll: () => this.#scrolled() })
      this.pending = make('div', { 'aria-live': 'off' })
      this.draft = make('p', { 'aria-hidden': true })
      this.dots = make('div', { class: 'dots', hidden: true }, this.draft, make('i'), make('i'), make('i'), make('span', { class: 'sr' }, `${title} ${words.typing}`))
      this.log.append(this.pending, this.dots)
      this.#before = this.pending
      this.jump = make('button', { class: 'jump', hidden: true, 'aria-label': words.latest, onclick: () => this.#toEnd() }, icon('down'))
      this.quick = make('div', { class: 'quick', role: 'group', 'aria-label': words.choose, hidden: true })
      this.quote = make('div', { class: 'quote', hidden: true }, make('span'),
        make('button', { class: 'icon', 'aria-label': words.cancel, onclick: () => this.#reply(null) }, icon('close')))
      this.box = make('textarea', {
        rows: 1, maxlength: TEXT_MAX, 'aria-label': words.box, placeholder: words.box, enterkeyhint: 'send', autocomplete: 'off',
        oninput: () => this.#typed(),
        onpaste: (event) => { if (event.clipboardData.files.length) { event.preventDefault(); this.#attach(event.clipboardData.files) } },
        onkeydown: (event) => {
          if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return
          event.preventDefault()
          this.#submit()
        },
      })
      this.go = make('button', { class: 'go', 'aria-label': words.send, disabled: true }, icon('send'))
      this.mic = !this.still && navigator.mediaDevices?.getUserMedia && window.MediaRecorder
        ? make('button', { type: 'button', class: 'icon', 'aria-label': words.mic, onclick: () => this.#record() }, icon('mic')) : make('i', { hidden: true })
      this.pick = make('input', { type: 'file', multiple: true, hidden: true, onchange: () => { this.#attach(this.pick.files); this.pick.value = '' } })
      this.clip = make('button', { type: 'button', class: 'icon', 'aria-label': words.attach, onclick: () => this.pick.click() }, icon('clip'))
      this.tray = make('ul', { class: 'tray', 'aria-label': words.files, hidden: true })
      this.rec = make('div', { class: 'rec', hidden: true }, make('span'), make('button', { type: 'button', class: 'icon', 'aria-label': words.drop, onclick: () => this.#drop() }, icon('close')))
      const form = make('form', {
        onsubmit: (event) => { event.preventDefault(); this.#submit() },
        onkeydown: (event) => { if (event.key === 'Escape' && this.take) { event.stopPropagation(); this.#drop() } },
      }, this.pick, this.clip, this.box, this.rec, this.mic, this.go)
      const close = this.full ? null : make('button', { class: 'icon', 'aria-label': words.close, onclick: () => this.close() }, icon('close'))
      this.panel = make('section', {
        class: 'panel', hidden: !this.full, role: this.full ? null : 'dialog', 'aria-label': this.thread ? words.thread : title,
        onkeydown: (event) => { if (event.key === 'Escape' && !this.full) this.close() },
        ondragover: (event) => { if (!this.still && event.dataTransfer.types.includes('Files')) { event.preventDefault(); this.panel.classList.add('over') } },
        ondragleave: () => this.panel.classList.remove('over'),
        ondrop: (event) => { event.preventDefault(); this.panel.classList.remove('over'); this.#attach(event.dataTransfer.files) },
      }, make('div', { class: 'head' }, make('span', { class: 'mark' }, icon('mark')), make('div', {}, this.heading, this.state), close),
      this.log, make('div', { class: 'foot' }, this.jump), this.quick, this.quote, this.tray, form)
      this.badge = make('span', { class: 'badge', hidden: true, 'aria-hidden': 'true' })
      this.launcher = make('button', { class: 'launch', 'aria-label': words.open, 'aria-expanded': 'false', onclick: () => (this.#open ? this.close() : this.open()) }, icon('chat'), icon('close'), this.badge)
      const root = this.attachShadow({ mode: 'open' })
      root.adoptedStyleSheets = [sheet]
      this.lang = words === WORDS.sw ? 'sw' : 'en'
      root.append(this.panel, ...(this.full ? [] : [this.launcher]))
      if (!this.full) { this.setAttribute('role', 'region'); this.setAttribute('aria-label', title) }
      this.#status(this.still ? 'on' : 'wait')
    }

    #paint() {
      this.toggleAttribute('left', (settings.position || look.position) === 'left')
      for (const [name, colour] of Object.entries(look.colours || {})) this.style.setProperty(`--site-${name.replace('_', '-')}`, colour)
    }

    repaint() {
      this.#paint()
      this.heading.textContent = title
      for (const node of [this.thread ? null : this.panel, this.full ? null : this]) node?.setAttribute('aria-label', title)
      if (this.shown === 'empty') { this.shown = null; this.#emptyOrNot() }
    }

    // The admin's page shows what the owner has not saved yet.
    preview(text) { if (this.still) show(text) }

    identify({ user_id: id = null, hash = null, jwt = null, name = null, email = null } = {}) {
      this.#identity = { user_id: id === null ? null : String(id), hash, jwt, name, email }
      if (this.#socket) this.#renew()
      else this.#connect()
    }

    logout() {
      this.#say({ type: 'logout' })
      this.#leave()
    }

    // A fresh visitor from here on; another tab that left has tidied up already.
    #leave(tidy = true) {
      for (const key of tidy ? this.store.keys() : []) if (key !== 'look') this.store.drop(key)
      memory.clear()
      if (this.take) this.#drop()
      for (const one of this.#files) one.request?.abort?.()
      this.#files = []
      this.tray.replaceChildren()
      this.#hang()
      this.#identity = this.#room = null
      this.#outbox = []
      this.pending.replaceChildren()
      this.#forget()
      this.#reply(null)
      this.#choices([])
      this.box.value = ''
      this.#grow()
      this.#count(0)
      this.#emptyOrNot()
      if (this.#open) this.#connect()
    }

    // Says hello anew, once nothing is on its way: what was sent to one conversation is not sent to another.
    #renew() {
      if (!this.#identity || this.#outbox.some((one) => one.tried)) return
      this.#hang()
      this.#connect()
    }

    open() {
      if (this.#open) return
      this.#open = true
      this.panel.hidden = false
      this.launcher.setAttribute('aria-expanded', 'true')
      this.#count(0)
      this.#connect()
      this.#grow()
      this.#toEnd()
      this.#focus()
      this.#seen()
      this.#tell('open')
    }

    close() {
      if (!this.#open || this.full) return
      this.#open = false
      this.panel.hidden = true
      this.launcher.setAttribute('aria-expanded', 'false')
      this.#count(0)
      this.launcher.focus()
      this.#tell('close')
    }

    send(text) { this.#send(text) }

    #send(text, files = []) {
      text = new TextDecoder().decode(new TextEncoder().encode(text ?? '')).trim() // Half characters cannot be stored.
      if (this.still) return
      if (text || files.length) this.#queue(files.length ? { text, files: files.map((one) => one.id), names: files.map((one) => one.file.name) } : { text })
    }

    #queue(said) {
      const one = { cid: newCid(), reply_to: this.#replyTo ?? (this.top || this.thread || null), at: Date.now(), ...said }
      this.store.set(`out:${one.cid}`, JSON.stringify(one))
      this.#outbox.push(one)
      this.#drawPending(one)
      this.#reply(null)
      this.#choices([])
      this.#emptyOrNot()
      this.#toEnd()
      this.#connect()
      this.#pump()
    }

    on(event, listener) {
      if (!EVENTS.includes(event)) throw new TypeError(`mathia('on', ${JSON.stringify(event)}): want one of ${EVENTS.join(', ')}.`)
      const heard = ({ detail }) => listener(detail)
      this.#heard.push({ event, listener, heard })
      this.addEventListener(`mathia:${event}`, heard)
      if (event === 'ready') listener()
    }

    off(event, listener) {
      for (const one of this.#heard.filter((one) => one.event === event && (!listener || one.listener === listener))) {
        this.removeEventListener(`mathia:${event}`, one.heard)
        this.#heard.splice(this.#heard.indexOf(one), 1)
      }
    }

    #tell(event, detail) {
      this.dispatchEvent(new CustomEvent(`mathia:${event}`, { detail, bubbles: true, composed: true }))
    }

    // A phone's keyboard waits.
    #focus() { if (!this.still) (matchMedia('(hover: none)').matches ? this.log : this.box).focus() }

    #submit() {
      if (this.take) return this.#finish()
      const [text, files] = [this.box.value, this.#files]
      if (this.go.disabled) return
      if (this.editing) {
        if (!this.#ready) return
        this.#say({ type: 'edit', cid: newCid(), seq: this.editing, text })
        this.box.value = ''
        this.#reply(null)
        return this.#grow()
      }
      this.box.value = ''
      this.store.drop('draft')
      this.#files = []
      this.tray.replaceChildren()
      this.#grow()
      this.#send(text, files)
      this.box.focus()
    }

    #typed() {
      this.store.set('draft', this.box.value)
      this.#grow()
      const now = Date.now()
      if (this.#ready && now - (this.typedAt || 0) > TYPING_EVERY_MS) { this.typedAt = now; this.#say({ type: 'typing' }) }
    }

    // A file is on its way as soon as it is chosen; it is sent with what is written then.
    #attach(chosen) {
      if (this.still) return
      for (const file of [...chosen].slice(0, FILES_MAX - this.#files.length)) {
        const one = { file, said: make('small', { role: 'status' }, weight(file.size)), bar: make('progress', { max: 1, value: 0, 'aria-label': file.name }) }
        const picture = file.type.startsWith('image/') && make('img', { src: URL.createObjectURL(file), alt: '', onload: () => URL.revokeObjectURL(picture.src), onerror: () => picture.remove() })
        one.node = make('li', {}, picture || null, make('span', {}, file.name, one.said), one.bar,
          make('button', { type: 'button', class: 'icon', 'aria-label': `${words.remove} ${file.name}`, onclick: () => this.#detach(one) }, icon('close')))
        this.#files.push(one)
        this.tray.append(one.node)
        if (file.size > FILE_BYTES_MAX) this.#lose(one, words.large)
      }
      this.#connect()
      this.#upload()
      this.#grow()
      this.#follow()
    }

    #detach(one) {
      one.request?.abort?.()
      one.node.remove()
      this.#files = this.#files.filter((other) => other !== one)
      this.#grow()
      this.box.focus()
    }

    #lose(one, why) {
      one.request ||= {}
      one.said.textContent = why
      one.node.className = 'bad'
      one.bar.remove()
    }

    #uploads() { return `${server}/upload-file/${this.shared ? `?room=${this.shared}` : ''}` }

    // Nobody may upload before the chat has its token.
    #upload() {
      for (const one of this.#ready ? this.#files.filter((file) => !file.request) : []) {
        const request = one.request = new XMLHttpRequest()
        request.open('POST', this.#uploads())
        request.setRequestHeader('authorization', `Bearer ${this.store.get('token')}`)
        request.setRequestHeader('content-type', one.file.type || 'application/octet-stream')
        request.setRequestHeader('x-file-name', encodeURIComponent(one.file.name.slice(0, 200)))
        request.upload.onprogress = ({ loaded, total }) => { one.bar.value = loaded / total }
        request.onloadend = () => {
          let told = {}
          try { told = JSON.parse(request.responseText) } catch { /* Nobody answered. */ }
          one.id = told.id
          if (told.id) one.bar.remove()
          else this.#lose(one, words.codes?.[told.error?.code] || (told.error?.code === 'too_large' && words.large) || told.error?.message || words.lost)
          this.#grow()
        }
        request.send(one.file)
      }
    }

    // A voice note takes the place of the box until it is sent or thrown away.
    async #record() {
      const take = this.take = {}
      this.#bar(words.allow)
      this.go.disabled = true
      const stream = await navigator.mediaDevices.getUserMedia({ audio: true }).catch(() => null)
      const stop = () => stream?.getTracks().forEach((track) => track.stop())
      if (this.take !== take) return stop()
      if (!stream) return this.#bar(words.blocked)
      take.kind = VOICE_KINDS.find((kind) => MediaRecorder.isTypeSupported(kind))
      const chunks = []
      const recorder = take.recorder = new MediaRecorder(stream, { mimeType: take.kind, audioBitsPerSecond: 32000 })
      const began = Date.now()
      const tick = () => {
        const s = Math.floor((Date.now() - began) / 1000)
        this.#bar(`${Math.floor(s / 60)}:${String(s % 60).padStart(2, '0')}`, true)
        if (s >= VOICE_S_MAX) recorder.stop()
      }
      const timer = setInterval(tick, 500)
      recorder.ondataavailable = ({ data }) => chunks.push(data)
      take.done = new Promise((done) => { recorder.onstop = () => { clearInterval(timer); stop(); done(new Blob(chunks)) } })
      recorder.start()
      tick()
      this.go.disabled = false
      this.go.focus()
    }

    #bar(text, on) {
      this.rec.hidden = text == null
      this.box.hidden = this.mic.hidden = this.clip.hidden = text != null
      this.rec.classList.toggle('on', Boolean(on))
      this.rec.firstChild.setAttribute('aria-live', on ? 'off' : 'polite')
      this.rec.firstChild.textContent = text
    }

    #drop() {
      const { recorder } = this.take
      this.take = null
      if (recorder && recorder.state !== 'inactive') recorder.stop()
      this.#bar(null)
      this.#grow()
      this.box.focus()
    }

    async #finish() {
      const take = this.take
      this.go.disabled = true
      if (take.recorder.state !== 'inactive') take.recorder.stop()
      const body = await take.done
      if (this.take !== take) return
      this.#bar(words.sending)
      const headers = { authorization: `Bearer ${this.store.get('token')}`, 'content-type': take.kind.split(';')[0], 'x-file-name': 'voice' }
      let id, why = ''
      try {
        const answer = await fetch(this.#uploads(), { method: 'POST', headers, body })
        const told = await answer.json()
        if (answer.ok) id = told.id
        else why = told.error.message
      } catch { /* The network is away; what was said is kept here. */ }
      if (this.take !== take) return
      if (!id) {
        this.go.disabled = false
        return this.#bar(`${words.failed} ${why}`)
      }
      this.#drop()
      this.#queue({ text: '', files: [id], voice: true })
    }

    #grow() {
      this.go.disabled = !(this.box.value.trim() || this.#files.length) || this.#files.some((one) => !one.id)
      this.tray.hidden = !this.#files.length
      this.box.style.height = ''
      const height = this.box.scrollHeight + 2
      this.box.style.height = `${Math.max(44, Math.min(height, 24 * LINES_MAX + 20))}px`
      this.box.style.overflowY = height > 24 * LINES_MAX + 20 ? 'auto' : 'hidden'
    }

    // One's own words, to be said differently; sending says them anew in their old place.
    #edit(seq) {
      this.#reply(null)
      this.editing = seq
      this.quote.hidden = false
      this.quote.firstChild.textContent = `${words.edit}: ${this.#texts.get(seq)}`
      this.box.value = this.#texts.get(seq)
      this.#grow()
      this.box.focus()
    }

    #erase(seq) {
      if (confirm(words.sure)) this.#say({ type: 'delete', cid: newCid(), seq })
    }

    #reply(seq) {
      this.editing = null
      this.#replyTo = seq
      this.quote.hidden = seq == null
      this.quote.firstChild.textContent = this.#texts.get(seq) || ''
      if (seq != null) this.box.focus()
    }

    #connect() {
      if (this.#socket || this.still || !(this.isConnected || this.#outbox.length)) return
      clearTimeout(this.#timers.again)
      this.#status('wait')
      const socket = this.#socket = new WebSocket(server.replace(/^http/, 'ws') + '/ws')
      socket.onopen = () => this.#hello()
      socket.onclose = ({ code }) => (code === REMOVED ? this.#out() : this.#lost())
      socket.onmessage = (event) => {
        const frame = JSON.parse(event.data)
        if (['msg', 'edit', 'delete', 'reactions'].includes(frame.type)) this.#waiting ? this.#waiting.push(frame) : this.#hear(frame)
        else if (frame.type === 'welcome') this.#welcome(frame)
        else if (frame.type === 'older') this.#receiveOlder(frame)
        else if (frame.type === 'typing' && frame.name) this.#writes(frame.name)
        else if (frame.type === 'typing') this.#dots(true)
        else if (frame.type === 'draft') this.#dots(true, frame.text)
        else if (frame.type === 'room') this.#tell('room', frame.room)
        else if (frame.type === 'presence') this.#tell('presence', frame.here)
        else if (frame.type === 'error') this.#refused(frame)
      }
    }

    #hear(frame) {
      if (frame.type === 'msg') this.#receive(frame)
      else if (frame.type === 'reactions') { this.#changes = frame.change; this.#chips(frame.seq, frame.reactions) }
      else this.#change(frame)
    }

    #hello() {
      this.#token = this.store.get('token')
      this.#asked = this.#outbox.some((one) => one.tried) ? null : this.#identity
      const asked = this.#asked && { identity: this.#asked }
      this.#say({ type: 'hello', token: this.#token, since: asked ? 0 : this.#seq, last: this.thread ? 1 : PAGE, changes: this.#changes, site, zone: Intl.DateTimeFormat().resolvedOptions().timeZone, language: locale, room: this.shared, ...asked })
    }

    // The room is not there for us, or not any more.
    #out() {
      this.#hang()
      this.#status('off', words.gone)
      this.#tell('gone')
    }

    #writes(name) {
      clearTimeout(this.#timers.writes)
      this.#status('on', `${name} ${words.typing}`)
      this.#timers.writes = setTimeout(() => this.#ready && this.#status('on'), TYPING_EVERY_MS)
    }

    // Two tabs may have become two visitors: the smaller token wins, but for one that somebody signed in with.
    #agree(other) {
      if (!this.#ready || other === this.#token) return
      if (other < this.#token || this.store.get('signed')) this.#lost()
      else this.store.set('token', this.#token)
    }

    #say(frame) { if (this.#socket?.readyState === 1) this.#socket.send(JSON.stringify(frame)) }

    // Browsers notice a dead connection late.
    #lost() {
      if (!this.#socket) return
      this.#hang()
      this.#again(this.#backOff * (0.7 + Math.random() * 0.6))
      this.#backOff = Math.min(this.#backOff * 2, BACK_OFF_MAX_MS)
    }

    #hang() {
      const socket = this.#socket
      clearTimeout(this.#timers.again)
      if (!socket) return
      socket.onopen = socket.onclose = socket.onmessage = null
      socket.close()
      this.#socket = null
      this.#ready = false
      this.#sending = this.#waiting = null
      for (const name of ['echo', 'hello', 'well']) clearTimeout(this.#timers[name])
      this.#dots(false)
      this.#older = false
      this.#status('off')
    }

    #again(after) {
      if (this.#socket || !this.#timers.again && after === 0) return
      clearTimeout(this.#timers.again)
      this.#timers.again = setTimeout(() => { this.#timers.again = 0; this.#connect() }, after)
    }

    #welcome(frame) {
      const [token, room, read] = [this.store.get('token'), this.#room || this.store.get('room'), this.store.get('read')]
      if (token !== this.#token && token !== frame.token) return this.#lost() // Another tab was faster.
      const moved = room && room !== frame.conversation
      if (this.#asked || moved || frame.seq < this.#seq) this.#forget()
      // To a device that is new here, nothing from before is news.
      if (this.#asked || moved) this.store.set('read', moved || !room ? frame.seq : read || 0)
      if (this.#asked) this.store.set('signed', 1)
      if (this.#asked === this.#identity) this.#identity = null
      this.#asked = null
      this.store.set('token', this.#token = frame.token)
      this.store.set('room', this.#room = frame.conversation)
      if (!this.#seq) { this.#changes = frame.changes; this.#first = this.thread ? 0 : (frame.after || 0) + 1 }
      this.#target = frame.seq
      this.#ready = true
      this.#timers.well = setTimeout(() => (this.#backOff = BACK_OFF_MS), ECHO_MS)
      this.#status('on', this.#wiped ? words.wiped : undefined)
      this.#wiped = false
      if (frame.room) this.#tell('room', frame.room)
      if (this.shared && !this.store.get('threads')) this.store.set('threads', JSON.stringify({ base: frame.room?.read_seq, read: {} }))
      if (this.thread && !this.top) this.#load()
      this.#loaded()
      this.#pump()
      this.#upload()
    }

    // What a thread holds already; what is said meanwhile waits.
    async #load() {
      const socket = this.#socket
      this.#waiting = []
      try {
        const answer = await fetch(`${server}/api/chatrooms/${this.shared}/messages/${this.thread}/thread/`, { headers: { authorization: `Bearer ${this.#token}` } })
        if (!answer.ok) throw answer
        const { root, messages, complete } = await answer.json()
        if (this.#socket !== socket) return
        for (const one of messages) this.#draw({ ...one, parts: one.parts.filter(({ kind }) => kind !== 'choices'), author: one.author ?? undefined }, root)
        if (!complete) this.#before.before(make('div', { class: 'day' }, words.long))
        this.top = root
        this.#tell('top', root)
      } catch (wrong) {
        if (this.#socket === socket) wrong.status === 404 ? this.#out() : this.#lost()
        return
      }
      const waiting = this.#waiting
      this.#waiting = null
      waiting.forEach((frame) => this.#hear(frame))
      this.#loaded()
    }

    #refused(frame) {
      if (['identity', 'site', 'origin'].includes(frame.code)) this.#tell('error', { code: frame.code, message: frame.message })
      if (frame.code === 'room') this.#out()
      else if (frame.code === 'identity') {
        this.#identity = null
        if (this.store.get('token') || this.#open || this.#outbox.length) this.#hello()
        else this.#hang()
      } else if (frame.code === 'erased') {
        this.#wiped = true
        this.#leave()
      } else if (frame.code === 'token') {
        if (this.store.get('token') === this.#token) this.store.drop('token')
        this.#forget()
        this.#hello()
      } else if (!this.#ready) {
        if (frame.retry_s == null) this.#status('off', frame.message)
        else { this.#status('wait', frame.message); this.#timers.hello = setTimeout(() => this.#hello(), frame.retry_s * 1000) }
      } else if (this.#sending && (frame.cid ?? this.#sending) === this.#sending) {
        clearTimeout(this.#timers.echo)
        if (frame.retry_s == null) this.#fail(this.#sending, frame.message)
        this.#sending = null
        this.#timers.pump = setTimeout(() => this.#pump(), (frame.retry_s || 0) * 1000)
      } else if (frame.cid) this.#status('on', frame.message) // An edit or deletion that came to nothing.
    }

    // One at a time, in the order typed.
    #pump() {
      const next = this.#outbox.find((one) => !one.failed)
      if (!this.#ready || this.#sending || !next) return
      this.#sending = next.cid
      next.tried = true
      this.store.set(`out:${next.cid}`, JSON.stringify(next))
      this.#say({ type: 'send', cid: next.cid, text: next.text, reply_to: next.reply_to ?? null, files: next.files ?? [], voice: Boolean(next.voice) })
      this.#timers.echo = setTimeout(() => this.#lost(), ECHO_MS)
    }

    #settle(cid) {
      this.store.drop(`out:${cid}`)
      this.#outbox = this.#outbox.filter((one) => one.cid !== cid)
      this.pending.querySelector(`[data-cid="${cid}"]`)?.remove()
      if (this.#sending !== cid) return
      clearTimeout(this.#timers.echo)
      this.#sending = null
      this.#renew()
      this.#pump()
      if (!this.isConnected && !this.#outbox.length) this.#hang()
    }

    #fail(cid, reason) {
      const one = this.#outbox.find((other) => other.cid === cid)
      one.failed = reason
      one.tried = false
      this.#tell('error', { code: 'send', message: reason })
      this.#drawPending(one)
    }

    #receive(frame) {
      const fresh = frame.seq > this.#seq
      const here = !this.thread || this.#texts.has(frame.reply_to)
      if (fresh) {
        this.#seq = frame.seq
        if (here && !this.#texts.has(frame.seq)) this.#draw(frame)
      }
      if (frame.cid && CID.test(frame.cid)) this.#settle(frame.cid)
      if (!fresh) return
      const bot = frame.from === 'bot'
      if (frame.from !== 'me') this.#dots(false)
      if (frame.member) this.#status('on') // Who was writing has written.
      if (here) this.#choices(frame.choices || [])
      this.#loaded()
      this.#tell('message', frame)
      if (!bot && !this.shared) return
      if (this.#open && !document.hidden) this.#seen()
      else if (!this.#open && frame.seq > Number(this.store.get('read'))) this.#count(this.#unread + 1)
    }

    #seen() {
      if (!this.#open || !this.#seq || this.thread || !this.log.clientHeight || Number(this.store.get('read')) >= this.#seq) return
      this.store.set('read', this.#seq)
      this.#say({ type: 'ack', seq: this.#seq })
    }

    #status(state, text = words[state]) {
      this.state.textContent = text
      this.state.classList.toggle('on', state === 'on')
    }

    #count(unread) {
      this.#unread = unread
      this.#tell('unread', unread)
      this.badge.hidden = !unread
      this.badge.textContent = unread > 99 ? '99+' : unread
      const label = this.#open ? words.close : words.open + (unread ? `, ${unread} ${words.unread}` : '')
      for (const name of ['aria-label', 'title']) this.launcher.setAttribute(name, label)
    }

    #loaded() {
      this.log.setAttribute('aria-busy', this.#seq < this.#target)
      this.#emptyOrNot()
    }

    #emptyOrNot() {
      const something = this.#last || this.#outbox.length
      const loading = !something && (this.thread || this.#seq < this.#target || (!this.#ready && this.store.get('token')))
      const kind = something ? '' : loading ? 'bones' : 'empty'
      if (kind === this.shown) return
      this.shown = kind
      this.blank?.forEach((node) => node.remove())
      this.blank = []
      if (kind === 'bones') this.blank = [0, 1, 2].map(() => make('div', { class: 'bone' }))
      if (kind === 'empty') {
        this.blank = [make('div', { class: 'empty' }, make('span', { class: 'mark' }, icon('mark')), make('b', {}, this.shared ? words.quiet : look.greeting?.[words === WORDS.sw ? 'sw' : 'en'] || words.hello(title)), this.shared ? words.call : words.first)]
        if (!this.shared) this.#choices(PROMPTS)
      }
      this.log.prepend(...this.blank)
    }

    #forget() {
      this.#seq = this.#target = this.#changes = this.#first = 0
      this.#older = false
      this.#last = null
      this.#texts.clear()
      this.#answers.clear()
      this.top = 0
      this.log.replaceChildren(this.pending, this.dots)
      this.shown = null
      this.store.drop('read')
      this.store.drop('room')
    }

    #choices(options) {
      this.quick.replaceChildren(...options.map((option) => make('button', { onclick: () => { this.send(option); this.#focus() } }, option)))
      this.quick.hidden = !options.length
    }

    // What there is of an answer stands with the dots; whoever listens hears the message itself.
    #dots(shown, text = shown ? this.draft.textContent : '') {
      clearTimeout(this.#timers.dots)
      this.dots.hidden = !shown
      this.draft.textContent = text
      if (shown) { this.#timers.dots = setTimeout(() => this.#dots(false), TYPING_MS); this.#follow() }
    }

    // What a message says now; its quote stays.
    #change({ seq, type, parts = [], change, edited = true }) {
      this.#changes = change
      const old = this.log.querySelector(`[data-seq="${seq}"] .bubble`)
      if (!old) return
      const bubble = this.#bubble(parts, null, edited && type)
      const quote = old.querySelector('q')
      if (quote && type === 'edit') bubble.prepend(quote)
      this.#texts.set(seq, type === 'edit' ? parts.map(plain).join(' ').slice(0, 280) : words.deleted)
      old.replaceWith(bubble)
      if (type === 'delete') {
        this.#chips(seq, [])
        for (const node of this.log.querySelectorAll(`[data-seq="${seq}"] .own :not([data-tool=thread])[data-tool]`)) node.remove()
        if (this.#answers.has(seq)) this.#answers.get(seq).deleted = true
      }
      this.#tally()
      this.#follow()
    }

    #react(seq, emoji, on) { if (this.#ready) this.#say({ type: 'react', cid: newCid(), seq, emoji, on }) }

    // What stands under a message; pressed again, one's own is taken back.
    #chips(seq, reactions) {
      const bar = this.log.querySelector(`[data-under="${seq}"]`)
      if (!bar) return
      const focus = bar.contains(this.shadowRoot.activeElement) && this.shadowRoot.activeElement.dataset.emoji
      bar.replaceChildren(...reactions.map(({ emoji, count, mine, names }) => make('button', {
        'data-emoji': emoji, 'aria-pressed': String(mine), 'aria-label': [`${emoji} ${count}`, ...names].join(', '), title: names.join(', '), onclick: () => this.#react(seq, emoji, !mine),
      }, `${emoji} ${count}`)))
      bar.hidden = !reactions.length
      if (focus) (bar.querySelector(`[data-emoji="${focus}"]`) || bar.previousSibling.querySelector('.icon')).focus()
      this.#follow()
    }

    // The tools of a message make room for the emoji until one is chosen.
    #pick(seq, own) {
      const tools = [...own.childNodes]
      const back = (focus) => {
        if (!own.contains(tools[0])) own.replaceChildren(...tools)
        own.onkeydown = own.onmousedown = own.onfocusout = null
        if (focus) tools[0].focus()
      }
      own.replaceChildren(...REACTIONS.map((emoji) => make('button', { class: 'icon', 'aria-label': `${words.react} ${emoji}`, onclick: () => { back(true); this.#react(seq, emoji, true) } }, emoji)))
      own.firstChild.focus()
      own.onkeydown = (event) => { if (event.key === 'Escape') { event.stopPropagation(); back(true) } }
      own.onmousedown = (event) => event.preventDefault() // Not every browser gives a button that is pressed the focus.
      own.onfocusout = ({ relatedTarget }) => { if (!own.contains(relatedTarget)) back() }
    }

    // The thread that the page shows beside us, whose answers are read as they come; null for none.
    watch(top) {
      this.log.ariaLive = top ? 'off' : null // It is told there.
      if (!top && this.watched) (this.log.querySelector(`[data-thread="${this.watched}"]:not([hidden])`) || this.log.querySelector(`[data-seq="${this.watched}"] .icon`) || this.box).focus()
      this.watched = top
      this.#tally()
    }

    // A thread is what answers a message, and what answers that: all of it came later, so all of it is here.
    #tops() {
      const tops = new Map()
      for (const [seq, { to }] of [...this.#answers].sort(([a], [b]) => a - b)) if (this.#texts.has(to)) tops.set(seq, tops.get(to) ?? to)
      return tops
    }

    #tally() {
      if (!this.shared || this.thread || this.tallying) return
      this.tallying = requestAnimationFrame(() => {
        this.tallying = 0
        const known = JSON.parse(this.store.get('threads') || '{"base":0,"read":{}}')
        const threads = new Map()
        for (const [seq, top] of this.#tops()) {
          const { own, deleted } = this.#answers.get(seq)
          const one = threads.get(top) || { seqs: [], read: known.read[top] || 0 }
          threads.set(top, one)
          if (!deleted) one.seqs.push(seq)
          if (own || (top === this.watched && !document.hidden)) one.read = Math.max(one.read, seq)
        }
        for (const node of this.log.querySelectorAll('.thread')) node.hidden = !threads.has(Number(node.dataset.thread))
        for (const [top, { seqs, read }] of threads) {
          if (read) known.read[top] = read
          const fresh = seqs.filter((seq) => seq > Math.max(known.base || 0, read)).length
          let node = this.log.querySelector(`[data-thread="${top}"]`)
          if (!node) this.log.querySelector(`[data-under="${top}"]`).after(node = make('button', { class: 'thread', 'data-thread': top, onclick: () => this.#tell('thread', top) }))
          node.hidden = !seqs.length
          node.textContent = words.replies(seqs.length) + (fresh ? ` · ${fresh} ${words.fresh}` : '')
          node.classList.toggle('fresh', fresh > 0)
        }
        known.read = Object.fromEntries(Object.entries(known.read).slice(-THREADS_MAX)) // By number: the newest.
        this.store.set('threads', JSON.stringify(known))
        this.#follow()
      })
    }

    #bubble(parts, replyTo, state, top = this.top) {
      const bubble = make('div', { class: 'bubble', onclick: () => bubble.parentNode.classList.toggle('tap') })
      if (this.#texts.has(replyTo) && replyTo !== top) bubble.append(make('q', {}, this.#texts.get(replyTo)))
      parts.forEach((part, at) => {
        if (at) bubble.append('\n')
        if (DRAWN[part.kind]) bubble.append(...DRAWN[part.kind](part))
        else if (part.kind === 'location') bubble.append(`${part.label ? part.label + '\n' : ''}${part.latitude}, ${part.longitude}`)
        else bubble.append(...linked(plain(part)))
      })
      if (state) bubble.append(make('i', { class: 'was' }, state === 'edit' ? `\n${words.edited}` : words.deleted))
      return bubble
    }

    #draw({ seq, from, parts, reply_to: replyTo, at, edited, deleted, author = title, reactions = [] }, top) {
      if (from === 'me') author = words.you
      const date = new Date(at)
      const last = this.#last
      const sameDay = last?.date.toDateString() === date.toDateString()
      let group = last?.group
      if (!sameDay) this.#before.before(make('div', { class: 'day' }, dayName(date)))
      if (!sameDay || last.author !== author || date - last.date > GROUP_MS) {
        group = make('div', { class: `group ${from}` }, make('span', { class: author === words.you || (author === title && !this.shared) ? 'sr' : 'meta' }, author), make('div', { class: 'meta' }))
        this.#before.before(group)
      }
      this.#texts.set(seq, deleted ? words.deleted : parts.map(plain).join(' ').slice(0, 280))
      const reply = make('button', { class: 'icon', 'aria-label': words.reply, onclick: () => this.#reply(seq) }, icon('reply'))
      const meta = group.lastChild
      let start = null
      const swipe = {
        ontouchstart: ({ touches: [touch] }) => { start = touch },
        ontouchend: ({ changedTouches: [touch] }) => {
          if (touch.clientX - start.clientX > SWIPE_PX && Math.abs(touch.clientY - start.clientY) < SWIPE_PX / 2) this.#reply(seq)
        },
      }
      const tool = (name, label, run) => make('button', { class: 'icon', 'data-tool': name, 'aria-label': label, title: label, onclick: run }, icon(name))
      const tools = [
        ...(deleted ? [] : [tool('face', words.react, () => this.#pick(seq, own))]),
        ...(this.shared && !this.thread ? [tool('thread', words.within, () => this.#tell('thread', this.#tops().get(seq) ?? seq))] : []),
        ...(from === 'me' && !deleted ? [tool('pen', words.edit, () => this.#edit(seq)), tool('bin', words.erase, () => this.#erase(seq))] : []),
      ]
      const own = make('div', { class: 'own' }, ...tools)
      meta.before(make('div', { class: 'row', 'data-seq': seq, ...swipe }, this.#bubble(parts, replyTo, deleted ? 'delete' : edited && 'edit', top), reply, own), make('div', { class: 'chips', role: 'group', 'aria-label': words.reactions, 'data-under': seq, hidden: true }))
      if (reactions.length) this.#chips(seq, reactions)
      if (replyTo && replyTo < seq) this.#answers.set(seq, { to: replyTo, own: from === 'me', deleted })
      this.#tally()
      meta.replaceChildren(make('time', { datetime: at }, clock(date)), ...(from === 'me' ? [icon('tick'), make('span', { class: 'sr' }, words.sent)] : []))
      this.#last = { author, date, group }
      this.#follow()
    }

    #drawPending(one) {
      const meta = one.failed
        ? make('div', { class: 'meta', role: 'alert' }, make('span', { class: 'bad' }, `${words.failed} ${one.failed}`),
          make('button', { onclick: () => { one.failed = null; this.#drawPending(one); this.#connect(); this.#pump() } }, words.retry),
          make('button', { onclick: () => { this.#settle(one.cid); this.box.value = one.text; this.#typed(); this.box.focus() } }, words.edit))
        : make('div', { class: 'meta' }, words.sending)
      const group = make('div', { class: 'group me', 'data-cid': one.cid }, make('div', { class: 'row' }, this.#bubble([{ kind: 'text', text: one.voice ? words.voice : [one.text, ...(one.names || [])].filter(Boolean).join('\n') }], one.reply_to)), meta)
      const old = this.pending.querySelector(`[data-cid="${one.cid}"]`)
      if (old) old.replaceWith(group)
      else this.pending.append(group)
    }

    // The newest stays in sight unless one scrolled up.
    #follow() {
      if (!this.jump.hidden || this.following) return
      this.following = requestAnimationFrame(() => { this.following = 0; this.log.scrollTop = this.log.scrollHeight })
    }

    #toEnd() {
      this.jump.hidden = true
      this.#follow()
    }

    #scrolled() {
      if (this.following) return
      this.jump.hidden = this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < STICK_PX
      if (this.log.scrollTop > STICK_PX || this.#first < 2 || this.#older || !this.#ready) return
      this.#older = true
      this.#say({ type: 'older', before: this.#first })
    }

    // What was said before goes above, and what is read stays where it is.
    #receiveOlder({ messages, more }) {
      this.#older = false
      const [last, top, height, quiet] = [this.#last, this.log.firstChild, this.log.scrollHeight, this.log.scrollTop]
      this.log.ariaLive = 'off'
      this.#last = null
      this.#before = top
      this.jump.hidden = false
      for (const frame of messages) this.#draw(frame)
      if (top.className === 'day' && top.textContent === dayName(this.#last?.date || new Date(0))) top.remove()
      this.#last = last
      this.#before = this.pending
      this.#first = more && messages.length ? messages[0].seq : 0
      this.log.scrollTop = quiet + this.log.scrollHeight - height
      requestAnimationFrame(() => { this.log.ariaLive = null })
    }
  }

  const start = () => {
    customElements.define('mathia-chat', MathiaChat)
    const found = document.querySelector('mathia-chat') || document.createElement('mathia-chat')
    if (!found.isConnected) document.body.append(found)
    chat = found
    for (const call of calls) run(call)
  }
  const ready = () => (document.readyState !== 'loading' ? start() : document.addEventListener('DOMContentLoaded', start))
  const loading = load().catch(() => {}) // It looks as it did, or as it comes.
  const known = store.get('look')
  if (known) {
    try { show(known) } catch { store.drop('look') }
    ready()
  } else loading.then(ready)
})()
