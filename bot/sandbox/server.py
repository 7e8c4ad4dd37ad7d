"""The simulators' server, alone or within `up`: one loopback port for all providers and the phone, another for mail.

/<provider>/…            the provider's own API
/<provider>/_truth       what it executed, oldest first, as a JSON array; ?since=n leaves out rows up to number n
/<provider>/_faults      POST a fault plan (bot/sandbox/faults.py), GET shows it, DELETE ends it
/_heal                   POST: ends all plans and special states
/_reset                  POST: heals, and forgets people, messages, pending updates and webhooks; numbers go on
/_app                    POST {"url": …, "public_url": …}: where the application is
/sandbox                 the phone in the browser
/healthz                 {"ok": true, "smtp_port": …}
"""

import argparse
import asyncio
import json
import logging
import os
import re
import signal
import socket
import struct
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage
from aiohttp.web_protocol import RequestHandler

from bot.sandbox.accounts import ADDRESS_FILE
from bot.sandbox.anthropic import Anthropic
from bot.sandbox.calls import BODY_BYTES_MAX, UPLOAD_BYTES_MAX, Answer, Call, Provider, answer_json, controls
from bot.sandbox.exchangerate import ExchangeRate
from bot.sandbox.faults import Fault
from bot.sandbox.frankfurter import Frankfurter
from bot.sandbox.hooks import Hooks
from bot.sandbox.intasend import IntaSend
from bot.sandbox.meta import Meta
from bot.sandbox.open_meteo import OpenMeteo, utc_now
from bot.sandbox.openai import OpenAI
from bot.sandbox.openweather import OpenWeather
from bot.sandbox.phone import Phone
from bot.sandbox.screen import Screen
from bot.sandbox.smtp import Smtp
from bot.sandbox.telegram import Telegram
from bot.sandbox.toxicbert import ToxicBert
from bot.sandbox.transcription import BODY_BYTES_MAX as AUDIO_BODY_BYTES_MAX
from bot.sandbox.transcription import Transcription
from bot.sandbox.truth import Disk
from bot.sandbox.twilio import Twilio

HOST = "127.0.0.1"
HOSTS = frozenset({"127.0.0.1", "localhost", "[::1]"})
SHUTDOWN_S = 1.0
SLOW_CHUNKS = 20
BACKLOG = 512
HTML = b"<!doctype html><html><head><title>Welcome</title></head><body><h1>Please sign in</h1></body></html>"

UPLOADS = re.compile(r"/telegram/bot[^/]+/send[A-Za-z]+|/whatsapp/v[0-9.]+/[0-9]+/media")

log = logging.getLogger(__name__)


class Sandbox:
    """All simulators behind one request handler."""

    def __init__(self, data: Path, hooks: Hooks, base_url: str) -> None:
        self.disk = Disk(data)
        self.hooks = hooks
        self.screen = Screen(self.disk)
        self.twilio = Twilio(self.disk, self.screen, hooks, f"{base_url}/twilio")
        self.telegram = Telegram(self.disk, self.screen, hooks)
        self.meta = Meta(self.disk, hooks, f"{base_url}/whatsapp")
        self.intasend = IntaSend(self.disk, self.screen, hooks, f"{base_url}/intasend")
        self.smtp = Smtp(self.disk)
        readers: list[Provider] = [
            OpenMeteo(self.disk, utc_now),
            OpenWeather(self.disk, utc_now),
            Frankfurter(self.disk, utc_now),
            ExchangeRate(self.disk, utc_now),
            ToxicBert(self.disk),
            Transcription(self.disk),
            Anthropic(self.disk),
            OpenAI(self.disk),
        ]
        self.providers: dict[str, Provider] = {}
        everyone: list[Provider] = [self.twilio, self.meta, self.telegram, self.intasend, self.smtp, *readers]
        self.providers |= {provider.name: provider for provider in everyone}
        self.phone = Phone(self.screen, self.twilio, self.telegram, self.intasend, self.providers)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; nothing a client sends ends in a traceback of ours."""
        host = request.headers.get("Host", "")
        origin = request.headers.get("Origin")
        if _host_name(host) not in HOSTS or (origin is not None and not _is_local(origin)):
            return _response(answer_json({"error": "The sandbox only answers this machine."}, 403))
        try:
            return await self._route(request)
        except web.HTTPRequestEntityTooLarge:
            return _response(answer_json({"error": f"The body is larger than {BODY_BYTES_MAX} bytes."}, 413))
        except ValueError as error:
            return _response(answer_json({"error": str(error)}, 400))

    async def _route(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        name, slash, rest = path[1:].partition("/")
        provider = self.providers.get(name) if slash else None
        if provider is not None:
            rest = "/" + rest
            if rest == "/_truth":
                return _response(self._truth(request, provider))
            call = Call(request.method, rest, request.query, request.headers, b"")
            if rest == "/_faults":
                call.body = await request.read()
                return _response(self._plan(call, provider))
            return await self._serve(request, call, provider)
        if path == "/sandbox" or path.startswith("/sandbox/"):
            return await self.phone.serve(request)
        call = Call(request.method, path, request.query, request.headers, await request.read())
        return _response(self._control(call))

    @staticmethod
    def _truth(request: web.BaseRequest, provider: Provider) -> Answer:
        since = request.query.get("since", "0")
        if not since.isdecimal() or len(since) > 15:
            raise ValueError("since must be a row's number, such as 17.")
        return Answer(200, provider.journal.as_json(int(since)))

    @staticmethod
    def _plan(call: Call, provider: Provider) -> Answer:
        match call.method:
            case "POST":
                provider.faults.set(controls(call))
            case "DELETE":
                provider.faults.clear()
            case "GET":
                pass
            case _:
                return answer_json({"error": "GET, POST or DELETE a fault plan."}, 405)
        return answer_json(provider.faults.state())

    def _control(self, call: Call) -> Answer:
        if call.path == "/healthz":
            return answer_json({"ok": True, "smtp_port": self.smtp.port})
        if call.path not in ("/_heal", "/_reset", "/_app"):
            providers = ", ".join(sorted(self.providers))
            return answer_json({"error": f"Nothing is here. There are /sandbox and the providers {providers}."}, 404)
        if call.method != "POST":
            return answer_json({"error": "This takes a POST."}, 405)
        if call.path == "/_app":
            asked = controls(call)
            self.hooks.aim(str(asked.get("url") or self.hooks.app_url), str(asked.get("public_url") or ""))
            self.twilio.nudge()
            self.meta.nudge()
            self.telegram.nudge()
            self.intasend.nudge()
            return answer_json({"url": self.hooks.app_url, "public_url": self.hooks.public_url})
        for provider in self.providers.values():
            provider.faults.clear()
            provider.heal()
            if call.path == "/_reset":
                provider.reset()
        if call.path == "/_reset":
            self.screen.reset()
        return answer_json({"ok": True, "last": {name: p.journal.last for name, p in self.providers.items()}})

    async def _serve(self, request: web.BaseRequest, call: Call, provider: Provider) -> web.StreamResponse:
        faults = provider.faults
        fault = None if faults.needs_body else faults.take(call.method, call.path, b"")
        if fault is not None and fault.kind == "refuse":
            return _hang_up(request, reset=True)
        call.body = await request.read()
        if faults.needs_body:
            fault = faults.take(call.method, call.path, call.body)
        if fault is None:
            answer = await provider.answer(call)
            return await _stream(request, answer, provider) if answer.pieces else _response(answer)
        return await self._misbehave(request, call, provider, fault)

    async def _misbehave(
        self, request: web.BaseRequest, call: Call, provider: Provider, fault: Fault
    ) -> web.StreamResponse:
        call.fault, call.webhooks, call.seconds = fault.kind, fault.webhooks, fault.seconds
        match fault.kind:
            case "refuse":
                return _hang_up(request, reset=True)
            case "reset_before_read":
                return _hang_up(request, reset=False)
            case "429":
                return _response(provider.too_many(fault.retry_after_s))
            case "500_not_executed":
                return _response(provider.broken())
            case "200_html":
                return _response(Answer(200, HTML, "text/html"))
            case "hang" | "hang_then_execute":
                await provider.faults.wait(fault.seconds)
        answer = await provider.answer(call)
        match fault.kind:
            case "reset_after_execute":
                return _hang_up(request, reset=True)
            case "500_executed":
                return _response(provider.broken())
            case "execute_then_hang":
                await provider.faults.wait(fault.seconds)
            case "200_truncated_json":
                answer.body = answer.body[: len(answer.body) // 2]
            case "slow_body":
                return await _drip(request, answer, provider, fault.seconds)
        return _response(answer)

    async def start(self, smtp_port: int) -> None:
        """Start what runs by itself."""
        await self.smtp.start(HOST, smtp_port)
        self.twilio.start()
        self.meta.start()
        self.telegram.start()
        self.intasend.start()

    async def stop(self) -> None:
        """Stop it; everything is on disk already."""
        for provider in self.providers.values():
            provider.faults.clear()
        self.screen.end()
        await self.telegram.stop()
        await self.twilio.stop()
        await self.meta.stop()
        await self.intasend.stop()
        await self.smtp.stop()
        await self.hooks.close()
        self.disk.close()


def _response(answer: Answer) -> web.Response:
    headers = {"Content-Type": answer.content_type}
    if answer.headers:
        headers.update(answer.headers)
    return web.Response(body=answer.body, status=answer.status, headers=headers)


def _hang_up(request: web.BaseRequest, *, reset: bool) -> web.Response:
    """Close the connection without an answer, by RST or FIN; the response returned goes nowhere."""
    transport = request.transport
    if transport is not None:
        if reset:
            sock = transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
        else:
            transport.close()
    return web.Response(status=500)


async def _drip(request: web.BaseRequest, answer: Answer, provider: Provider, seconds: float) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, headers={"Content-Type": answer.content_type})
    response.content_length = len(answer.body)
    await response.prepare(request)
    size = max(1, -(-len(answer.body) // SLOW_CHUNKS))
    for start in range(0, len(answer.body), size):
        await provider.faults.wait(seconds / SLOW_CHUNKS)
        try:
            await response.write(answer.body[start : start + size])
        except ConnectionError:
            return response
    return response


async def _stream(request: web.BaseRequest, answer: Answer, provider: Provider) -> web.StreamResponse:
    headers = {"Content-Type": answer.content_type, "Cache-Control": "no-cache", **(answer.headers or {})}
    response = web.StreamResponse(status=answer.status, headers=headers)
    await response.prepare(request)
    for piece in answer.pieces:
        try:
            if isinstance(piece, bytes):
                await response.write(piece)
            else:
                await provider.faults.wait(piece)
        except ConnectionError:
            return response
    if answer.is_cut and request.transport is not None:
        request.transport.close()
    return response


def _host_name(host: str) -> str:
    name, _, port = host.rpartition(":")
    return name if port.isdecimal() else host


def _is_local(origin: str) -> bool:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.hostname in ("127.0.0.1", "localhost", "::1")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `bot sandbox`."""
    parser.add_argument(
        "--port", type=int, default=0, help="loopback port of all simulators and the phone (0: a free one)"
    )
    parser.add_argument("--smtp-port", type=int, default=0, help="loopback port of the mail sink (0: a free one)")
    parser.add_argument("--data", type=Path, default=Path(".mathia/sandbox"), help="folder of the truth logs")
    port = os.environ.get("PORT") or "8080"
    parser.add_argument(
        "--app-url", default=f"http://{HOST}:{port}", help="where the application listens (else PORT on this machine)"
    )
    parser.add_argument(
        "--public-url",
        default=os.environ.get("PUBLIC_URL") or f"http://{os.environ.get('HOST') or HOST}:{port}",
        help="the address the application believes in, for signatures (else PUBLIC_URL, or HOST and PORT)",
    )


def _request(
    message: RawRequestMessage, payload: StreamReader, protocol: RequestHandler,
    writer: AbstractStreamWriter, task: "asyncio.Task[None]",
) -> web.BaseRequest:  # fmt: skip
    loop = asyncio.get_running_loop()
    largest = AUDIO_BODY_BYTES_MAX if message.path.startswith("/transcription/") else BODY_BYTES_MAX
    if UPLOADS.fullmatch(message.path):
        largest = UPLOAD_BYTES_MAX
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=largest)


@asynccontextmanager
async def serving(
    data: Path, *, port: int = 0, smtp_port: int = 0, app_url: str, public_url: str
) -> AsyncIterator[tuple[str, int]]:
    """The simulators until the block ends: their base URL and the mail sink's port.

    They call the application at `app_url`, which believes to be at `public_url`. Raises OSError for a port that is
    taken, ValueError for an `app_url` that is not on this machine.
    """
    with socket.create_server((HOST, port), backlog=BACKLOG) as listener:
        base_url = f"http://{HOST}:{listener.getsockname()[1]}"
        sandbox = Sandbox(data, Hooks(app_url, public_url), base_url)
        server = web.Server(
            sandbox.handle, request_factory=_request, access_log=None, handler_cancellation=False,
            keepalive_timeout=75.0,
        )  # fmt: skip
        runner = web.ServerRunner(server, shutdown_timeout=SHUTDOWN_S)
        await runner.setup()
        await sandbox.start(smtp_port)
        await web.SockSite(runner, listener, backlog=BACKLOG).start()
        (data / ADDRESS_FILE).write_text(base_url)
        try:
            yield base_url, sandbox.smtp.port
        finally:
            await sandbox.stop()
            await runner.cleanup()


async def serve(args: argparse.Namespace) -> None:
    """Run until SIGINT or SIGTERM; prints one line when ready."""
    async with serving(
        args.data, port=args.port, smtp_port=args.smtp_port, app_url=args.app_url, public_url=args.public_url
    ) as (base_url, smtp_port):
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        print(json.dumps({"sandbox": base_url, "smtp_port": smtp_port}), flush=True)
        await stop.wait()


def main(args: argparse.Namespace) -> int:
    """Entry of `python -m bot sandbox`; returns the exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s sandbox %(levelname)s %(message)s")
    try:
        asyncio.run(serve(args))
    except (OSError, ValueError) as error:
        print(f"The sandbox cannot start: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    _parser = argparse.ArgumentParser(description="Provider simulators on one loopback port.")
    add_arguments(_parser)
    sys.exit(main(_parser.parse_args()))
