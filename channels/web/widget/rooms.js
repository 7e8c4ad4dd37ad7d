// Shared rooms: a list, a room drawn by the chat component, and dialogs for the rest. Who one is, is the chat's token.
// /rooms?site=<key> shows the rooms of a site. It links there with a proof of who is signed in, in the fragment, which no
// server and no log sees: #jwt=… or #user_id=…&hash=…&name=…
const SITE = /^[a-z0-9_]{1,40}$/.exec(new URLSearchParams(location.search).get('site') ?? '')?.[0] || 'default'
const STORE = `mathia:${location.origin}:${SITE}:`
const KEY = `${STORE}token`
const NAME = 'mathia:name'
const LOOK_AGAIN_MS = 15000
const HELLO_MS = 10000
const proof = Object.fromEntries(new URLSearchParams(location.hash.slice(1)))
let identity = proof.jwt || proof.hash ? { user_id: proof.user_id ?? null, hash: proof.hash ?? null, jwt: proof.jwt ?? null, name: proof.name ?? null } : null
if (identity) history.replaceState(null, '', location.pathname + location.search)
const at = (path) => path + (SITE === 'default' ? '' : `?site=${SITE}`)
const sw = navigator.language.startsWith('sw')
const WORDS = {
  rooms: ['Rooms', 'Vyumba'], make: ['New room', 'Chumba kipya'], alone: ['Chat with Mathia alone', 'Ongea na Mathia peke yako'],
  title: ['What is the room called?', 'Chumba kinaitwaje?'], name: ['What shall the others call you?', 'Wengine wakuiteje?'],
  cancel: ['Cancel', 'Ghairi'], close: ['Close', 'Funga'], create: ['Make it', 'Unda'], invite: ['Invite', 'Alika'], join: ['Join', 'Jiunge'],
  email: ['Their e-mail address (leave it empty to get a link instead)', 'Barua pepe yao (acha wazi upate kiungo)'],
  send: ['Invite', 'Alika'], mailed: ['The invitation is on its way.', 'Mwaliko umetumwa.'],
  pass: ['Pass this link on to one person. It works once, for 7 days.', 'Mpe mtu mmoja kiungo hiki. Kinafanya kazi mara moja, kwa siku 7.'],
  copy: ['Copy', 'Nakili'], copied: ['Copied', 'Imenakiliwa'], leave: ['Leave', 'Ondoka'],
  sure: ['Leave this room? What you wrote stays in it.', 'Uondoke chumba hiki? Ulichoandika kitabaki.'],
  search: ['Search', 'Tafuta'], words: ['Words to look for', 'Maneno ya kutafuta'], none: ['Nothing was found.', 'Hakuna kilichopatikana.'],
  newest: ['Only the newest 5,000 messages were looked at.', 'Ujumbe 5,000 wa karibuni tu ndio uliotafutwa.'],
  save: ['Save', 'Hifadhi'], invited: ['You are invited to a room.', 'Umealikwa kwenye chumba.'],
  empty: ['Rooms are conversations of several people, and of Mathia when somebody writes @mathia.', 'Vyumba ni mazungumzo ya watu kadhaa, na Mathia anapoandikiwa @mathia.'],
  gone: ['This room is not there for you any more.', 'Chumba hiki hakipo kwako tena.'], signin: ['Sign in on the site that has these rooms, and open them from there.', 'Ingia kwenye tovuti yenye vyumba hivi, kisha uvifungue kutoka huko.'],
  away: ['The server does not answer. Try again.', 'Seva haijibu. Jaribu tena.'],
  thread: ['Thread', 'Mjadala'], back: ['Back', 'Rudi'], here: ['here now', 'wapo sasa'], unread: ['unread', 'hazijasomwa'], bot: ['Mathia', 'Mathia'], remove: ['Remove', 'Ondoa'],
}
const t = Object.fromEntries(Object.entries(WORDS).map(([key, words]) => [key, words[Number(sw)]]))
const list = document.querySelector('aside ul')
const side = document.querySelector('.thread')
const main = document.querySelector('main')
const dialog = document.querySelector('dialog')
let room = null
let here = []
let chat = null
let hello = null

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

// A browser that is new here says hello once, and is somebody from then on; on a site, whom it has proved.
const token = () => {
  const known = localStorage.getItem(KEY)
  if (known && !identity) return Promise.resolve(known)
  if (!identity && SITE !== 'default') return Promise.reject(new Error(t.signin))
  return (hello ||= new Promise((resolve, reject) => {
    const socket = new WebSocket(`${location.origin.replace(/^http/, 'ws')}/ws`)
    const late = setTimeout(() => socket.close(), HELLO_MS)
    socket.onopen = () => socket.send(JSON.stringify({ type: 'hello', token: known, since: 0, last: 1, zone: Intl.DateTimeFormat().resolvedOptions().timeZone, language: navigator.language, site: SITE, ...(identity && { identity }) }))
    socket.onmessage = ({ data }) => {
      const frame = JSON.parse(data)
      if (frame.type === 'error') reject(new Error(frame.message))
      if (frame.type !== 'welcome') return socket.close()
      if (identity && known !== frame.token) {
        // What somebody else who was signed in here had begun to write is not sent by this one.
        if (localStorage.getItem(`${STORE}signed`)) for (const key of Object.keys(localStorage)) if (key.startsWith(STORE)) localStorage.removeItem(key)
        localStorage.setItem(KEY, frame.token)
        localStorage.setItem(`${STORE}signed`, 1)
      }
      if (!localStorage.getItem(KEY)) localStorage.setItem(KEY, frame.token)
      identity = null
      resolve(localStorage.getItem(KEY))
      socket.close()
    }
    socket.onclose = () => { clearTimeout(late); hello = null; reject(new Error(t.away)) }
  }))
}

const call = async (method, path, body) => {
  const headers = { authorization: `Bearer ${await token()}` }
  if (body) headers['content-type'] = 'application/json'
  const response = await fetch(`/api/${path}`, { method, headers, body: body && JSON.stringify(body) }).catch(() => { throw new Error(t.away) })
  if (!response.ok) {
    const told = await response.json().catch(() => ({}))
    const message = SITE !== 'default' && response.status === 401 ? t.signin : told.error?.message || t.away
    throw Object.assign(new Error(message), { status: response.status })
  }
  return response
}
const ask = async (...what) => (await call(...what)).json()

// A dialog with fields; `done` gets what was typed and closes it, or throws what is shown.
const open = (title, fields, label, done, ...more) => {
  const said = make('p', { class: 'bad', role: 'alert' })
  const inputs = fields.map(({ name, words, ...rest }) => [name, make('input', { name, autocomplete: 'off', ...rest }), words])
  const form = make('form', {
    onsubmit: async (event) => {
      event.preventDefault()
      const button = form.querySelector('.button')
      button.disabled = true
      said.textContent = ''
      try { await done(Object.fromEntries(inputs.map(([name, input]) => [name, input.value.trim()]))) } catch (error) { said.textContent = error.message }
      button.disabled = false
    },
  }, make('h2', { id: 'ask' }, title), ...more, ...inputs.map(([, input, words]) => make('label', {}, words, input)), said,
  make('div', { class: 'row' }, make('button', { type: 'button', class: 'plain', onclick: () => dialog.close() }, label ? t.cancel : t.close), label ? make('button', { class: 'button' }, label) : null))
  dialog.replaceChildren(form)
  if (!dialog.open) dialog.showModal()
}
const myName = () => ({ name: 'name', words: t.name, required: true, maxlength: 80, value: localStorage.getItem(NAME) || proof.name || '' })

const showList = async () => {
  const { rooms } = await ask('GET', 'chatrooms/')
  list.replaceChildren(...rooms.map((one) => make('li', {}, make('a', { href: at(`/rooms/${one.id}`), 'aria-current': one.id === room?.id ? 'page' : null },
    make('span', {}, one.title), one.unread && one.id !== room?.id ? make('span', { class: 'count', 'aria-label': `${one.unread} ${t.unread}` }, one.unread > 99 ? '99+' : one.unread) : null))))
  return rooms
}

const newRoom = () => open(t.make, [{ name: 'title', words: t.title, required: true, maxlength: 120 }, myName()], t.create, async ({ title, name }) => {
  localStorage.setItem(NAME, name)
  location.assign(at(`/rooms/${(await ask('POST', 'chatrooms/', { title, name })).id}`))
})

const invite = () => open(t.invite, [{ name: 'email', type: 'email', words: t.email, maxlength: 254 }], t.send, async ({ email }) => {
  const told = await ask('POST', `chatrooms/${room.id}/invite/`, { ...(email && { email }), language: sw ? 'sw' : 'en' })
  if (told.mailed) return open(t.invite, [], null, () => {}, make('p', {}, t.mailed))
  const copy = make('button', { type: 'button', class: 'plain', onclick: async () => { await navigator.clipboard?.writeText(told.link); copy.textContent = t.copied } }, t.copy)
  open(t.invite, [], null, () => {}, make('p', {}, t.pass), make('p', {}, make('code', {}, told.link)), copy)
})

const search = () => open(t.search, [{ name: 'q', words: t.words, required: true, maxlength: 200 }], t.search, async ({ q }) => {
  const { messages, complete } = await ask('GET', `chatrooms/${room.id}/search/?q=${encodeURIComponent(q)}`)
  const said = (one) => one.parts.map((part) => part.text ?? part.caption ?? part.filename ?? part.title ?? '').join(' ').slice(0, 280)
  const found = messages.map((one) => make('li', {}, make('b', {}, one.author || (one.from === 'bot' ? t.bot : '')), ` ${new Date(one.at).toLocaleString()}: ${said(one)}`))
  open(t.search, [], null, () => {}, found.length ? make('ol', {}, ...found) : make('p', {}, t.none), complete ? null : make('p', {}, t.newest))
})

const save = async () => {
  const blob = await (await call('GET', `chatrooms/${room.id}/export/?format=md`)).blob()
  const link = make('a', { href: URL.createObjectURL(blob), download: `${room.title}.md` })
  link.click()
  URL.revokeObjectURL(link.href)
}

const leave = () => open(t.leave, [], t.leave, async () => {
  await call('POST', `chatrooms/${room.id}/leave/`)
  location.assign(at('/rooms'))
}, make('p', {}, t.sure))

const showWho = (who) => {
  const names = room.members.map(({ member, name }) => make(here.includes(member) ? 'b' : 'span', { title: here.includes(member) ? t.here : null }, name))
  who.replaceChildren(...names.flatMap((node, at) => (at ? [', ', node] : [node])), here.length ? ` · ${here.length} ${t.here}` : '')
}

// The address tells which thread is open beside the room, so a link leads there and "back" closes it.
const threadAsked = () => Number(/^#thread-([1-9]\d{0,15})$/.exec(location.hash)?.[1]) || null
const openThread = (top) => {
  const hash = `#thread-${top}`
  if (threadAsked()) history.replaceState(history.state, '', hash)
  else history.pushState({ pushed: true }, '', hash)
  showThread()
}
const closeThread = () => {
  if (history.state?.pushed) return history.back()
  history.replaceState(null, '', location.pathname + location.search)
  showThread()
}
const showThread = () => {
  const top = room && threadAsked()
  if (top === Number(side.querySelector('mathia-chat')?.getAttribute('thread') || 0) || (!top && side.hidden)) return
  side.hidden = !top
  document.body.classList.toggle('beside', Boolean(top))
  side.replaceChildren()
  if (top) {
    const thread = make('mathia-chat', { full: true, room: room.id, thread: top })
    thread.addEventListener('mathia:gone', closeThread)
    thread.addEventListener('mathia:top', ({ detail }) => thread.isConnected && chat.watch(detail))
    side.append(make('div', { class: 'top' }, make('button', { class: 'plain back', onclick: closeThread }, `‹ ${t.back}`), make('h2', {}, t.thread),
      make('button', { class: 'plain', onclick: closeThread }, t.close)), make('div', { class: 'place' }, thread))
  }
  chat.watch?.(top)
}

const gone = () => {
  room = null
  showThread()
  main.replaceChildren(make('div', { class: 'center' }, make('p', {}, t.gone), make('a', { href: at('/rooms') }, t.rooms)))
}

const showRoom = async (id) => {
  document.body.classList.add('inside')
  try { room = await ask('GET', `chatrooms/${id}/`) } catch (error) { if (error.status === 404) return gone(); throw error }
  const title = make('h1', {}, room.title)
  const who = make('p', { class: 'who' })
  chat = make('mathia-chat', { full: true, room: id })
  const act = (words, run) => make('button', { class: 'plain', onclick: run }, words)
  main.replaceChildren(make('div', { class: 'top' }, make('a', { class: 'back', href: at('/rooms') }, `‹ ${t.rooms}`), title, act(t.invite, invite), act(t.search, search), act(t.save, save), act(t.leave, leave), who),
    make('div', { class: 'place' }, chat))
  showWho(who)
  chat.addEventListener('mathia:room', ({ detail }) => { room = { ...room, ...detail }; title.textContent = document.title = room.title; showWho(who) })
  chat.addEventListener('mathia:presence', ({ detail }) => { here = detail; showWho(who) })
  chat.addEventListener('mathia:gone', gone)
  chat.addEventListener('mathia:thread', ({ detail }) => openThread(detail))
  document.title = room.title
  document.head.append(make('script', { src: '/widget.js', onload: showThread }))
}

const joinRoom = async (secret) => {
  await token()
  // The secret leaves the address bar: it is good once, and nobody should find it in a history.
  history.replaceState(null, '', at('/rooms'))
  open(t.invited, [myName()], t.join, async ({ name }) => {
    localStorage.setItem(NAME, name)
    location.assign(at(`/rooms/${(await ask('POST', 'invitations/accept', { token: secret, name })).id}`))
  })
}

document.documentElement.lang = sw ? 'sw' : 'en'
document.querySelector('[data-do=new]').textContent = t.make
document.querySelector('.brand').href = at('/rooms')
const alone = document.querySelector('aside a[href="/chat"]')
alone.textContent = t.alone
alone.hidden = SITE !== 'default'
window.mathiaSettings = { site: SITE }
document.querySelector('[data-do=new]').addEventListener('click', newRoom)
side.setAttribute('aria-label', t.thread)
side.addEventListener('keydown', (event) => { if (event.key === 'Escape') closeThread() })
addEventListener('popstate', showThread)
addEventListener('hashchange', () => { if (/[#&](jwt|hash)=/.test(location.hash)) location.reload() })
const [, , first, second] = location.pathname.split('/')
const say = (words, alert) => main.replaceChildren(make('div', { class: 'center' }, make('h1', {}, t.rooms), make('p', alert ? { class: 'bad', role: 'alert' } : {}, words)))
say(t.empty)
try {
  if (first === 'join' && second) await joinRoom(second)
  else if (first) await showRoom(first)
  await showList()
} catch (error) {
  document.body.classList.add('inside') // A phone shows one or the other.
  say(error.message, true)
}
setInterval(() => { if (!document.hidden) showList().catch(() => {}) }, LOOK_AGAIN_MS)
