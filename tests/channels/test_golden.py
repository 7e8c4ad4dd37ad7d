"""How each rich reply looks on each channel, held against files that a person has read.

`MATHIA_GOLDEN=write python3 -m bot test tests/channels/test_golden.py` writes them anew; read the difference.
"""

import os
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import orjson
import pytest

from channels.degrade import CLOUD, EMAIL, TELEGRAM, TWILIO, Capabilities, pieces
from channels.web import frames
from core.conversations import StoredMessage
from core.messages import (
    PARTS,
    Card,
    Choices,
    Contact,
    Fact,
    Forwarded,
    Link,
    Location,
    Media,
    Part,
    Table,
    Text,
    Voice,
)  # fmt: skip

GOLDEN = Path(__file__).parent / "golden"
WRITE = os.environ.get("MATHIA_GOLDEN") == "write"
FILE = "5b4a3b86-5f0d-4c5e-9c37-0a3f5d1e7c11"
SENT_AT = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)

REPLIES: dict[str, tuple[Part, ...]] = {
    "card": (
        Card(
            title="Nairobi to Mombasa <KQ 600>",
            text="The earliest flight on Fri 27 Nov.",
            facts=(
                Fact(label="Leaves", value="07:00, JKIA"),
                Fact(label="Arrives", value="08:05, Moi International"),
                Fact(label="Price", value="KES 12,450\nTotal: KES 1"),
            ),
            link=Link(url="https://flights.example/kq600", label="Book"),
        ),
    ),
    "table": (
        Text(text="Nairobi, Tue 24 Nov: showers, 15 to 24 °C, rain 80 %."),
        Table(
            columns=("Day", "Sky", "°C", "Rain"),
            rows=(("Wed 25", "Rain", "15–23", "70 %"), ("Thu 26", "Partly cloudy", "14–26", "20 %")),
        ),
    ),
    "wide_table": (
        Table(
            title="Jobs & gigs",
            columns=("Job", "Client", "Budget"),
            rows=(
                ("Translate a *contract* from Swahili", "Amina Otieno & Sons", "KES 25,000 to 40,000"),
                ("Design a logo", "Kiosk 24", "KES 8,000"),
            ),
        ),
    ),
    "reminders": (
        Card(
            title="Vikumbusho vyako 22 (saa za Nairobi)",
            facts=(
                Fact(label="1. Ijumaa 27 Nov, 09:00", value="kulipa kodi ya nyumba"),
                Fact(label="2. Jumatatu 30 Nov, 08:00", value="kwenda kazini, kila Jumatatu (kwenye WhatsApp)"),
            ),
        ),
        Text(text="… na vingine 20."),
    ),
    "quotas": (
        Card(
            title="What you have left",
            facts=(
                Fact(label="Messages", value="986 of 1,000, anew tomorrow at 00:00"),
                Fact(label="Requests that cost us money", value="50 of 50, anew tomorrow at 00:00"),
            ),
        ),
    ),
    "choices": (Text(text="Which city?"), Choices(options=("Nairobi", "Mombasa", "Kisumu"))),
    "contact": (Text(text="Here you are."), Contact(name="Amina Otieno", phones=("+254712345678",))),
    "contacts": (Contact(name="Brian", phones=("+254700000001", "+254700000002"), emails=("brian@example.com",)),),
    "voice": (Voice(media_type="audio/ogg", ref="https://files.example/note.ogg", transcript="Kesho saa tatu."),),
    "place": (Location(latitude=-1.286389, longitude=36.817223, label="KICC, Nairobi"),),
    "picture": (
        Text(text="This is the invoice."),
        Media(media_type="image/png", ref="https://files.example/17.png", caption="Invoice 17 <paid>"),
        Choices(options=("Thanks", "Send it again to the address you have")),
    ),
    "long": (Text(text="\n\n".join(f"Paragraph {n}. " + "It goes on for a while. " * 12 for n in range(1, 16))),),
}
FILES: dict[str, tuple[Part, ...]] = {
    "file_picture": (
        Media(
            media_type="image/jpeg",
            ref=f"file:{FILE}",
            filename="kiosk.jpg",
            size=412_000,
            width=1200,
            height=900,
            caption="Our kiosk <new>",
        ),
    ),
    "file_document": (
        Text(text="Here is the invoice."),
        Media(
            media_type="application/pdf",
            ref=f"file:{FILE}",
            filename="invoice 17.pdf",
            size=48_211,
            caption="Invoice 17, due on Friday",
        ),
        Choices(options=("Thanks", "Call me")),
    ),
    "file_sheet": (Media(media_type="text/csv", ref=f"file:{FILE}", filename="bei.csv", size=640),),
    "file_film": (
        Media(media_type="video/mp4", ref=f"file:{FILE}", filename="tour.mp4", size=30 << 20, caption="The new house"),
    ),
    "file_moving": (
        Media(media_type="image/webp", ref=f"file:{FILE}", filename="wave.webp", size=90_000, width=320, height=240),
    ),
    "file_note": (Voice(media_type="audio/ogg", ref=f"file:{FILE}", size=8_000, transcript="Kesho saa tatu."),),
    "file_long_caption": (
        Media(
            media_type="image/png",
            ref=f"file:{FILE}",
            filename="plan.png",
            size=70_000,
            width=800,
            height=600,
            caption="The plan of the house. " * 70,
        ),
    ),
}
"""Files of ours, which a channel needs to have at hand."""
ALL = REPLIES | FILES
CHANNELS = {"telegram": TELEGRAM, "whatsapp": TWILIO, "meta": CLOUD, "email": EMAIL}


def link(ref: str) -> str:
    """Where a file of ours can be opened."""
    return f"https://bot.example.com/files/{ref.removeprefix('file:')}?until=1795683600&proof={'a' * 64}"


def shown(parts: tuple[Part, ...], can: Capabilities) -> str:
    """The pieces, one under the other, with whatever of them is not empty."""
    made = []
    for number, piece in enumerate(pieces(parts, can, link), 1):
        said = {field.name: getattr(piece, field.name) for field in fields(piece)}
        words = [str(said.pop(name)) for name in ("text", "caption") if said.get(name)]
        rest = [f"{name}: {value}" for name, value in said.items() if value]
        made.append("\n".join((f"--- {number}. {type(piece).__name__}", *rest, *words)))
    return "\n".join(made) + "\n"


def on_the_web(parts: tuple[Part, ...]) -> str:
    """The frame that the widget draws."""
    stored = StoredMessage(2, False, parts, None, SENT_AT, None)
    return orjson.dumps(frames.msg(stored, "room"), option=orjson.OPT_INDENT_2).decode() + "\n"


@pytest.mark.parametrize("channel", [*CHANNELS, "web"])
@pytest.mark.parametrize("reply", ALL)
def test_a_rich_reply_looks_as_a_person_has_approved(channel: str, reply: str) -> None:
    parts = ALL[reply]
    made = on_the_web(parts) if channel == "web" else shown(parts, CHANNELS[channel])
    path = GOLDEN / channel / f"{reply}.txt"
    if WRITE:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(made, "utf-8")
    assert path.read_text("utf-8") == made


@pytest.mark.parametrize("reply", ALL)
def test_a_rich_reply_is_the_same_after_it_was_stored(reply: str) -> None:
    assert PARTS.validate_json(PARTS.dump_json(ALL[reply])) == ALL[reply]


def test_every_kind_of_part_is_in_a_reply() -> None:
    shown_kinds = {type(part) for parts in REPLIES.values() for part in parts}
    # What was forwarded to us is said by nobody here.
    assert shown_kinds == set(get_args(get_args(Part)[0])) - {Forwarded}


def test_no_golden_file_is_left_behind() -> None:
    assert {path.relative_to(GOLDEN).as_posix() for path in GOLDEN.rglob("*.txt")} == {
        f"{channel}/{reply}.txt" for channel in (*CHANNELS, "web") for reply in ALL
    }
