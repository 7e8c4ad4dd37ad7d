"""Provider webhooks: a limit on the body, the signature over what was received, the row, and only then a 2xx.

Whoever cannot sign learns nothing and costs little; what is signed but is not what the provider sends gets a 400, what
is signed and does not concern us a 200. A 503 promises that nothing was acknowledged and that trying again is safe.
"""

import asyncio
import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Protocol

import orjson
import structlog
from aiohttp import web
from telegram.error import TelegramError

from channels.base import Channel
from channels.telegram import TelegramChannel
from channels.whatsapp import cloud, cloud_templates, twilio
from core import crashpoint, opt_out, renumber, templates
from core.changes import Change
from core.db import Database, is_away
from core.errors import StoreUnavailable
from core.inbox import Inbox
from core.messages import Address, ChannelName, InboundMessage
from core.outbox import Outbox, ProviderStatus
from core.settings import Settings
from core.wake import Wakes
from ledger import instruction_store as payments

log = structlog.get_logger()

FORM_BYTES_MAX = 256 * 1024
"""Of a Twilio form, which must be read before its signature can be checked; the longest text makes about 60 kB."""
BATCH_BYTES_MAX = 3 * 1024 * 1024
"""Of a webhook from Meta, which may put a thousand messages and statuses into one; more than this it never sends."""
UPDATE_BYTES_MAX = 1024 * 1024
"""Of a Telegram update, which only whoever knows the secret may send."""
EVENT_BYTES_MAX = 256 * 1024
"""Of an event from IntaSend, whose challenge is inside it; theirs are of one or two kilobytes."""
REF_CHARS_MAX = 80
BODY_TIMEOUT_S = 10.0
"""How long a body may take to arrive."""
RETRY_S = 5

_OUTBOX_ID = re.compile(r"[0-9]{1,18}")
_PIECE = re.compile(r"[0-9]{1,3}")


class Served(Protocol):
    """What webhooks need of the process's services."""

    @property
    def settings(self) -> Settings: ...
    @property
    def db(self) -> Database: ...
    @property
    def wakes(self) -> Wakes: ...
    @property
    def inbox(self) -> Inbox: ...
    @property
    def outbox(self) -> Outbox: ...
    @property
    def channels(self) -> Mapping[ChannelName, Channel]: ...


def routes(services: Served) -> list[web.RouteDef]:
    """The routes of all providers; one without a secret answers 404."""
    hooks = _Webhooks(services)
    return [
        web.post("/webhooks/twilio", hooks.twilio_message),
        web.post("/webhooks/twilio/status", hooks.twilio_status),
        web.get("/webhooks/whatsapp", hooks.whatsapp_challenge, allow_head=False),
        web.post("/webhooks/whatsapp", hooks.whatsapp_batch),
        web.post("/webhooks/telegram", hooks.telegram_update),
        web.post("/webhooks/intasend", hooks.intasend_event),
    ]


class _Webhooks:
    def __init__(self, services: Served) -> None:
        self._db = services.db
        self._wakes = services.wakes
        self._inbox = services.inbox
        self._outbox = services.outbox
        self._watch = renumber.Watch(services.db)
        self._base_url = services.settings.base_url
        self._twilio_token = services.settings.twilio_auth_token.get_secret_value()
        self._meta_account = services.settings.meta_phone_number_id
        self._meta_waba = services.settings.meta_waba_id
        self._meta_secret = services.settings.meta_app_secret.get_secret_value()
        self._meta_verify_token = services.settings.meta_verify_token.get_secret_value()
        self._telegram_secret = services.settings.telegram_webhook_secret.get_secret_value().encode()
        self._intasend_challenge = services.settings.intasend_challenge.get_secret_value()
        telegram = services.channels.get(ChannelName.TELEGRAM)
        self._telegram = telegram if isinstance(telegram, TelegramChannel) else None

    async def twilio_message(self, request: web.Request) -> web.StreamResponse:
        """A WhatsApp message, as a signed form."""
        form = await self._signed_form(request)
        if isinstance(form, web.StreamResponse):
            return form
        try:
            message = twilio.parse(form, datetime.now(UTC))
        except ValueError as error:
            return _malformed(ChannelName.WHATSAPP, error)
        if message is not None and not (
            await self._notice(twilio.seen(form, message), ()) and await self._receive([message])
        ):
            return _unavailable()
        return web.Response(body=b"<Response/>", content_type="text/xml")

    async def twilio_status(self, request: web.Request) -> web.StreamResponse:
        """What became of a message of ours; `?outbox=`, and `&piece=` `&of=` for one of several pieces, is our own
        reference, and is signed like everything else."""
        form = await self._signed_form(request)
        if isinstance(form, web.StreamResponse):
            return form
        try:
            status = twilio.parse_status(form)
        except ValueError as error:
            return _malformed(ChannelName.WHATSAPP, error)
        reference = request.query.get("outbox")
        if reference is not None and not _OUTBOX_ID.fullmatch(reference):
            return _malformed(ChannelName.WHATSAPP, ValueError("the outbox reference is not a number"))
        piece, count = request.query.get("piece", "0"), request.query.get("of", "1")
        if not _PIECE.fullmatch(piece) or not _PIECE.fullmatch(count) or int(piece) >= int(count):
            return _malformed(ChannelName.WHATSAPP, ValueError("the reference names no piece"))
        if status is not None:
            said = ProviderStatus(
                int(reference) if reference else None,
                status.provider_message_id,
                status.status,
                status.error,
                int(piece),
                int(piece) + 1 == int(count),
                status.outside_window,
            )
            try:
                known = await self._outbox.record(said)
                if status.opted_out and known:
                    await self._opted_out(form)
            except Exception as error:
                if not isinstance(error, StoreUnavailable) and not is_away(error):
                    raise
                log.warning("webhook.store_away", channel=ChannelName.WHATSAPP)
                return _unavailable()
            self._told(said, known)
        return web.Response(body=b"<Response/>", content_type="text/xml")

    async def whatsapp_challenge(self, request: web.Request) -> web.StreamResponse:
        """Meta's question whether this address is ours, asked once when the owner enters it there."""
        if not self._meta_secret:
            return await _refuse(request, 404, "There is nothing here.")
        answer = cloud.challenge(request.query, self._meta_verify_token)
        return await _forbid(request) if answer is None else web.Response(text=answer)

    async def whatsapp_batch(self, request: web.Request) -> web.StreamResponse:
        """Messages to our number at Meta, changes to them, statuses of those from it, and news of our templates."""
        if not self._meta_secret:
            return await _refuse(request, 404, "There is nothing here.")
        signature = request.headers.get("X-Hub-Signature-256", "")
        body = await _body(request, BATCH_BYTES_MAX, known=cloud.is_signature(signature))
        if isinstance(body, web.StreamResponse):
            return body
        if not cloud.verify(body, signature, self._meta_secret):
            return await _forbid(request)
        try:
            batch = cloud.parse(body, self._meta_account, datetime.now(UTC), self._meta_waba)
        except ValueError as error:
            return _malformed(ChannelName.WHATSAPP, error)
        if batch.unreadable:
            # A refusal would bring the whole batch back for a week, and the others with it.
            log.warning("webhook.items_unreadable", channel=ChannelName.WHATSAPP, count=batch.unreadable)
        if not await self._notice(batch.seen, batch.renumbered):
            return _unavailable()
        # What was said must be there for it to change.
        if not await self._receive(batch.messages) or not await self._change(batch.changes):
            return _unavailable()
        if not await self._record(batch.statuses) or not await self._template_news(batch.templates):
            return _unavailable()
        return web.Response()

    async def _template_news(self, statuses: Sequence[cloud_templates.TemplateStatus]) -> bool:
        """Record what became of message templates at Meta; False when the store did not answer."""
        for said in statuses:
            row = said.provider_ref, said.language, said.state, said.reason, said.at
            try:
                known = await templates.told(self._db, ChannelName.WHATSAPP, self._meta_account, *row)
            except Exception as error:
                if not is_away(error):
                    raise
                log.warning("webhook.store_away", channel=ChannelName.WHATSAPP)
                return False
            log.info("template.told", language=said.language, state=said.state, ours=known)
        return True

    async def _opted_out(self, form: twilio.Form) -> None:
        """The recipient of a message of ours told Twilio that they want none."""
        fields = dict(form)
        person = fields.get("To", "")
        await opt_out.stopped_by_provider(
            self._db, Address(ChannelName.WHATSAPP, fields.get("From", ""), person, person)
        )

    async def telegram_update(self, request: web.Request) -> web.StreamResponse:
        """An update, with the secret token in a header."""
        if self._telegram is None or not self._telegram_secret:
            return await _refuse(request, 404, "There is nothing here.")
        given = request.headers.get("X-Telegram-Bot-Api-Secret-Token", "").encode("utf-8", "surrogateescape")
        body = await _body(request, UPDATE_BYTES_MAX, known=hmac.compare_digest(given, self._telegram_secret))
        if isinstance(body, web.StreamResponse):
            return body
        try:
            event = await self._telegram.read(orjson.loads(body))
        except ValueError as error:
            return _malformed(ChannelName.TELEGRAM, error)
        except TelegramError as error:
            log.warning("webhook.name_unknown", channel=ChannelName.TELEGRAM, error=type(error).__name__)
            return _unavailable()
        if event is not None:
            try:
                await self._telegram.take([event])
            except StoreUnavailable:
                log.warning("webhook.store_away", channel=ChannelName.TELEGRAM)
                return _unavailable()
            crashpoint.hit("inbox.acknowledged")
        return web.Response()

    async def intasend_event(self, request: web.Request) -> web.StreamResponse:
        """Something happened to a payment. It is a hint, kept once: what happened, the provider is asked.

        Events of payouts come without the challenge. Such a one is only kept for a payout of ours, whose id nobody can
        guess; it has the provider asked, and can do nothing else. Others get a 2xx too: they may be of a payout made
        in the provider's dashboard, and an address that refuses twenty times is not told of anything any more.
        """
        if not self._intasend_challenge:
            return await _refuse(request, 404, "There is nothing here.")
        body = await _body(request, EVENT_BYTES_MAX, known=True)
        if isinstance(body, web.StreamResponse):
            return body
        try:
            event = orjson.loads(body)
        except ValueError:
            event = None
        if not isinstance(event, dict):
            return await _forbid(request)
        given, ours = event.get("challenge"), self._intasend_challenge.encode()
        proved = isinstance(given, str) and hmac.compare_digest(given.encode(), ours)
        payout = event.get("tracking_id")
        if proved and not isinstance(payout, str):
            payout = event.get("chargeback_id")
        if not proved and (given is not None or not isinstance(payout, str)):
            return await _forbid(request)
        ref = payout if isinstance(payout, str) else event.get("invoice_id")
        if not isinstance(ref, str) or not 0 < len(ref) <= REF_CHARS_MAX or not ref.isprintable():
            # One that their documents do not know; what is owed to us is asked for anyway.
            return web.Response() if proved else await _forbid(request)
        reference = _short(event.get("api_ref")) if proved else None
        state = f"{event.get('state') or ''}{event.get('status_code') or event.get('status') or ''}{_row_codes(event)}"
        try:
            async with self._db.hot() as connection:
                known = await payments.hint(connection, ref, reference, _short(state), _short(event.get("updated_at")))
        except Exception as error:
            if not is_away(error):
                raise
            log.warning("webhook.store_away", provider="intasend")
            return _unavailable()
        if known:
            self._wakes.wake("payment")
        else:
            log.info("webhook.payment_of_stranger")
        return web.Response()

    async def _signed_form(self, request: web.Request) -> list[tuple[str, str]] | web.StreamResponse:
        """The fields of a form that Twilio signed, or the answer that ends the request."""
        if not self._twilio_token:
            return await _refuse(request, 404, "There is nothing here.")
        signature = request.headers.get("X-Twilio-Signature", "")
        body = await _body(request, FORM_BYTES_MAX, known=bool(signature))
        if isinstance(body, web.StreamResponse):
            return body
        try:
            form = twilio.read_form(body)
        except ValueError:
            return _malformed(ChannelName.WHATSAPP, ValueError("the body is not a form in UTF-8 without NUL"))
        # The address is ours by configuration and never the Host header's, which whoever calls can choose.
        if not twilio.verify(self._base_url + request.raw_path, form, signature, self._twilio_token):
            return await _forbid(request)
        return form

    async def _receive(self, messages: Sequence[InboundMessage]) -> bool:
        """Store the messages; False when the store did not answer, and nothing may be acknowledged."""
        if not messages:
            return True
        try:
            await self._inbox.receive(messages)
        except StoreUnavailable:
            log.warning("webhook.store_away", channel=messages[0].sender.channel)
            return False
        crashpoint.hit("inbox.acknowledged")
        return True

    async def _notice(self, seen: Sequence[renumber.Seen], news: Sequence[renumber.Renumbered]) -> bool:
        """Keep which numbers changed hands, before what is said from them; False when the store did not answer."""
        try:
            await self._watch.notice(seen)
            for one in news:
                await renumber.renumbered(self._db, one)
        except Exception as error:
            if not is_away(error):
                raise
            log.warning("webhook.store_away", channel=ChannelName.WHATSAPP)
            return False
        return True

    async def _change(self, changes: Sequence[Change]) -> bool:
        """Store edits, deletions and reactions in their order; False when the store did not answer."""
        try:
            for change in changes:
                await self._inbox.change(change)
        except StoreUnavailable:
            log.warning("webhook.store_away", channel=ChannelName.WHATSAPP)
            return False
        return True

    async def _record(self, statuses: Sequence[ProviderStatus]) -> bool:
        """Record what became of WhatsApp messages; False when the store did not answer."""
        try:
            known = await asyncio.gather(*(self._outbox.record(status) for status in statuses))
        except StoreUnavailable:
            log.warning("webhook.store_away", channel=ChannelName.WHATSAPP)
            return False
        for status, ours in zip(statuses, known, strict=True):
            self._told(status, ours)
        return True

    def _told(self, status: ProviderStatus, known: bool) -> None:
        """What was told is in the store."""
        if not known:
            log.info("webhook.status_of_stranger", channel=ChannelName.WHATSAPP, status=status.status)
        elif status.outside_window:
            self._wakes.wake("outbox")


def _row_codes(event: Mapping[str, object]) -> str:
    """The codes of a batch's payouts, which change while its own stays."""
    rows = event.get("transactions")
    if not isinstance(rows, list):
        return ""
    return "".join(f"/{row.get('status_code')}" for row in rows[:REF_CHARS_MAX] if isinstance(row, dict))


def _short(value: object) -> str:
    """A text of somebody else's as it can be stored."""
    return "".join(char for char in str(value or "") if char.isprintable())[:REF_CHARS_MAX]


async def _body(request: web.Request, bytes_max: int, *, known: bool) -> bytes | web.StreamResponse:
    """The raw body, or the answer that ends the request; little more than `bytes_max` of it is ever in memory.

    Whoever is not `known` by what the headers say is refused before any of it is waited for.
    """
    if request.content_length is not None and request.content_length > bytes_max:
        return await _refuse(request, 413, "The body is too large.")
    if not known:
        return await _forbid(request)
    if request.headers.get("Content-Encoding", "identity") != "identity":
        return await _refuse(request, 415, "The body must not be compressed.")
    if request.content.is_eof():
        # All of it came with the head, as it usually does.
        body = request.content.read_nowait()
        return body if len(body) <= bytes_max else await _refuse(request, 413, "The body is too large.")
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            while chunk := await request.content.readany():
                chunks.append(chunk)
                size += len(chunk)
                if size > bytes_max:
                    return await _refuse(request, 413, "The body is too large.")
    except TimeoutError:
        return await _refuse(request, 408, "The body took too long.")
    except (web.RequestPayloadError, ConnectionError):
        return await _refuse(request, 400, "The body is broken.")
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def _forbid(request: web.Request) -> web.StreamResponse:
    log.warning("webhook.forged", path=request.path)
    return await _refuse(request, 403, "Forbidden.")


async def _refuse(request: web.Request, status: int, reason: str) -> web.StreamResponse:
    """Answer, and hang up when some of the body is still to come: the server would otherwise go on reading it."""
    response = web.Response(status=status, text=reason)
    if not request.content.is_eof():
        response.force_close()
        await response.prepare(request)
        await response.write_eof()
        request.protocol.force_close()
    return response


def _malformed(channel: ChannelName, error: ValueError) -> web.Response:
    # Sentences of our own hold nothing of what was sent; those of libraries do.
    log.warning("webhook.malformed", channel=channel, reason=str(error) if type(error) is ValueError else "unreadable")
    return web.Response(status=400, text="This is not what the provider sends.")


def _unavailable() -> web.Response:
    return web.Response(status=503, text="Try again in a few seconds.", headers={"Retry-After": str(RETRY_S)})
