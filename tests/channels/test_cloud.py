"""WhatsApp by Meta's Cloud API: signatures, what webhooks become, and what each way of sending and failing becomes."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import jsonschema
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from pydantic import SecretStr

from bot.sandbox.meta import check
from channels.base import NotSent, OutcomeUnknown, Undeliverable, Unknowable
from channels.degrade import CLOUD, CUT, pieces
from channels.whatsapp import WhatsAppChannel
from channels.whatsapp.cloud import CloudChannel, challenge, is_signature, parse, payload, read_answer, verify
from core.changes import Change, Kind
from core.messages import (
    TEXT_CHARS_MAX,
    Address,
    Card,
    ChannelName,
    Choices,
    Contact,
    Fact,
    Forwarded,
    InboundMessage,
    Location,
    Media,
    OutboundMessage,
    Part,
    Table,
    Text,
    Voice,
)
from core.outbox import ProviderStatus
from core.renumber import Renumbered, Seen
from core.settings import (
    SANDBOX_ACCESS_TOKEN,
    SANDBOX_ACCOUNT_SID,
    SANDBOX_APP_SECRET,
    SANDBOX_AUTH_TOKEN,
    SANDBOX_PHONE_NUMBER_ID,
    SANDBOX_WHATSAPP_FROM,
    Settings,
)
from tests.channels.wire import Behaviour, answer, closed_port, wire

RECORDINGS = Path(__file__).parent / "recordings" / "meta"
NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
ACCOUNT = SANDBOX_PHONE_NUMBER_ID
TO = "254712345678"
USER_ID = "KE.1410018717833190"
WAMID = "wamid.HBgMMjU0NzEyMzQ1Njc4FQIAERgS"
ACCEPTED = {
    "messaging_product": "whatsapp",
    "contacts": [{"input": TO, "wa_id": TO}],
    "messages": [{"id": WAMID}],
}
EXAMPLES: dict[str, Any] = json.loads((RECORDINGS / "webhook_examples.json").read_text())
SIGNATURES = json.loads((RECORDINGS / "signatures.json").read_text())
SCHEMA: dict[str, Any] = json.loads((RECORDINGS / "messages_schema.json").read_text())


def recorded(name: str) -> dict[str, Any]:
    """A recorded webhook."""
    found: dict[str, Any] = json.loads((RECORDINGS / f"{name}.json").read_text())
    return found


def read(webhook: object) -> Any:
    """Parse a webhook for our number."""
    return parse(json.dumps(webhook).encode(), ACCOUNT, NOW)


def said(**message: Any) -> dict[str, Any]:
    """The recorded text message with other fields; None takes a field away."""
    webhook = recorded("in_text")
    item = webhook["entry"][0]["changes"][0]["value"]["messages"][0]
    item |= message
    for name in [name for name, value in item.items() if value is None]:
        del item[name]
    return webhook


def follows(value: object, name: str) -> None:
    """Hold a value against Meta's own description of the endpoint."""
    schema = {"$ref": f"#/components/schemas/{name}", "components": SCHEMA["components"]}
    jsonschema.Draft202012Validator(schema).validate(value)


# Who is believed.


@pytest.mark.parametrize("vector", SIGNATURES, ids=[vector["name"] for vector in SIGNATURES])
def test_published_signatures_hold_and_no_other(vector: dict[str, str]) -> None:
    body, signature, secret = vector["body"].encode(), vector["signature"], vector["app_secret"]
    assert is_signature(signature)
    assert verify(body, signature, secret)
    assert not verify(body, signature, secret + "x")
    assert not verify(body + b" ", signature, secret)
    assert not verify(body, signature.removeprefix("sha256="), secret)
    assert not verify(body, signature.upper(), secret)
    assert not verify(body, "", "")


def test_a_signature_is_over_the_bytes_and_not_over_what_they_mean() -> None:
    vector = SIGNATURES[2]
    same = json.dumps(json.loads(vector["body"]), ensure_ascii=False, separators=(",", ":")).encode()
    assert json.loads(same) == json.loads(vector["body"])
    assert not verify(same, vector["signature"], vector["app_secret"])


def test_no_secret_lets_nobody_in() -> None:
    signature = "sha256=" + hmac.new(b"", b"test", hashlib.sha256).hexdigest()
    assert not verify(b"test", signature, "")
    assert not verify(b"test", "é" * 71, "secret")
    assert not verify(b"test", "\udcff" * 71, "secret")


def test_the_challenge_is_answered_to_whoever_knows_the_token() -> None:
    asked = {"hub.mode": "subscribe", "hub.challenge": "1158201444", "hub.verify_token": "words"}
    assert challenge(asked, "words") == "1158201444"
    refused: list[tuple[dict[str, str], str]] = [
        (asked, ""),
        (asked | {"hub.verify_token": ""}, ""),
        (asked | {"hub.verify_token": "Words"}, "words"),
        (asked | {"hub.verify_token": "é"}, "words"),
        (asked | {"hub.mode": "unsubscribe"}, "words"),
        (asked | {"hub.challenge": ""}, "words"),
        (asked | {"hub.challenge": "a b"}, "words"),
        (asked | {"hub.challenge": "x" * 300}, "words"),
        ({}, "words"),
    ]
    for query, token in refused:
        assert challenge(query, token) is None, query


# What webhooks become.

PICTURE = Media(media_type="image/jpeg", ref="1003383421387256", caption="Taj Mahal")
PLACE = Location(
    latitude=37.44221496582,
    longitude=-122.16165924072,
    label="Philz Coffee, 101 Forest Ave, Palo Alto, CA 94301",
)
TEXT_ID = "wamid.HBgLMTY1MDM4Nzk0MzkVAgASGBQzQTRBNjU5OUFFRTAzODEwMTQ0RgA="
SHEENA = Address(ChannelName.WHATSAPP, ACCOUNT, "16505551234", "16505551234")
ORDER = Table(
    title="Order",
    columns=("Item", "Quantity", "Price each"),
    rows=(("di9ozbzfi4", "2", "30 USD"), ("nqryix03ez", "1", "25 USD")),
)


def at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def said_by_sheena(event_id: str, seconds: int, *parts: Part, reply_to: str | None = None) -> InboundMessage:
    return InboundMessage(SHEENA, event_id, parts, at(seconds), "Sheena Nelson", reply_to=reply_to)


def changed_by_sheena(event_id: str, seconds: int, kind: Kind, target: str, *parts: Part, emoji: str = "") -> Change:
    return Change(SHEENA, event_id, kind, target, at(seconds), parts, (emoji,) if emoji else ())


def wamid(end: str) -> str:
    return f"wamid.HBgLMTY1MDM4Nzk0MzkVAgA{end}"


WANTED: dict[str, InboundMessage | Change | Renumbered | None] = {
    "Text Message": said_by_sheena(TEXT_ID, 1749416383, Text(text="Does it come in another color?")),
    "Text Message with Context (Product Inquiry)": said_by_sheena(
        wamid("SGBQzQTA2NTUwRkNEMDdFQjJCRUU0NQA="),
        1750016800,
        Text(text="Is this still available?"),
        reply_to=wamid("RGA9wcm9kdWN0X2lucXVpcnkA"),
    ),
    "Text Message from Click to WhatsApp Ad": said_by_sheena(
        wamid("SGBQzQUQ0N0VFMDA2MTQ0RkJFNkNDNAA="), 1750275992, Text(text="Hello! Can I get more info on this?")
    ),
    "Reaction Message": changed_by_sheena(
        TEXT_ID, 1749419544, "reaction", wamid("RGBI0RTJEOTc2ODVERUY5RDlGNkYA"), emoji="👍"
    ),
    "Image Message": said_by_sheena(TEXT_ID, 1744344496, PICTURE),
    "Location Message": said_by_sheena(wamid("SGBQzQTU2MjZEMDBGRkE3MENEMDE0RQA="), 1744344496, PLACE),
    "Contact Sharing Message": said_by_sheena(
        TEXT_ID, 1744344496, Contact(name="Lucía Gómez", phones=("+1 (983) 555-2319",))
    ),
    "Unsupported Message": said_by_sheena("wamid.HBgLMTQyMDU1NTA3NDkVAgASGBI5N0MwRjg0RTVBNUI1RDA2OTkA", 1750090702),
    "Button Message": said_by_sheena(
        wamid("SGBQzQUU0M0MxQzQzMUJCMTMwNUZFOQA="),
        1750091045,
        Text(text="Unsubscribe"),
        reply_to=wamid("RGBJFNjk2OTMwNEZCQjhGMzUyQUYA"),
    ),
    "Interactive List Reply Message": said_by_sheena(
        wamid("SGBQzQUJDQ0NDM0FEODY4ODkzOTc5RgA="),
        1749854575,
        Text(text="Priority Mail Express"),
        reply_to=wamid("RGBJGMzEyNzhENTZDMzNGODlDRDgA"),
    ),
    "Interactive Button Reply Message": said_by_sheena(
        wamid("SGBQzQTZBQzg0MzQ4QjRCM0NGNkVGOAA="),
        1750025136,
        Text(text="Cancel"),
        reply_to=wamid("RGBI3MEM2RUJFNkI0RENGQTVDRjUA"),
    ),
    "Order Message": said_by_sheena(wamid("SGBQzQTEyQjFGNzI1QTQxMjI5QTMyOQA="), 1750096325, ORDER),
    "System Message": Renumbered(
        ChannelName.WHATSAPP,
        ACCOUNT,
        ("12195555358", "16505551234"),
        "wamid.HBgLMTk4MzU1NTE5NzQVAgASGAoxMTgyMDg2MjY3AA==",
        "number",
    ),
    "Group Create Message": None,
    "Group Settings Update": None,
    "Group Remove Participants": None,
    "in_edit": changed_by_sheena(
        wamid("SGBQzQUVESVQA"), 1749416400, "edit", TEXT_ID, Text(text="Does it come in blue?")
    ),
    "in_edit_caption": changed_by_sheena(
        wamid("SGBQzQUVESVQB"),
        1749416401,
        "edit",
        TEXT_ID,
        PICTURE.model_copy(update={"caption": "Taj Mahal, Agra"}),
    ),
    "in_revoke": changed_by_sheena(wamid("SGBQzQVJFVk9LRQA="), 1749416500, "delete", TEXT_ID),
    "in_reaction_removed": changed_by_sheena(
        wamid("SGBQzQVJFQUNUAA=="), 1749419600, "reaction", wamid("RGBI0RTJEOTc2ODVERUY5RDlGNkYA")
    ),
    "in_voice": said_by_sheena(
        wamid("SGBQzQVZPSUNFAA=="), 1749419700, Voice(media_type="audio/ogg", ref="1908647269898587")
    ),
    "in_form": said_by_sheena(
        wamid("SGBQzQUZPUk0A"),
        1749419800,
        Card(title="flow", facts=(Fact(label="day", value="2026-12-01"), Fact(label="guests", value="4"))),
        reply_to=wamid("RGBJGT1JNAA=="),
    ),
    "in_user_id_changed": Renumbered(
        ChannelName.WHATSAPP,
        ACCOUNT,
        ("US.13491208655302741918", "US.99887766554433221100"),
        "wamid.HBgLMTk4MzU1NTE5NzQVAgASGAoxMTgyMDg2MjY4AA==",
        "user_id",
        ("US.13491208655302741918",),
        "US.99887766554433221100",
    ),
    "in_text": InboundMessage(
        Address(ChannelName.WHATSAPP, ACCOUNT, TO, TO),
        "wamid.HBgMMjU0NzEyMzQ1Njc4FQIAEhgg",
        (Text(text="Hi"),),
        at(1779372805),
        "Ada",
    ),
    "in_without_number": InboundMessage(
        Address(ChannelName.WHATSAPP, ACCOUNT, USER_ID, USER_ID),
        "wamid.HBgMMjU0NzEyMzQ1Njc4FQIAEhgh",
        (Text(text="Hi"),),
        at(1779372806),
        "Ada",
    ),
}
"""What each of Meta's own examples, and each recording of ours, means to us."""


def test_every_recording_has_its_meaning() -> None:
    recordings = {path.stem for path in RECORDINGS.glob("in_*.json")}
    assert WANTED.keys() == EXAMPLES.keys() | recordings


@pytest.mark.parametrize("name", WANTED)
def test_each_recording_becomes_what_it_means(name: str) -> None:
    batch = read(EXAMPLES[name] if name in EXAMPLES else recorded(name))
    assert (batch.statuses, batch.unreadable) == ((), 0)
    wanted = WANTED[name]
    assert batch.messages == ((wanted,) if isinstance(wanted, InboundMessage) else ())
    assert batch.changes == ((wanted,) if isinstance(wanted, Change) else ())
    assert batch.renumbered == ((wanted,) if isinstance(wanted, Renumbered) else ())


def test_the_lasting_id_behind_a_number_is_seen() -> None:
    [message] = read(recorded("in_text")).messages
    assert read(recorded("in_text")).seen == (Seen(message.sender, USER_ID, message.event_id),)
    assert read(recorded("in_without_number")).seen == ()
    assert read(EXAMPLES["Text Message"]).seen == ()


def test_a_person_is_known_by_number_and_without_one_by_metas_id() -> None:
    [message] = read(recorded("in_text")).messages
    assert (message.sender.person, message.sender.room, message.display_name) == (TO, TO, "Ada")
    [hidden] = read(recorded("in_without_number")).messages
    assert (hidden.sender.person, hidden.sender.room, hidden.display_name) == (USER_ID, USER_ID, "Ada")


@pytest.mark.parametrize(
    ("kind", "content", "part"),
    [
        (
            "audio",
            {"mime_type": "audio/ogg; codecs=opus", "sha256": "x", "id": "1", "voice": True},
            Voice(media_type="audio/ogg", ref="1"),
        ),
        ("audio", {"mime_type": "audio/mpeg", "id": "1", "voice": False}, Media(media_type="audio/mpeg", ref="1")),
        ("voice", {"mime_type": "audio/ogg", "id": "1"}, Voice(media_type="audio/ogg", ref="1")),
        ("video", {"mime_type": "video/mp4", "id": "1"}, Media(media_type="video/mp4", ref="1")),
        ("sticker", {"mime_type": "image/webp", "id": "1", "animated": False}, Media(media_type="image/webp", ref="1")),
        (
            "document",
            {"mime_type": "application/pdf", "id": "1", "filename": "a\nb.pdf", "caption": "Read it"},
            Media(media_type="application/pdf", ref="1", filename="a b.pdf", caption="Read it"),
        ),
        ("image", {"id": "1", "mime_type": "<script>"}, Media(media_type="application/octet-stream", ref="1")),
        ("location", {"latitude": "-1.28", "longitude": 36.8}, Location(latitude=-1.28, longitude=36.8)),
    ],
)
def test_files_and_places_are_kept(kind: str, content: dict[str, Any], part: Part) -> None:
    batch = read(said(**{"type": kind, "text": None, kind: content}))
    assert [message.parts for message in batch.messages] == [(part,)]


@pytest.mark.parametrize(
    "message",
    [
        {"type": "system", "system": {"body": "Something else", "type": "customer_identity_changed"}},
        {"type": "system", "system": {"type": ["user_changed_number"]}},
        {"type": "system"},
        {"type": "request_welcome"},
        {"type": "unsupported", "unsupported": {"type": "edit"}, "errors": [{"code": 131051}]},
        {"group_id": "Y2FwaV9ncm91cDo"},
        {"group_id": "Y2FwaV9ncm91cDo", "type": "revoke", "revoke": {"original_message_id": "wamid.x"}},
    ],
    ids=str,
)
def test_what_nobody_says_to_us_is_left_out(message: dict[str, Any]) -> None:
    batch = read(said(**message))
    assert (batch.messages, batch.changes, batch.unreadable) == ((), (), 0)


@pytest.mark.parametrize(
    "message",
    [
        {"type": "reaction", "reaction": {"emoji": "👍"}},
        {"type": "edit", "edit": {"original_message_id": "wamid.x", "message": {"type": "poll"}}},
        {"type": "edit", "edit": {"message": {"type": "text", "text": {"body": "new"}}}},
        {"type": "revoke", "revoke": "wamid.x"},
        {"type": "revoke"},
    ],
    ids=str,
)
def test_a_change_that_does_not_say_what_it_changes_costs_nothing_else(message: dict[str, Any]) -> None:
    batch = read(said(**message))
    assert (batch.messages, batch.changes, batch.unreadable) == ((), (), 1)


@pytest.mark.parametrize(
    "message",
    [
        {"type": "unsupported", "errors": [{"code": 131051}], "unsupported": {"type": "poll_creation"}},
        {"type": "a kind of next year", "something": {"new": 1}},
        {"type": "interactive", "interactive": {"type": "nfm_reply", "nfm_reply": {"response_json": "{}"}}},
        {"type": "interactive", "interactive": {"type": "nfm_reply", "nfm_reply": {"response_json": "{"}}},
        {"type": "order", "order": {"product_items": []}},
        {"type": "contacts", "contacts": [{"name": {}}]},
        {"type": None},
        {"type": 7},
        {"type": "text", "text": {}},
    ],
    ids=str,
)
def test_what_we_cannot_show_is_stored_without_words_so_that_the_answer_can_say_so(message: dict[str, Any]) -> None:
    [stored] = read(said(**{"text": None, **message})).messages
    assert stored.parts == ()


@pytest.mark.parametrize("flag", ["forwarded", "frequently_forwarded"])
def test_what_somebody_else_wrote_is_marked_so(flag: str) -> None:
    words = {"type": "text", "text": {"body": "erase my data"}}
    [message] = read(said(**words, context={flag: True})).messages
    assert message.parts == (Forwarded(), Text(text="erase my data"))
    picture = {"type": "image", "text": None, "image": {"id": "1", "mime_type": "image/png", "caption": "Look"}}
    [message] = read(said(**picture, context={flag: True})).messages
    assert message.is_forwarded
    assert message.text == "Look"
    [message] = read(said(**words, context={flag: False, "from": TO, "id": WAMID})).messages
    assert message.parts == (Text(text="erase my data"),)
    [message] = read(said(type="poll", text=None, context={flag: True})).messages
    assert message.parts == ()


def test_a_text_too_long_to_keep_is_cut_and_says_so() -> None:
    [message] = read(said(text={"body": "x" * (TEXT_CHARS_MAX + 1)})).messages
    assert message.parts == (Text(text="x" * TEXT_CHARS_MAX), Text(text=CUT))


def test_shared_contacts_are_kept_and_say_nothing_for_their_sender() -> None:
    cards = [
        {"name": {"formatted_name": "Ada\nsend 5 to 0700"}, "phones": [{"phone": "+1"}], "emails": [{"email": "a@b"}]},
        {"name": {"formatted_name": "y" * 900}, "phones": [{"phone": str(n)} for n in range(40)]},
    ]
    [message] = read(said(type="contacts", contacts=[*cards, {"name": {}}])).messages
    assert message.text == ""
    [ada, other] = message.parts
    assert ada == Contact(name="Ada send 5 to 0700", phones=("+1",), emails=("a@b",))
    assert isinstance(other, Contact)
    assert (len(other.name), len(other.phones)) == (128, 10)


def batched() -> dict[str, Any]:
    """Several entries, changes, messages and statuses in one webhook, and some that are not ours."""
    webhook = recorded("in_text")
    [entry] = webhook["entry"]
    text = entry["changes"][0]
    second = json.loads(json.dumps(text))
    second["value"]["messages"] += [
        said(id="wamid.2", text={"body": "two"})["entry"][0]["changes"][0]["value"]["messages"][0],
        {"from": "254700000000", "id": "wamid.3", "timestamp": "1779372805", "type": "text", "text": {"body": "three"}},
        {"from": "254700000000", "id": "wamid.4\0"},
        {"id": "wamid.5", "type": "text", "text": {"body": "from nobody"}},
        {"from": "254700000000", "type": "text", "text": {"body": "no id"}},
        {"from": "254700000000", "id": "wamid.6", "type": "text", "text": {"body": "a\0b"}},
        {"from": "254700000000", "id": "wamid.7", "type": "location", "location": {"latitude": 91, "longitude": 0}},
        {"from": "254700000000", "id": "wamid.8", "type": "image", "image": {}},
        "not an object",
    ]
    second["value"]["statuses"] = [
        {"id": "wamid.9", "status": "sent", "biz_opaque_callback_data": "outbox:12"},
        {"id": "wamid.9", "status": "played", "biz_opaque_callback_data": "somebody else's"},
        {"id": "wamid.9", "status": "deleted"},
        {"status": "sent"},
    ]
    other = json.loads(json.dumps(text))
    other["value"]["metadata"]["phone_number_id"] = "999"
    entries = [entry, {"changes": [second, other, {"field": "account_update", "value": {"event": "x"}}]}]
    return webhook | {"entry": [*entries, {"changes": [recorded("status_window_closed")["entry"][0]["changes"][0]]}]}


def test_a_batch_is_taken_apart_and_what_is_broken_costs_nothing_else() -> None:
    batch = read(batched())
    assert [message.event_id for message in batch.messages] == [
        "wamid.HBgMMjU0NzEyMzQ1Njc4FQIAEhgg",
        "wamid.HBgMMjU0NzEyMzQ1Njc4FQIAEhgg",
        "wamid.2",
        "wamid.3",
    ]
    assert batch.statuses[:2] == (
        ProviderStatus(12, "wamid.9", "sent", at=NOW),
        ProviderStatus(None, "wamid.9", "read", at=NOW),
    )
    assert batch.unreadable == 8


def test_a_failure_comes_with_our_reference_and_a_sentence_for_staff() -> None:
    [status] = read(recorded("status_window_closed")).statuses
    assert (status.outbox_id, status.provider_message_id, status.status) == (4711, WAMID, "failed")
    assert status.at == at(1750030073)
    assert status.error is not None
    assert "24 hours" in status.error
    assert "131047" in status.error


@pytest.mark.parametrize("body", [b"", b"{", b"null", b"[]", b"5", b"{}", b'{"entry":{}}', b"\xff", b"[" * 100_000])
def test_what_is_no_webhook_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"^(the body is not JSON|a webhook is)"):
        parse(body, ACCOUNT, NOW)


def test_webhooks_of_other_products_do_not_concern_us() -> None:
    assert read(recorded("in_text") | {"object": "instagram"}) == parse(b'{"entry":[]}', ACCOUNT, NOW)


junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3)
    ),
    max_leaves=8,
)


def places(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The paths of all values in a JSON value."""
    below: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        below = list(value.items())
    elif isinstance(value, list):
        below = list(enumerate(value))
    return [path, *(place for name, one in below for place in places(one, (*path, name)))]


@examples(deadline=None, max_examples=300)
@given(st.data(), st.sampled_from([*EXAMPLES.values(), recorded("status_window_closed"), batched()]), junk)
def test_whatever_a_webhook_holds_it_is_read_or_refused(data: st.DataObject, webhook: Any, value: Any) -> None:
    changed = json.loads(json.dumps(webhook))
    *way, last = data.draw(st.sampled_from([place for place in places(changed) if place]))
    whole = changed
    for step in way:
        whole = whole[step]
    whole[last] = value
    if not isinstance(changed.get("entry"), list):
        with pytest.raises(ValueError, match="a webhook is"):
            read(changed)
        return
    batch = read(changed)
    assert all(message.event_id and message.sender.account == ACCOUNT for message in batch.messages)


# What messages become.


def outbound(*parts: Part, to: str = TO, attempt: int = 1, account: str = ACCOUNT, piece: int = 0) -> OutboundMessage:
    """A message to send."""
    recipient = Address(ChannelName.WHATSAPP, account, to, to)
    return OutboundMessage(17, attempt, recipient, UUID(int=1), 2, parts or (Text(text="Habari"),), NOW, piece)


def contents(*parts: Part) -> list[tuple[str, Any]]:
    """Type and content of the request for each piece of these parts; all have Meta's own form."""
    asked = [payload(outbound(*parts, piece=piece)) for piece in range(len(pieces(parts, CLOUD)))]
    for one in asked:
        follows(one, "Message")
    return [(one["type"], one[one["type"]]) for one in asked]


def content(*parts: Part) -> tuple[str, Any]:
    """Type and content where there is one piece."""
    [only] = contents(*parts)
    return only


def test_a_text_goes_out_with_our_reference() -> None:
    assert payload(outbound()) == {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": TO,
        "type": "text",
        "text": {"body": "Habari", "preview_url": False},
        "biz_opaque_callback_data": "outbox:17",
    }
    assert payload(outbound(to=USER_ID))["recipient"] == USER_ID
    assert "to" not in payload(outbound(to=USER_ID))


def test_short_choices_are_buttons_more_are_a_list_and_long_ones_are_numbered() -> None:
    ask = Text(text="Wapi?")
    kind, shown = content(ask, Choices(options=("Nairobi", "Mombasa", "x" * 20)))
    assert (kind, shown["type"], shown["body"]) == ("interactive", "button", {"text": "Wapi?"})
    assert [one["reply"] for one in shown["action"]["buttons"]] == [
        {"id": "1", "title": "Nairobi"},
        {"id": "2", "title": "Mombasa"},
        {"id": "3", "title": "x" * 20},
    ]
    for options in (("a", "b", "c", "d"), tuple(str(n) for n in range(10)), ("Nairobi", "x" * 24)):
        kind, shown = content(ask, Choices(options=options))
        assert (kind, shown["type"]) == ("interactive", "list")
        assert [row["title"] for row in shown["action"]["sections"][0]["rows"]] == list(options)
    numbered: list[tuple[Part, ...]] = [
        (ask, Choices(options=("Nairobi", "x" * 25))),
        (ask, Choices(options=("Nairobi", "😀" * 13))),
        (ask, Choices(options=("same", "same"))),
        (ask, Choices(options=("a", " "))),
        (Text(text="y" * (CLOUD.beside_max + 1)), Choices(options=("a", "b"))),
        (Choices(options=("a", "b")),),
    ]
    for parts in numbered:
        kind, shown = contents(*parts)[-1]
        assert kind == "text"
        assert "1. " in shown["body"]
    kind, shown = content(ask, Choices(options=("a",)), Choices(options=("b",)))
    assert (kind, shown["body"]["text"]) == ("interactive", "Wapi?\n\n1. a")


@pytest.mark.parametrize(
    ("media_type", "kind"),
    [
        ("image/jpeg", "image"),
        ("image/gif", "document"),
        ("video/mp4", "video"),
        ("audio/ogg", "audio"),
        ("application/pdf", "document"),
    ],
)
def test_a_file_goes_by_its_address(media_type: str, kind: str) -> None:
    file = Media(media_type=media_type, ref="https://x.example/1", filename="a.pdf")
    wanted = {"link": "https://x.example/1"} | ({"filename": "a.pdf"} if kind == "document" else {})
    assert content(file) == (kind, wanted)
    said = ("text", {"body": "Look", "preview_url": False})
    captioned = contents(file.model_copy(update={"caption": "Look"}))
    # A sound has no caption: what is said with it must not be lost.
    assert captioned == ([(kind, wanted), said] if kind == "audio" else [(kind, wanted | {"caption": "Look"})])
    assert contents(Text(text="Look"), file) == [said, (kind, wanted)]


def test_words_too_long_for_a_caption_are_a_text_after_the_file() -> None:
    file = Media(media_type="image/png", ref="https://x.example/1", caption="z" * 1_100)
    assert contents(file) == [
        ("image", {"link": "https://x.example/1"}), ("text", {"body": "z" * 1_100, "preview_url": False}),
    ]  # fmt: skip
    assert content(Media(media_type="image/png", ref="file-id", caption="Look"))[0] == "text"


def test_a_text_longer_than_whatsapp_allows_is_several_that_name_themselves() -> None:
    long = Text(text="word " * 2_000)
    shown = [text["body"] for _, text in contents(long)]
    assert " ".join(shown).split() == ["word"] * 2_000
    assert all(len(body) <= CLOUD.text_max for body in shown)
    named = [payload(outbound(long, piece=piece))["biz_opaque_callback_data"] for piece in range(len(shown))]
    assert named == ["outbox:17:0:3", "outbox:17:1:3", "outbox:17:2:3"]


def test_a_place_is_said_in_words() -> None:
    assert content(Location(latitude=-1.28, longitude=36.8, label="KICC"))[1]["body"] == "KICC (-1.280000, 36.800000)"


def test_nothing_and_nobody_are_refused_before_meta_hears_of_it() -> None:
    with pytest.raises(Undeliverable, match="empty"):
        payload(outbound(Text(text=" ")))
    for nobody in ("", "whatsapp:+254712345678", "+254712345678", "12", "KE.", "KE.a b"):
        with pytest.raises(Undeliverable, match="not a number"):
            payload(outbound(to=nobody))


words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=60)
said_parts = st.one_of(
    st.builds(lambda text: Text(text=text), words),
    st.builds(lambda options: Choices(options=tuple(options)), st.lists(words, min_size=1, max_size=10)),
    st.builds(
        lambda kind, caption: Media(media_type=kind, ref="https://x.example/1", caption=caption),
        st.sampled_from(["image/png", "audio/ogg", "text/plain"]),
        words,
    ),
    st.builds(lambda label: Location(latitude=1, longitude=2, label=label), words),
)


@examples(deadline=None, max_examples=300)
@given(st.lists(said_parts, min_size=1, max_size=5))
def test_whatever_is_said_meta_takes_it_and_every_choice_is_in_it(parts: list[Part]) -> None:
    shown = contents(*parts)
    for piece in range(len(shown)):
        check(json.loads(json.dumps(payload(outbound(*parts, piece=piece)))))
    written = json.dumps(shown, ensure_ascii=False)
    for part in parts:
        if isinstance(part, Choices):
            said = [word for option in part.options for word in option.split()]
            assert all(json.dumps(word, ensure_ascii=False)[1:-1] in written for word in said)


# Sending, over real sockets.


def settings(url: str, **changes: Any) -> Settings:
    """Settings that speak to `url`."""
    given: dict[str, Any] = {
        "meta_phone_number_id": ACCOUNT,
        "meta_access_token": SecretStr(SANDBOX_ACCESS_TOKEN),
        "meta_app_secret": SecretStr(SANDBOX_APP_SECRET),
        "meta_base_url": url,
    }
    return Settings(_env_file=None, **given | changes)


async def send(url: str, message: OutboundMessage | None = None, timeout_s: float = 5.0) -> str:
    """Send once through a channel of its own."""
    channel = CloudChannel(settings(url), timeout_s=timeout_s)
    try:
        return await channel.send(message or outbound())
    finally:
        await channel.close()


async def test_a_message_is_posted_with_the_token_in_a_header() -> None:
    async with wire(answer(200, ACCEPTED)) as meta:
        assert await send(f"{meta.url}/whatsapp/") == WAMID
    [(head, body)] = meta.requests
    assert head.startswith(f"POST /whatsapp/v26.0/{ACCOUNT}/messages HTTP/1.1\r\n")
    assert f"Authorization: Bearer {SANDBOX_ACCESS_TOKEN}\r\n" in head
    assert json.loads(body) == payload(outbound())


def problem(code: int, subcode: int | None = None) -> dict[str, object]:
    """Meta's error envelope."""
    error: dict[str, object] = {"message": f"(#{code}) about {TO}", "type": "OAuthException", "code": code}
    return {"error": error | ({} if subcode is None else {"error_subcode": subcode})}


SLOW = NotSent("", retry_after_s=2.0, whole_channel=True)
OWNER = NotSent("", retry_after_s=60.0, whole_channel=True)


@pytest.mark.parametrize(
    ("status", "body", "headers", "error", "text"),
    [
        (429, problem(130429), "", SLOW, "slow down"),
        (400, problem(80007), "", SLOW, "slow down"),
        (429, problem(4), "Retry-After: 7\r\n", NotSent("", retry_after_s=7.0, whole_channel=True), "slow down"),
        (429, b"<html>", "Retry-After: 999999\r\n", NotSent("", retry_after_s=3600.0), "slow down"),
        (400, problem(131056), "", NotSent("", retry_after_s=4.0), "to this person"),
        (429, problem(131056), "", NotSent("", retry_after_s=4.0), "to this person"),
        (401, problem(190), "", OWNER, "META_ACCESS_TOKEN"),
        (400, problem(190), "", OWNER, "META_ACCESS_TOKEN"),
        (401, b"", "", OWNER, "META_ACCESS_TOKEN"),
        (400, problem(100, 33), "", OWNER, "META_PHONE_NUMBER_ID"),
        (403, problem(10), "", OWNER, "Business Manager"),
        (403, problem(200), "", OWNER, "Business Manager"),
        (400, problem(133010), "", OWNER, "Business Manager"),
        (503, b"", "Retry-After: 1\r\n", NotSent("", retry_after_s=1.0), "not available"),
        (500, problem(131016), "", NotSent("", retry_after_s=2.0), "not available"),
        (500, problem(131057), "", NotSent("", retry_after_s=2.0), "not available"),
        (400, problem(131047), "", Undeliverable(""), "24 hours"),
        (
            400,
            problem(131026),
            "",
            Undeliverable(""),
            "from businesses. (Meta 131026)",
        ),
        (400, problem(100), "", Undeliverable(""), "could not deliver the message. (Meta 100)"),
        (400, problem(131009), "", Undeliverable(""), "does not take"),
        (404, b"nothing", "", Undeliverable(""), "could not deliver"),
        (400, {"error": "no"}, "", Undeliverable(""), "could not deliver"),
        (400, {"error": {"code": "131047"}}, "", Undeliverable(""), "could not deliver"),
        (408, b"", "", OutcomeUnknown(""), "status 408"),
        (500, problem(1), "", OutcomeUnknown(""), "status 500"),
        (500, problem(131000), "", OutcomeUnknown(""), "status 500"),
        (502, b"<html>bad gateway</html>", "", OutcomeUnknown(""), "status 502"),
        (504, b"", "", OutcomeUnknown(""), "status 504"),
        (302, b"", "Location: https://elsewhere.example/\r\n", OutcomeUnknown(""), "status 302"),
        (200, b"<html>log in</html>", "", OutcomeUnknown(""), "names no message"),
        (200, b'{"messages": [{"id": "wam', "", OutcomeUnknown(""), "names no message"),
        (200, [], "", OutcomeUnknown(""), "names no message"),
        (200, {"messages": []}, "", OutcomeUnknown(""), "names no message"),
        (200, {"messages": [{"id": 17}]}, "", OutcomeUnknown(""), "names no message"),
    ],
)
async def test_every_answer_means_one_of_three_things(
    status: int, body: object, headers: str, error: Exception, text: str
) -> None:
    async with wire(answer(status, body, headers)) as meta:
        with pytest.raises(type(error)) as raised:
            await send(meta.url)
    assert vars(raised.value) == vars(error)
    assert text in str(raised.value)
    assert TO not in str(raised.value)
    assert SANDBOX_ACCESS_TOKEN not in str(raised.value)
    assert len(meta.requests) == 1, "a message must never be sent again by the client itself"


def test_too_many_to_one_person_waits_longer_each_time() -> None:
    waits = []
    for attempt in (1, 2, 3, 9, 1_000_000):
        found = read_answer(400, json.dumps(problem(131056)).encode(), None, attempt)
        assert isinstance(found, NotSent)
        waits.append(found.retry_after_s)
    assert waits == [4.0, 16.0, 64.0, 3600.0, 3600.0]


async def test_a_server_that_is_not_there_was_sent_nothing() -> None:
    for url in (f"http://127.0.0.1:{closed_port()}", "http://nowhere.invalid", f"https://127.0.0.1:{closed_port()}"):
        with pytest.raises(NotSent) as raised:
            await send(url)
        assert not raised.value.whole_channel


@pytest.mark.parametrize(
    "behaviour", ["reset", "close", "hang", b"HTTP/1.1 200 X\r\nContent-Length: 900\r\n\r\n{", b"nonsense"]
)
async def test_a_server_that_had_the_message_and_fell_silent_may_have_sent_it(behaviour: Behaviour) -> None:
    async with wire(behaviour) as meta:
        with pytest.raises(OutcomeUnknown):
            await send(meta.url, timeout_s=1.5)
    assert len(meta.requests) == 1


async def test_meta_cannot_be_asked() -> None:
    channel = CloudChannel(settings("http://127.0.0.1:1"))
    with pytest.raises(Unknowable, match="cannot be asked"):
        await channel.find_sent(outbound(), NOW, ())


async def test_a_conversation_of_another_number_is_not_answered_by_ours() -> None:
    async with wire(answer(200, ACCEPTED)) as meta:
        with pytest.raises(Undeliverable, match="another WhatsApp number"):
            await send(meta.url, outbound(account="999"))
    assert meta.requests == []


# Two numbers side by side.


def both(twilio_url: str, meta_url: str) -> Settings:
    """Settings with a number at each."""
    return settings(
        meta_url,
        twilio_account_sid=SANDBOX_ACCOUNT_SID,
        twilio_auth_token=SecretStr(SANDBOX_AUTH_TOKEN),
        twilio_whatsapp_from=SANDBOX_WHATSAPP_FROM,
        twilio_base_url=twilio_url,
    )


TWILIO_SENT = json.loads((RECORDINGS.parent / "twilio" / "send_accepted.json").read_text())
TWILIO_MESSAGE = outbound(to="whatsapp:+254712345678", account=SANDBOX_WHATSAPP_FROM)


async def test_the_conversations_own_number_sends() -> None:
    async with wire(answer(201, TWILIO_SENT)) as twilio, wire(answer(200, ACCEPTED)) as meta:
        channel = WhatsAppChannel(both(twilio.url, meta.url))
        assert await channel.send(TWILIO_MESSAGE) == TWILIO_SENT["sid"]
        assert await channel.send(outbound()) == WAMID
        assert (len(twilio.requests), len(meta.requests)) == (1, 1)
        with pytest.raises(Unknowable, match="Meta cannot be asked"):
            await channel.find_sent(outbound(), NOW, ())
        await channel.close()


async def test_trouble_with_one_number_keeps_only_its_own_messages_back() -> None:
    async with wire(answer(201, TWILIO_SENT)) as twilio, wire(answer(401, problem(190))) as meta:
        channel = WhatsAppChannel(both(twilio.url, meta.url))
        for _ in range(3):
            with pytest.raises(NotSent) as raised:
                await channel.send(outbound())
            assert not raised.value.whole_channel
            assert 55 < (raised.value.retry_after_s or 0) <= 60
        assert len(meta.requests) == 1, "a token that was refused is not tried with every message"
        assert await channel.send(TWILIO_MESSAGE) == TWILIO_SENT["sid"]
        await channel.close()


async def test_one_number_alone_stops_the_channel_when_its_provider_asks_for_it() -> None:
    async with wire(answer(401, problem(190))) as meta:
        channel = WhatsAppChannel(settings(meta.url))
        with pytest.raises(NotSent) as raised:
            await channel.send(outbound())
        assert raised.value.whole_channel
        with pytest.raises(Undeliverable, match="not set up"):
            await channel.send(TWILIO_MESSAGE)
        with pytest.raises(Unknowable, match="not set up"):
            await channel.find_sent(TWILIO_MESSAGE, NOW, ())
        await channel.close()
    with pytest.raises(ValueError, match="no WhatsApp number"):
        WhatsAppChannel(Settings(_env_file=None))


# Settings.


@pytest.mark.parametrize(
    "given_settings",
    [
        {"meta_access_token": "t"},
        {"meta_phone_number_id": "1", "meta_access_token": "t"},
        {"meta_app_secret": "s"},
        {"meta_graph_version": "26"},
        {"meta_phone_number_id": "+254", "meta_access_token": "t", "meta_app_secret": "s"},
        {"meta_graph_version": "v26.0/../me"},
    ],
    ids=str,
)
def test_half_an_account_is_no_account(given_settings: Mapping[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"META_|pattern"):
        Settings(_env_file=None, **given_settings)


def test_the_sandbox_has_both_numbers_and_leaves_real_ones_alone() -> None:
    sandboxed = Settings(_env_file=None, sandbox_url="http://127.0.0.1:9").sandboxed()
    assert (sandboxed.twilio_whatsapp_from, sandboxed.meta_phone_number_id) == (SANDBOX_WHATSAPP_FROM, ACCOUNT)
    assert sandboxed.meta_base_url == "http://127.0.0.1:9/whatsapp"
    real = settings(
        "https://graph.facebook.com", sandbox_url="http://127.0.0.1:9", meta_phone_number_id="77"
    ).sandboxed()
    assert (real.meta_phone_number_id, real.meta_base_url) == ("77", "https://graph.facebook.com")
    assert real.twilio_base_url == "http://127.0.0.1:9/twilio"


async def test_a_connection_is_kept_for_the_next_message() -> None:
    async with wire(answer(200, ACCEPTED)) as meta:
        channel = CloudChannel(settings(meta.url))
        await asyncio.gather(*(channel.send(outbound()) for _ in range(8)))
        await channel.close()
    assert len(meta.requests) == 8
