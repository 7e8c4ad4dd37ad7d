"""The simulated phone at /sandbox: its page and API, and the way to it through the application."""

import asyncio
import json
import math
import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, get_args

import aiohttp
from aiohttp import web
from yarl import URL

from bot.sandbox.calls import Answer, Provider, answer_json
from bot.sandbox.intasend import IntaSend
from bot.sandbox.pictures import PICTURE_TYPE, picture
from bot.sandbox.screen import App, Screen
from bot.sandbox.telegram import Telegram
from bot.sandbox.truth import JsonObject
from bot.sandbox.twilio import ADDRESS, Twilio
from bot.sandbox.voices import WORDS_CHARS_MAX

TEXT_CHARS_MAX = 4096
NAME_CHARS_MAX = 64
ID_CHARS_MAX = 128
BODY_BYTES_MAX = 64 * 1024
HEARTBEAT_S = 15.0
PROXY_CONNECT_S = 3.0
PROXY_READ_S = 4 * HEARTBEAT_S

STATIC = Path(__file__).parent / "static"
FILES = {
    "/sandbox": ("phone.html", "text/html; charset=utf-8"),
    "/sandbox/phone.css": ("phone.css", "text/css; charset=utf-8"),
    "/sandbox/phone.js": ("phone.js", "text/javascript; charset=utf-8"),
}
SAFETY = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
SENT_FILE = re.compile(r"/sandbox/files/([A-Za-z0-9_-]{16,512})")
TRUTH = re.compile(r"/sandbox/truth/([a-z-]+)")
PASSED_ON = ("Accept", "Content-Type", "Last-Event-ID")
PASSED_BACK = ("Content-Type", "Allow", *SAFETY)


class Phone:
    """Page and API of the phone."""

    def __init__(
        self, screen: Screen, twilio: Twilio, telegram: Telegram, intasend: IntaSend, providers: Mapping[str, Provider]
    ) -> None:
        self._screen, self._twilio, self._telegram, self._intasend = screen, twilio, telegram, intasend
        self._providers = providers

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request below /sandbox; ValueError carries a sentence about bad input."""
        path = request.path.rstrip("/")
        if path == "/sandbox/api/events" and request.method == "GET":
            return await self._events(request)
        answer = await self._answer(request, path)
        return web.Response(
            body=answer.body, status=answer.status, headers={"Content-Type": answer.content_type, **SAFETY}
        )

    async def _answer(self, request: web.BaseRequest, path: str) -> Answer:
        if request.method == "POST":
            if request.content_type != "application/json":
                return answer_json({"error": "Send JSON."}, 415)
            if (request.content_length or 0) > BODY_BYTES_MAX:
                return answer_json({"error": f"The body is larger than {BODY_BYTES_MAX} bytes."}, 413)
            asked = _object(await request.read())
            match path:
                case "/sandbox/api/send":
                    return answer_json(self._send(asked))
                case "/sandbox/api/tap":
                    return answer_json(self._tap(asked))
                case "/sandbox/api/edit":
                    return answer_json(self._edit(asked))
                case "/sandbox/api/react":
                    return answer_json(self._react(asked))
                case "/sandbox/api/faults":
                    return answer_json(self._plan(asked))
                case "/sandbox/api/mpesa":
                    return answer_json(self._mpesa(asked))
        elif request.method == "GET":
            if path in FILES:
                name, kind = FILES[path]
                return Answer(200, (STATIC / name).read_bytes(), kind)
            if path == "/sandbox/picture.png":
                return Answer(200, picture(), PICTURE_TYPE)
            if found := SENT_FILE.fullmatch(path):
                kept = self._twilio.file(found[1]) or self._telegram.file(found[1])
                return Answer(200, kept[1], kept[0]) if kept else answer_json({"error": "That file is gone."}, 404)
            if path == "/sandbox/api/history":
                return answer_json(self._history(request))
            if path == "/sandbox/api/faults":
                return answer_json({name: p.faults.state() for name, p in sorted(self._providers.items())})
            if path == "/sandbox/api/mpesa":
                return answer_json(self._intasend.prompts)
            found = TRUTH.fullmatch(path)
            if found and found[1] in self._providers:
                since = request.query.get("since", "0")
                if not since.isdecimal() or len(since) > 15:
                    raise ValueError("since must be a row's number, such as 17.")
                return Answer(200, self._providers[found[1]].journal.as_json(int(since)))
        return answer_json({"error": "Nothing is here."}, 404)

    def _history(self, request: web.BaseRequest) -> JsonObject:
        app = _app(request.query["as"]) if "as" in request.query else None
        person = request.query.get("person")
        return {
            "last": self._screen.journal.last,
            "people": [{"as": a, "person": p, "name": n} for (a, p), n in self._screen.people.items()],
            "messages": list(self._screen.messages(app, person)),
        }

    def _person(self, asked: JsonObject) -> tuple[App, str]:
        """Who writes: the two people of the page, or anybody a caller names by `from` (and `name`)."""
        app = _app(asked.get("as"))
        person = asked.get("from")
        if person is None:
            return app, next(p for a, p in self._screen.people if a == app)
        person = str(person)
        known = re.fullmatch(r"[1-9]\d{0,14}", person) if app == "telegram" else ADDRESS.fullmatch("whatsapp:" + person)
        if not known:
            raise ValueError("from must be a WhatsApp number such as +254712345678, or a Telegram id such as 7000001.")
        name = asked.get("name", "Guest")
        if not isinstance(name, str) or not 1 <= len(name) <= NAME_CHARS_MAX:
            raise ValueError(f"name must be a text of 1 to {NAME_CHARS_MAX} characters.")
        if not self._screen.knows(app, person):
            self._screen.know(app, person, name)
        return app, person

    def _send(self, asked: JsonObject) -> JsonObject:
        text = asked.get("text", "")
        if not isinstance(text, str) or len(text) > TEXT_CHARS_MAX:
            raise ValueError(f"text must be a text of at most {TEXT_CHARS_MAX} characters.")
        text.encode()  # A lone surrogate is not text; the error says so.
        message: JsonObject = {"text": text, "picture": asked.get("picture") is True}
        if (place := asked.get("location")) is not None:
            message["location"] = _location(place)
        if (spoken := asked.get("voice")) is not None:
            if not isinstance(spoken, str) or not 1 <= len(spoken.strip()) <= WORDS_CHARS_MAX or text.strip():
                raise ValueError(f"voice is what a voice note says, in 1 to {WORDS_CHARS_MAX} characters and no text.")
            spoken.encode()
            message["voice"] = spoken
        for name in ("cid", "reply_to"):
            value = asked.get(name)
            if value is not None and not (isinstance(value, str) and 1 <= len(value) <= ID_CHARS_MAX):
                raise ValueError(f"{name} must be a text of at most {ID_CHARS_MAX} characters.")
            message[name] = value
        if not (text.strip() or message["picture"] or place or spoken):
            raise ValueError("Write a text, or add a location, a picture or a voice note.")
        app, person = self._person(asked)
        if message["cid"]:
            for shown in self._screen.messages(app, person):
                if shown.get("cid") == message["cid"]:
                    return shown
        sent = self._twilio.write(person, message) if app == "whatsapp" else self._telegram.write(person, message)
        return self._screen.message(app, sent["id"]) or sent

    def _tap(self, asked: JsonObject) -> JsonObject:
        message_id, data = asked.get("id"), asked.get("data")
        if asked.get("as") != "telegram" or not isinstance(message_id, str) or not isinstance(data, str):
            raise ValueError("A tap names as (telegram), id (the message's) and data (the button's).")
        self._telegram.tap(message_id, data)
        return {"ok": True}

    def _edit(self, asked: JsonObject) -> JsonObject:
        message_id, text = asked.get("id"), asked.get("text")
        if not isinstance(message_id, str) or not isinstance(text, str) or not text.strip():
            raise ValueError("An edit names as (telegram), id (the message's) and its new text.")
        if len(text) > TEXT_CHARS_MAX:
            raise ValueError(f"text must be a text of at most {TEXT_CHARS_MAX} characters.")
        text.encode()  # A lone surrogate is not text; the error says so.
        self._telegram.edit(self._on_telegram(asked), message_id, text)
        return {"ok": True}

    def _react(self, asked: JsonObject) -> JsonObject:
        message_id, emoji = asked.get("id"), asked.get("emoji")
        if not isinstance(message_id, str) or not isinstance(emoji, list) or not all(isinstance(e, str) for e in emoji):
            raise ValueError("A reaction names as (telegram), id (the message's) and emoji (a list of texts).")
        self._telegram.react(self._on_telegram(asked), message_id, emoji)
        return {"ok": True}

    def _mpesa(self, asked: JsonObject) -> JsonObject:
        prompt, pin = asked.get("id"), asked.get("pin")
        if not isinstance(prompt, str) or not (pin is None or isinstance(pin, str)):
            raise ValueError("An answer to M-Pesa names id (the prompt's) and pin (4 digits, or null to say no).")
        self._intasend.answer_prompt(prompt, pin)
        return {"ok": True}

    def _on_telegram(self, asked: JsonObject) -> str:
        app, person = self._person(asked)
        if app != "telegram":
            raise ValueError("Only the Telegram phone can do this; as must be telegram.")
        return person

    def _plan(self, asked: JsonObject) -> JsonObject:
        provider = self._providers.get(str(asked.get("provider")))
        if provider is None:
            raise ValueError(f"provider must be one of {', '.join(sorted(self._providers))}.")
        provider.faults.set({name: value for name, value in asked.items() if name != "provider"})
        return provider.faults.state()

    async def _events(self, request: web.BaseRequest) -> web.StreamResponse:
        asked = request.headers.get("Last-Event-ID") or request.query.get("after") or str(self._screen.journal.last)
        if not asked.isdecimal() or len(asked) > 15:
            raise ValueError("Last-Event-ID must be a number.")
        queue = self._screen.follow(int(asked))
        response = web.StreamResponse(
            headers={**SAFETY, "Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}
        )
        try:
            await response.prepare(request)
            while True:
                try:
                    event = await asyncio.wait_for(queue.get(), HEARTBEAT_S)
                except TimeoutError:
                    event = b": still here\n\n"
                if event is None:
                    return response
                await response.write(event)
        except ConnectionError:
            return response
        finally:
            self._screen.unfollow(queue)


def _object(body: bytes) -> JsonObject:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise ValueError("The body is not JSON.") from None
    if not isinstance(value, dict):
        raise ValueError("The body must be a JSON object.")
    return value


def _app(value: object) -> App:
    for app in get_args(App):
        if value == app:
            return app  # type: ignore[no-any-return]
    raise ValueError('as must be "whatsapp" or "telegram".')


def _location(place: object) -> JsonObject:
    if isinstance(place, dict):
        latitude, longitude, label = place.get("latitude"), place.get("longitude"), place.get("label", "")
        numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in (latitude, longitude))
        if numbers and isinstance(label, str) and len(label) <= NAME_CHARS_MAX:
            lat, lon = float(latitude or 0), float(longitude or 0)
            if math.isfinite(lat) and math.isfinite(lon) and abs(lat) <= 90 and abs(lon) <= 180:
                return {"latitude": lat, "longitude": lon, "label": label}
    raise ValueError(f"location has latitude, longitude (degrees) and a label of at most {NAME_CHARS_MAX} characters.")


SESSION: web.AppKey[aiohttp.ClientSession] = web.AppKey("sandbox_session", aiohttp.ClientSession)


def mount(app: web.Application, sandbox_url: str) -> None:
    """Serve /sandbox from the application by passing it on to the simulators at `sandbox_url`, and nothing else."""
    target = sandbox_url.rstrip("/")
    open_calls: set[asyncio.Task[Any]] = set()

    async def pass_on(request: web.Request) -> web.StreamResponse:
        origin = request.headers.get("Origin")
        if origin is not None and URL(origin).authority != request.host:
            return web.json_response({"error": "The sandbox answers its own page only."}, status=403)
        raw = request.raw_path
        if ".." in raw.partition("?")[0]:
            return web.json_response({"error": "Nothing is here."}, status=404)
        if (request.content_length or 0) > BODY_BYTES_MAX:
            return web.json_response({"error": f"The body is larger than {BODY_BYTES_MAX} bytes."}, status=413)
        body = await request.read() if request.can_read_body else None
        headers = {name: request.headers[name] for name in PASSED_ON if name in request.headers}
        response = web.StreamResponse()
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  a handler always runs in a task
        open_calls.add(task)
        try:
            url = URL(target + raw, encoded=True)
            async with app[SESSION].request(
                request.method, url, data=body, headers=headers, allow_redirects=False
            ) as answer:
                response.set_status(answer.status)
                for name in PASSED_BACK:
                    if name in answer.headers:
                        response.headers[name] = answer.headers[name]
                await response.prepare(request)
                async for chunk in answer.content.iter_any():
                    await response.write(chunk)
        except (aiohttp.ClientError, TimeoutError):
            if response.prepared:
                return response
            return web.json_response({"error": "The sandbox is not running; it restarts by itself."}, status=502)
        except ConnectionError:
            return response
        finally:
            open_calls.discard(task)
        return response

    async def session(app: web.Application) -> AsyncIterator[None]:
        timeout = aiohttp.ClientTimeout(total=None, connect=PROXY_CONNECT_S, sock_read=PROXY_READ_S)
        connector = aiohttp.TCPConnector(limit=0)
        app[SESSION] = aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False)
        yield
        await app[SESSION].close()

    async def hang_up(_app: web.Application) -> None:
        # Event streams never end by themselves: without this a stop would wait for every open page.
        for task in list(open_calls):
            task.cancel()

    app.cleanup_ctx.append(session)
    app.on_shutdown.append(hang_up)
    for method in ("GET", "POST"):
        app.router.add_route(method, "/sandbox", pass_on)
        app.router.add_route(method, "/sandbox/{tail:.*}", pass_on)
