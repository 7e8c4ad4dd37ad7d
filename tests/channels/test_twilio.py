"""WhatsApp by Twilio: signatures, what forms become, and what each way of failing becomes."""

import asyncio
import hashlib
import json
import socket
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode
from uuid import UUID

import aiohttp
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from multidict import MultiDict
from pydantic import SecretStr
from twilio.request_validator import RequestValidator

from channels.base import NotSent, OutcomeUnknown, OutsideWindow, Undeliverable, Unknowable
from channels.degrade import CUT, TWILIO
from channels.whatsapp.twilio import (
    FIND_MAX,
    FIND_PAGE,
    TwilioChannel,
    parse,
    parse_status,
    read_form,
    refusal,
    seen,
    verify,
)
from core.messages import (
    TEXT_CHARS_MAX,
    Address,
    ChannelName,
    Choices,
    Forwarded,
    Location,
    Media,
    OutboundMessage,
    Part,
    TemplateUse,
    Text,
    Voice,
)
from core.settings import SANDBOX_ACCOUNT_SID, SANDBOX_AUTH_TOKEN, SANDBOX_WHATSAPP_FROM, Settings
from tests.channels.test_golden import REPLIES
from tests.channels.wire import Behaviour, answer, closed_port, wire
from tests.conftest import Sandbox

RECORDINGS = Path(__file__).parent / "recordings" / "twilio"
NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
URL = "https://bot.example.com/webhooks/twilio"
TOKEN = "12345"
TO = "whatsapp:+254712345678"
ACCEPTED: dict[str, object] = json.loads((RECORDINGS / "send_accepted.json").read_text())
SIGNATURES = json.loads((RECORDINGS / "signatures.json").read_text())


def recorded(name: str, **changes: str | None) -> list[tuple[str, str]]:
    """A recorded form with some fields changed; None takes a field away."""
    form: dict[str, str | None] = {**json.loads((RECORDINGS / f"{name}.json").read_text()), **changes}
    return [(field, value) for field, value in form.items() if value is not None]


# Signatures.


@pytest.mark.parametrize("vector", SIGNATURES, ids=[vector["name"] for vector in SIGNATURES])
def test_published_signatures_hold_and_no_other(vector: dict[str, Any]) -> None:
    params = [(name, value) for name, value in vector["params"]]
    assert verify(vector["url"], params, vector["signature"], vector["auth_token"])
    assert not verify(vector["url"], params, vector["signature"], vector["auth_token"] + "6")
    assert not verify(vector["url"] + "x", params, vector["signature"], vector["auth_token"])
    assert not verify(vector["url"], [*params, ("Blank", "x")], vector["signature"], vector["auth_token"])
    if vector["body"] is not None:
        assert hashlib.sha256(vector["body"].encode()).hexdigest() in vector["url"]


words = st.text(st.characters(blacklist_categories=["Cs"]), max_size=12)
names = st.text(st.sampled_from("ABCabc019"), min_size=1, max_size=4)
urls = st.builds(
    lambda scheme, host, port, path: f"{scheme}://{host}{port}{path}",
    st.sampled_from(["https", "http"]),
    st.sampled_from(["bot.example.com", "127.0.0.1", "localhost"]),
    st.sampled_from(["", ":443", ":80", ":8080"]),
    st.sampled_from(["/webhooks/twilio", "/", "/a?outbox=12", "/a?b=%2F&c=", "/ä"]),
)


@examples(deadline=None)
@given(urls, st.lists(st.tuples(names, words), max_size=8), words, st.booleans())
def test_signatures_agree_with_the_providers_own_validator(
    url: str, params: list[tuple[str, str]], token: str, with_port: bool
) -> None:
    referee = RequestValidator(token)
    form = MultiDict(params)
    scheme, rest = url.split("://")
    host, slash, path = rest.partition("/")
    other = (
        host.partition(":")[0] if with_port else host if ":" in host else f"{host}:{443 if scheme == 'https' else 80}"
    )
    for signed in (url, f"{scheme}://{other}{slash}{path}"):
        signature = referee.compute_signature(signed, form)
        assert verify(url, params, signature, token) == referee.validate(url, form, signature)
        assert verify(url, params[::-1], signature, token)
    wrong = referee.compute_signature(url + "#", form)
    assert verify(url, params, wrong, token) == referee.validate(url, form, wrong) is False


@pytest.mark.parametrize("signature", ["", "x", "é" * 28, "\udcff" * 28, "=" * 28, "0" * 100_000])
def test_nonsense_is_not_a_signature(signature: str) -> None:
    assert not verify(URL, [("Body", "hi")], signature, TOKEN)


# Reading forms.


def test_a_form_keeps_blank_values_and_what_people_write() -> None:
    params = [("Body", "Habari ✈️ & 50% = + \n"), ("ButtonText", ""), ("From", TO)]
    assert read_form(urlencode(params).encode()) == params
    assert read_form(b"Body=caf\xc3\xa9+au+lait") == [("Body", "café au lait")]


@pytest.mark.parametrize(
    "raw",
    [
        b"Body=a%00b", b"Body=a\0b", b"Body=%ff", b"Body=\xff", b"Body=%ED%A0%80", b"Body", b"a=1&&b=2", b"=&=&x",
        b'{"Body":"hi"}', b"&".join(b"a%d=1" % number for number in range(1_000)), b"Body=%C3",
    ],
    ids=[
        "escaped NUL", "NUL", "not UTF-8", "raw not UTF-8", "lone surrogate", "no value", "empty field",
        "no name or value", "JSON", "too many fields", "half a character",
    ],
)  # fmt: skip
def test_what_is_not_a_form_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  the sentence is the library's and quotes the body
        read_form(raw)


@examples(deadline=None)
@given(st.text(st.sampled_from("ab=&%+4fCé\ufffd;"), max_size=40))
def test_a_form_is_read_as_the_standard_library_reads_it_strictly(text: str) -> None:
    try:
        wanted = parse_qsl(text, keep_blank_values=True, strict_parsing=True, errors="strict")
    except ValueError:
        with pytest.raises(ValueError):  # noqa: PT011  both refuse, each with its own sentence
            read_form(text.encode())
    else:
        assert read_form(text.encode()) == wanted


# What forms become.


@pytest.mark.parametrize(
    ("name", "parts", "reply_to"),
    [
        ("in_text", (Text(text="Weather in Nairobi tomorrow?"),), None),
        ("in_reply", (Text(text="The second one"),), "SM" + "d" * 32),
        ("in_button", (Text(text="Approve"),), "MM" + "c" * 32),
        (
            "in_location",
            (Location(latitude=-1.286389, longitude=36.817223, label="KICC, Harambee Ave, Nairobi"),),
            None,
        ),
        (
            "in_voice",
            (
                Voice(
                    media_type="audio/ogg",
                    ref=f"https://api.twilio.com/2010-04-01/Accounts/AC{'a' * 32}"
                    f"/Messages/MM{'c' * 32}/Media/ME{'e' * 32}",
                ),
            ),
            None,
        ),
    ],
)
def test_a_recorded_form_becomes_a_message(name: str, parts: tuple[Part, ...], reply_to: str | None) -> None:
    message = parse(recorded(name), NOW)
    assert message is not None
    assert message.sender == Address(ChannelName.WHATSAPP, SANDBOX_WHATSAPP_FROM, TO, TO)
    assert message.event_id == dict(recorded(name))["MessageSid"]
    assert (message.parts, message.reply_to) == (parts, reply_to)
    assert (message.sent_at, message.display_name) == (NOW, "Ada Wanjiku")


def test_a_person_who_hides_their_number_is_known_by_the_providers_id() -> None:
    message = parse(recorded("in_without_number"), NOW)
    assert message
    assert message.sender.person == message.sender.room == "whatsapp:KE.13491208655302741918"


@pytest.mark.parametrize(
    ("changes", "user_id"),
    [
        ({"ExternalUserId": "whatsapp:KE.13491208655302741918"}, "KE.13491208655302741918"),
        ({"ExternalUserId": None}, None),
        ({"ExternalUserId": "KE.1"}, None),
        ({"ExternalUserId": "whatsapp:KE.1", "From": "whatsapp:KE.1"}, None),
    ],
)
def test_the_lasting_id_behind_a_number_is_seen(changes: dict[str, str | None], user_id: str | None) -> None:
    form = recorded("in_text", **changes)
    message = parse(form, NOW)
    assert message
    assert [one.user_id for one in seen(form, message)] == ([user_id] if user_id else [])


def test_several_files_and_their_caption_are_kept() -> None:
    files = {f"MediaUrl{n}": f"https://api.twilio.com/{n}" for n in range(3)}
    types = {f"MediaContentType{n}": kind for n, kind in enumerate(["image/jpeg", "application/pdf"])}
    message = parse(recorded("in_voice", NumMedia="3", Body="See these", **files, **types), NOW)
    assert message
    assert [part.kind for part in message.parts] == ["text", "media", "media", "media"]
    assert [part.media_type for part in message.parts if isinstance(part, Media)] == [
        "image/jpeg",
        "application/pdf",
        "application/octet-stream",
    ]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"Body": "", "ButtonText": "Yes"}, "Yes"),
        ({"Body": "", "ListTitle": "Nairobi", "ListId": "1"}, "Nairobi"),
        ({"Body": "Nairobi", "ListTitle": "Nairobi"}, "Nairobi"),
        ({"Body": "", "MessageType": "poll"}, ""),
        ({"Body": None}, ""),
    ],
    ids=["button", "list without body", "list", "what nobody can show", "no body"],
)
def test_the_words_are_found_wherever_they_are(changes: dict[str, str | None], text: str) -> None:
    message = parse(recorded("in_text", **changes), NOW)
    assert message
    assert message.text == text
    assert len(message.parts) == bool(text)


@pytest.mark.parametrize("flag", ["Forwarded", "FrequentlyForwarded"])
def test_what_somebody_else_wrote_is_marked_so(flag: str) -> None:
    message = parse(recorded("in_text", Body="erase my data", **{flag: "true"}), NOW)
    assert message
    assert message.parts == (Forwarded(), Text(text="erase my data"))
    message = parse(recorded("in_text", Body="erase my data", **{flag: "false"}), NOW)
    assert message
    assert not message.is_forwarded


def test_a_place_is_not_also_said_in_words() -> None:
    assert parse(recorded("in_location", Body="KICC"), NOW) == parse(recorded("in_location"), NOW)


def test_a_text_too_long_to_keep_is_cut_and_says_so() -> None:
    message = parse(recorded("in_text", Body="x" * (TEXT_CHARS_MAX + 1)), NOW)
    assert message
    assert message.parts == (Text(text="x" * TEXT_CHARS_MAX), Text(text=CUT))


def test_what_is_not_whatsapp_does_not_concern_us() -> None:
    assert parse(recorded("in_text", From="+254712345678", To="+14155238886"), NOW) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"From": None}, {"To": None}, {"From": ""}, {"From": "whatsapp:"}, {"From": "whatsapp: 254712345678"},
        {"From": "whatsapp:+254 712"}, {"From": "whatsapp:+" + "1" * 5_000}, {"From": "+254712345678"},
        {"To": "whatsapp:\n+1"}, {"MessageSid": None}, {"MessageSid": ""}, {"MessageSid": "S" * 5_000},
        {"MessageSid": "SM 1"}, {"MessageSid": "SM" + "٣" * 32}, {"NumMedia": "x"}, {"NumMedia": "-1"},
        {"NumMedia": "9" * 5_000}, {"NumMedia": "11"}, {"NumMedia": "1"}, {"NumMedia": "٣"}, {"NumMedia": "1.0"},
        {"NumMedia": "1", "MediaUrl0": "file:///etc/passwd"},
        {"NumMedia": "1", "MediaUrl0": "https://x/" + "y" * 3_000},
        {"NumMedia": "1", "MediaUrl0": "https://x/", "MediaContentType0": "y" * 200},
        {"Latitude": "91", "Longitude": "0"}, {"Latitude": "0"}, {"Longitude": "0"},
        {"Latitude": "nan", "Longitude": "0"}, {"Latitude": "9" * 5_000, "Longitude": "0"},
        {"Latitude": "1e3", "Longitude": "0"}, {"Latitude": "0", "Longitude": "180.1"},
        {"OriginalRepliedMessageSid": "x" * 300}, {"OriginalRepliedMessageSid": "a b"},
    ],
    ids=str,
)  # fmt: skip
def test_what_twilio_does_not_send_is_refused(changes: dict[str, str | None]) -> None:
    with pytest.raises(ValueError, match=r"\w+"):
        parse(recorded("in_text", **changes), NOW)


def test_a_field_with_two_values_is_refused_because_their_order_is_not_signed() -> None:
    with pytest.raises(ValueError, match="two values"):
        parse([*recorded("in_text"), ("Body", "another")], NOW)
    assert parse([*recorded("in_text"), ("NumMedia", "0")], NOW) == parse(recorded("in_text"), NOW)


@examples(deadline=None)
@given(st.dictionaries(st.sampled_from([name for name, _ in recorded("in_location")]), words))
def test_whatever_a_form_holds_it_is_a_message_or_refused(changes: Mapping[str, str]) -> None:
    try:
        message = parse(recorded("in_location", **changes), NOW)
    except ValueError:
        return
    assert message is None or message.event_id


@pytest.mark.parametrize(
    ("name", "status", "error"),
    [
        ("status_sent", "sent", None),
        ("status_delivered", "delivered", None),
        ("status_read", "read", None),
        ("status_window_closed", "undelivered", "24 hours"),
    ],
)
def test_a_status_callback_becomes_a_status(name: str, status: str, error: str | None) -> None:
    found = parse_status(recorded(name))
    assert found
    assert (found.provider_message_id, found.status) == ("SM" + "b" * 32, status)
    assert (found.error is None) if error is None else (error in (found.error or "") and "63016" in (found.error or ""))


def test_a_status_that_says_nothing_is_ignored_and_one_that_is_none_refused() -> None:
    assert parse_status(recorded("status_sent", MessageStatus="accepted")) is None
    for changes in (
        {"MessageStatus": None},
        {"MessageSid": ""},
        {"ErrorCode": "9" * 5_000},
        {"MessageStatus": "Sent!"},
    ):
        with pytest.raises(ValueError, match="Twilio"):
            parse_status(recorded("status_sent", **changes))


# Sending, over real sockets.


def settings(url: str, **changes: Any) -> Settings:
    """Settings that speak to `url`."""
    return Settings(
        _env_file=None,
        twilio_account_sid=SANDBOX_ACCOUNT_SID,
        twilio_auth_token=SecretStr(SANDBOX_AUTH_TOKEN),
        twilio_whatsapp_from=SANDBOX_WHATSAPP_FROM,
        twilio_base_url=url,
        **changes,
    )


def outbound(*parts: Part, outbox_id: int = 17, to: str = TO) -> OutboundMessage:
    """A message to send."""
    recipient = Address(ChannelName.WHATSAPP, SANDBOX_WHATSAPP_FROM, to, to)
    return OutboundMessage(outbox_id, 1, recipient, UUID(int=1), 2, parts or (Text(text="Habari"),), NOW)


async def send(url: str, message: OutboundMessage | None = None, timeout_s: float = 5.0) -> str:
    """Send once through a channel of its own."""
    channel = TwilioChannel(settings(url), timeout_s=timeout_s)
    try:
        return await channel.send(message or outbound())
    finally:
        await channel.close()


async def test_a_message_is_sent_as_a_form_with_our_reference_in_the_callback() -> None:
    async with wire(answer(201, ACCEPTED)) as twilio:
        channel = TwilioChannel(settings(f"{twilio.url}/twilio/", public_url="https://bot.example.com/"))
        parts = Text(text="Wapi?"), Choices(options=("Nairobi", "Mombasa"))
        assert await channel.send(outbound(*parts)) == ACCEPTED["sid"]
        assert await channel.send(outbound(Media(media_type="image/png", ref="https://x.example/1", caption="Look")))
        await channel.close()
    [(head, body), (_, second)] = twilio.requests
    assert head.startswith(f"POST /twilio/2010-04-01/Accounts/{SANDBOX_ACCOUNT_SID}/Messages.json HTTP/1.1\r\n")
    assert "Authorization: Basic " in head
    assert parse_qs(body.decode()) == {
        "To": [TO],
        "From": [SANDBOX_WHATSAPP_FROM],
        "Body": ["Wapi?\n\n1. Nairobi\n2. Mombasa"],
        "StatusCallback": ["https://bot.example.com/webhooks/twilio/status?outbox=17"],
    }
    assert (parse_qs(second.decode())["MediaUrl"], parse_qs(second.decode())["Body"]) == (
        ["https://x.example/1"],
        ["Look"],
    )


async def test_the_real_twilio_is_not_given_a_callback_it_could_not_reach() -> None:
    channel = TwilioChannel(settings("https://api.twilio.com"))
    public = TwilioChannel(settings("https://api.twilio.com", public_url="https://bot.example.com"))
    assert (channel._callback, public._callback) == (None, "https://bot.example.com/webhooks/twilio/status?outbox=")


async def test_a_text_longer_than_whatsapp_allows_is_several_messages_whose_statuses_say_which() -> None:
    long = outbound(Text(text="word " * 500))
    async with wire(answer(201, ACCEPTED)) as twilio:
        channel = TwilioChannel(settings(twilio.url))
        assert channel.pieces(long) == 2
        for piece in range(2):
            await channel.send(replace(long, piece=piece))
        await channel.close()
    forms = [parse_qs(body.decode()) for _, body in twilio.requests]
    bodies = [form["Body"][0] for form in forms]
    assert TWILIO.text_max - 10 < len(bodies[0]) <= TWILIO.text_max
    assert " ".join(bodies) == ("word " * 500).strip()
    assert [form["StatusCallback"][0].partition("?")[2] for form in forms] == [
        "outbox=17&piece=0&of=2",
        "outbox=17&piece=1&of=2",
    ]


async def test_an_empty_message_is_refused_before_twilio_hears_of_it() -> None:
    async with wire(answer(201, ACCEPTED)) as twilio:
        with pytest.raises(Undeliverable, match="empty"):
            await send(twilio.url, outbound(Text(text="  ")))
    assert twilio.requests == []


TOO_MANY = json.loads((RECORDINGS / "send_too_many.json").read_text())


def problem(code: int, status: int) -> dict[str, object]:
    """Twilio's error body."""
    return {"code": code, "message": f"About {TO}", "more_info": "https://www.twilio.com/docs", "status": status}


@pytest.mark.parametrize(
    ("status", "body", "headers", "error", "said"),
    [
        (429, TOO_MANY, "Retry-After: 7\r\n", NotSent("", retry_after_s=7.0, whole_channel=True), "slow down"),
        (429, TOO_MANY, "", NotSent("", retry_after_s=2.0, whole_channel=True), "slow down"),
        (429, problem(63018, 429), "Retry-After: x\r\n", NotSent("", retry_after_s=2.0), "slow down"),
        (429, b"<html>", "Retry-After: 999999\r\n", NotSent("", retry_after_s=3600.0), "slow down"),
        (503, b"", "Retry-After: 1\r\n", NotSent("", retry_after_s=1.0), "not available"),
        (401, problem(20003, 401), "", NotSent("", retry_after_s=60.0, whole_channel=True), "TWILIO_AUTH_TOKEN"),
        (400, problem(21211, 400), "", Undeliverable(""), "not a number that WhatsApp can reach. (Twilio 21211)"),
        (400, problem(21610, 400), "", Undeliverable(""), "opted out"),
        (404, b"nothing", "", Undeliverable(""), "could not deliver"),
        (400, {"code": "21211"}, "", Undeliverable(""), "could not deliver"),
        (408, b"", "", OutcomeUnknown(""), "status 408"),
        (500, problem(20500, 500), "", OutcomeUnknown(""), "status 500"),
        (502, b"<html>bad gateway</html>", "", OutcomeUnknown(""), "status 502"),
        (504, b"", "", OutcomeUnknown(""), "status 504"),
        (302, b"", "Location: https://elsewhere.example/\r\n", OutcomeUnknown(""), "status 302"),
        (200, b"<html>log in</html>", "", OutcomeUnknown(""), "could not be read"),
        (201, b'{"sid": "SM', "", OutcomeUnknown(""), "could not be read"),
        (201, [], "", OutcomeUnknown(""), "could not be read"),
        (201, {}, "", OutcomeUnknown(""), "names no message"),
        (201, ACCEPTED | {"sid": 17}, "", OutcomeUnknown(""), "names no message"),
        (201, ACCEPTED | {"date_created": 17}, "", OutcomeUnknown(""), "could not be read"),
    ],
)
async def test_every_answer_means_one_of_three_things(
    status: int, body: object, headers: str, error: Exception, said: str
) -> None:
    async with wire(answer(status, body, headers)) as twilio:
        with pytest.raises(type(error)) as raised:
            await send(twilio.url)
    assert vars(raised.value) == vars(error)
    assert said in str(raised.value)
    assert TO not in str(raised.value)
    assert len(twilio.requests) == 1, "a message must never be sent again by the client itself"


def test_retry_after_may_be_a_date() -> None:
    later = format_datetime(NOW + timedelta(seconds=90), usegmt=True)
    for given_date, wait_s in ((later, 90.0), (format_datetime(NOW - timedelta(days=1)), 0.0)):
        found = refusal(429, "{}", given_date, NOW)
        assert isinstance(found, NotSent)
        assert found.retry_after_s == wait_s


async def test_a_server_that_is_not_there_was_sent_nothing() -> None:
    for url in (f"http://127.0.0.1:{closed_port()}", "http://nowhere.invalid", f"https://127.0.0.1:{closed_port()}"):
        with pytest.raises(NotSent) as raised:
            await send(url)
        assert not raised.value.whole_channel


async def test_a_server_that_takes_no_connection_in_time_was_sent_nothing() -> None:
    """Its queue of connections is full, so the kernel answers nothing at all."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = []
        for _ in range(4):
            waiting.append(socket.socket())
            waiting[-1].setblocking(False)
            waiting[-1].connect_ex(listener.getsockname())
        with pytest.raises(NotSent):
            await send(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout_s=1.5)
        for connection in waiting:
            connection.close()


@pytest.mark.parametrize(
    "behaviour", ["reset", "close", "hang", b"HTTP/1.1 201 X\r\nContent-Length: 900\r\n\r\n{", b"nonsense"]
)
async def test_a_server_that_had_the_message_and_fell_silent_may_have_sent_it(behaviour: Behaviour) -> None:
    async with wire(behaviour) as twilio:
        with pytest.raises(OutcomeUnknown):
            await send(twilio.url, timeout_s=1.5)
    assert len(twilio.requests) == 1


async def test_a_connection_is_kept_for_the_next_message() -> None:
    async with wire(answer(201, ACCEPTED)) as twilio:
        channel = TwilioChannel(settings(twilio.url))
        await asyncio.gather(*(channel.send(outbound(outbox_id=number)) for number in range(8)))
        session = channel._http._session
        assert isinstance(session, aiohttp.ClientSession)
        await channel.close()
        assert session.closed
    assert len(twilio.requests) == 8


# Asking afterwards.


def listed(*messages: dict[str, object], more: str | None = None) -> bytes:
    """A page of the message list."""
    return answer(200, {"messages": list(messages), "next_page_uri": more, "page": 0, "page_size": FIND_PAGE})


def message_of_twilio(sid: str, at: datetime, body: str = "Habari", **changes: object) -> dict[str, object]:
    """One message in that list."""
    return {**ACCEPTED, "sid": sid, "body": body, "to": TO, "date_created": format_datetime(at), **changes}


SINCE = datetime(2026, 11, 22, 0, 0, 30, tzinfo=UTC)


async def test_a_message_is_found_by_what_it_says_and_when() -> None:
    answers = [
        listed(
            message_of_twilio("SM6", SINCE + timedelta(seconds=9), "Habari"),
            message_of_twilio("SM5", SINCE + timedelta(seconds=8), "Habari", num_media="1"),
            message_of_twilio("SM4", SINCE + timedelta(seconds=7), "Habari "),
            message_of_twilio("SM3", SINCE + timedelta(seconds=6), "Something else"),
            message_of_twilio("SM2", SINCE + timedelta(seconds=5), "Habari"),
            more="/2010-04-01/Accounts/AC1/Messages.json?Page=1",
        ),
        listed(message_of_twilio("SM1", SINCE - timedelta(days=1), "Habari")),
    ]
    async with wire(*answers, *answers, answers[1]) as twilio:
        channel = TwilioChannel(settings(twilio.url))
        assert await channel.find_sent(outbound(), SINCE, {"SM2"}) == "SM4"
        assert await channel.find_sent(outbound(), SINCE, {"SM2", "SM4", "SM6"}) is None
        assert await channel.find_sent(outbound(), SINCE, set()) is None
        await channel.close()
    query = dict(parse_qsl(twilio.requests[0][0].split()[1].partition("?")[2]))
    assert query["To"] == TO
    assert query["From"] == SANDBOX_WHATSAPP_FROM
    assert query["DateSent>"] == "2026-11-21", "clocks differ, and shortly after midnight that is another day"
    assert twilio.requests[1][0].startswith("GET /2010-04-01/Accounts/AC1/Messages.json?Page=1 ")


async def test_looking_has_an_end_and_says_when_it_cannot_be_sure() -> None:
    page = [message_of_twilio(f"SM{number}", SINCE, "Other") for number in range(FIND_PAGE)]
    async with wire(listed(*page, more="/2010-04-01/Accounts/AC1/Messages.json?Page=1")) as twilio:
        channel = TwilioChannel(settings(twilio.url))
        with pytest.raises(Unknowable):
            await channel.find_sent(outbound(), SINCE, set())
        await channel.close()
    assert len(twilio.requests) <= FIND_MAX // FIND_PAGE + 1


@pytest.mark.parametrize(
    "behaviour",
    [answer(404, problem(20404, 404)), answer(500, b""), answer(200, b"<html>"), answer(200, {"messages": 5}),
     answer(200, {"messages": [{}], "next_page_uri": None}), "close"],
)  # fmt: skip
async def test_no_usable_answer_is_never_taken_for_a_no(behaviour: Behaviour) -> None:
    async with wire(behaviour) as twilio:
        channel = TwilioChannel(settings(twilio.url))
        with pytest.raises(OutcomeUnknown):
            await channel.find_sent(outbound(), SINCE, set())
        await channel.close()


# Against the simulator.


async def truth(sandbox: Sandbox, body: str) -> list[dict[str, Any]]:
    """What the simulator really sent with this body."""
    async with aiohttp.ClientSession() as session, session.get(f"{sandbox.url}/twilio/_truth") as response:
        return [row for row in await response.json() if row.get("kind") == "send" and row["body"] == body]


@pytest.mark.parametrize(
    ("fault", "error", "copies"),
    [
        ("ok", None, 1),
        ({"fault": "429", "retry_after": 3}, NotSent, 0),
        ("refuse", OutcomeUnknown, 0),
        ("reset_before_read", OutcomeUnknown, 0),
        ("reset_after_execute", OutcomeUnknown, 1),
        ("500_not_executed", OutcomeUnknown, 0),
        ("500_executed", OutcomeUnknown, 1),
        ("200_html", OutcomeUnknown, 0),
        ("200_truncated_json", OutcomeUnknown, 1),
        ({"fault": "execute_then_hang", "seconds": 30}, OutcomeUnknown, 1),
    ],
    ids=str,
)
async def test_after_every_fault_asking_tells_what_really_happened(
    sandbox: Sandbox, fault: str | dict[str, object], error: type[Exception] | None, copies: int
) -> None:
    body = f"Fault {json.dumps(fault)}"
    message = outbound(Text(text=body))
    started = datetime.now(UTC)
    channel = TwilioChannel(settings(f"{sandbox.url}/twilio"), timeout_s=1.5 if "hang" in body else 10.0)
    assert sandbox.post("/twilio/_faults", json.dumps({"plan": [fault], "match": {"method": "POST"}})) < 300
    if error is None:
        sid: str | None = await channel.send(message)
    else:
        with pytest.raises(error):
            await channel.send(message)
        sid = None
    rows = await truth(sandbox, body)
    assert len(rows) == copies
    found = await channel.find_sent(message, started, set())
    assert found == (rows[0]["sid"] if rows else None)
    assert sid in (found, None)
    assert await channel.find_sent(message, started, {row["sid"] for row in rows}) is None
    await channel.close()


async def test_a_template_is_sent_by_its_id_and_found_by_its_text(sandbox: Sandbox) -> None:
    use = TemplateUse(
        "reminder", "en", "HX" + "0" * 31 + "1", {"1": "Ada", "2": "te{{1}}a"}, "Hi Ada, reminder: te{{1}}a"
    )
    message = replace(outbound(to="whatsapp:+254733000111"), template=use)
    channel = TwilioChannel(settings(f"{sandbox.url}/twilio"))
    started = datetime.now(UTC)
    sid = await channel.send(message)
    [row] = await truth(sandbox, use.text)
    assert (row["sid"], row["content_sid"]) == (sid, use.provider_ref)
    assert await channel.find_sent(message, started, set()) == sid
    assert await channel.find_sent(replace(message, template=None), started, set()) is None
    with pytest.raises(OutsideWindow, match="does not know the template"):
        await channel.send(replace(message, template=replace(use, provider_ref="HX" + "9" * 32)))
    await channel.close()


@pytest.mark.parametrize(
    ("code", "outside", "opted_out"),
    [("63016", True, False), ("63041", True, False), ("21610", False, True), ("63003", False, False)],
)
def test_what_a_failure_asks_for_is_told(code: str, outside: bool, opted_out: bool) -> None:
    status = parse_status(recorded("status_window_closed", ErrorCode=code))
    assert status is not None
    assert (status.outside_window, status.opted_out) == (outside, opted_out)


async def test_the_simulator_refuses_what_twilio_refuses(sandbox: Sandbox) -> None:
    for to, said in (("+15005550001", "21211"), ("+15005550003", "21408"), ("+15005550004", "21610")):
        with pytest.raises(Undeliverable, match=said):
            await send(f"{sandbox.url}/twilio", outbound(to=f"whatsapp:{to}"))


@pytest.mark.parametrize("reply", REPLIES)
async def test_the_simulator_takes_every_piece_of_a_rich_reply_and_finds_it_again(sandbox: Sandbox, reply: str) -> None:
    now = datetime.now(UTC)
    message = replace(outbound(*REPLIES[reply], to=f"whatsapp:+25473{sum(reply.encode()):07d}"), created_at=now)
    channel = TwilioChannel(settings(f"{sandbox.url}/twilio"))
    sent: list[str] = []
    for piece in range(channel.pieces(message)):
        sid = await channel.send(replace(message, piece=piece))
        assert await channel.find_sent(replace(message, piece=piece), now, sent) == sid
        sent.append(sid)
    await channel.close()
    assert len(set(sent)) == len(sent)
