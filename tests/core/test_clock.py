"""The person's clock: guessed from their number or browser, asked about once beside what they wanted, and moved."""

from datetime import UTC, datetime
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest

from core.db import Database
from core.messages import Address, ChannelName, InboundMessage, Text
from core.zones import of_phone, short
from tests.core.speaking import TELEGRAM, WEB, WHATSAPP, Mathia, at, mathia
from tests.skills import needs

pytestmark = needs("weather", "currency", "reminders", "memory", "account", "profile")

KENYA, UGANDA, AMERICA = (at(WHATSAPP, f"whatsapp:+{n}") for n in ("254712345678", "256772123456", "12125551234"))


@pytest.mark.parametrize(
    ("number", "zone"),
    [
        ("+254712345678", "Africa/Nairobi"),
        ("+256772123456", "Africa/Kampala"),
        ("+442079460958", "Europe/London"),
        ("+12125551234", None),
        ("US.1234567", None),
        ("7000001", None),
        ("+", None),
    ],
)
def test_a_number_tells_the_clock_of_a_country_that_has_one(number: str, zone: str | None) -> None:
    assert of_phone(number) == zone


@pytest.mark.parametrize(
    ("channel", "person", "phone"),
    [
        (ChannelName.WHATSAPP, "whatsapp:+254712345678", "+254712345678"),
        (ChannelName.WHATSAPP, "254712345678", "+254712345678"),
        (ChannelName.WHATSAPP, "whatsapp:US.1234567", None),
        (ChannelName.TELEGRAM, "254712345678", None),
        (ChannelName.WEB, "+254712345678", None),
    ],
)
def test_a_number_is_known_however_its_channel_writes_it(channel: ChannelName, person: str, phone: str | None) -> None:
    assert Address(channel, "ours", person, person).phone == phone


def test_a_clock_is_called_by_letters_or_by_how_far_it_is_from_utc() -> None:
    noon = datetime(2026, 11, 26, 12, tzinfo=UTC)
    assert [short(noon.astimezone(ZoneInfo(zone))) for zone in ("Africa/Nairobi", "Asia/Dubai", "Asia/Kathmandu")] == [
        "EAT", "UTC+4", "UTC+5:45",
    ]  # fmt: skip


async def zones(here: Mathia) -> list[tuple[str, str]]:
    """Zone of every reminder, and its hour there."""
    rows = await here.db.pool.fetch("SELECT zone, due_at FROM reminder WHERE state = 'active' ORDER BY created_at")
    return [(row["zone"], f"{row['due_at'].astimezone(ZoneInfo(row['zone'])):%H:%M}") for row in rows]


async def stated(here: Mathia, who: Address) -> str | None:
    zone: str | None = await here.db.pool.fetchval("SELECT timezone FROM person WHERE id = $1", await here.person(who))
    return zone


@pytest.mark.parametrize(
    ("yes", "said"),
    [("yes", "Done. Your time zone is Africa/Kampala"), ("sawa", "Your time zone"), ("ndio", "Kampala")],
)
async def test_it_is_asked_once_beside_what_was_wanted_and_a_yes_is_enough(
    db: Database, valkey_url: str, yes: str, said: str
) -> None:
    async with mathia(db, valkey_url) as here:
        asked = await here.hear(UGANDA, "remind me tomorrow at 9 to call Okello")
        assert asked.startswith("Done. Reminder set for")
        assert "I take it your clock is Kampala time (EAT, now " in asked
        assert await zones(here) == [("Africa/Kampala", "09:00")]
        assert said in await here.hear(UGANDA, yes)
        assert await stated(here, UGANDA) == "Africa/Kampala"
        assert "clock" not in await here.hear(UGANDA, "remind me tomorrow at 10 to rest")


async def test_another_town_moves_what_was_set_to_its_hour_there(db: Database, valkey_url: str) -> None:
    async with mathia(db, valkey_url) as here:
        await here.hear(AMERICA, "remind me tomorrow at 9 to call Mum")
        assert "Nairobi time" in (await here.told(AMERICA))[-1]
        await here.hear(AMERICA, "remind me every day at 20:00 to stretch")
        # Whatever is asked meanwhile is answered; it is not asked again, and can be said at any time.
        moved = await here.hear(AMERICA, "I live in New York")
        assert "The 2 reminders set before come at the hours you named, there." in moved
        assert await zones(here) == [("America/New_York", "09:00"), ("America/New_York", "20:00")]
        await here.hear(AMERICA, "I live in Los Angeles")
        assert await zones(here) == [("America/New_York", "09:00"), ("America/New_York", "20:00")]


@pytest.mark.parametrize(
    ("answers", "zone"),
    [
        (["no, Kigali"], "Africa/Kigali"),
        (["Dubai"], "Asia/Dubai"),
        (["no", "Lusaka"], "Africa/Lusaka"),
        (["Another town", "London"], "Europe/London"),
        (["hapana, niko Kampala"], "Africa/Kampala"),
        (["what are my reminders?", "yes"], None),
        (["thanks"], None),
    ],
)
async def test_a_no_or_a_town_is_understood_and_nothing_is_forced(
    db: Database, valkey_url: str, answers: list[str], zone: str | None
) -> None:
    async with mathia(db, valkey_url) as here:
        await here.hear(KENYA, "remind me tomorrow at 9 to rest")
        for answer in answers:
            await here.hear(KENYA, answer)
        assert await stated(here, KENYA) == zone


async def test_it_is_asked_behind_several_requests_too_and_never_where_others_are(
    db: Database, valkey_url: str
) -> None:
    async with mathia(db, valkey_url) as here:
        group = Address(TELEGRAM, "ours", "-100", "7000001")
        assert "clock" not in await here.hear(group, "remind me tomorrow at 9 to rest")
        await here.hear(KENYA, "remind me tomorrow at 9 to rest, and what are my goals?")
        assert "I take it" in (await here.told(KENYA))[-1]
        assert "Africa/Nairobi" in await here.hear(KENYA, "yes")
        asked = await here.hear(at(TELEGRAM, "7000001"), "nikumbushe kesho saa tatu asubuhi kupumzika")
        assert "Nadhani saa zako ni za Nairobi (EAT, sasa" in asked


async def test_a_browser_tells_its_clock_with_the_first_message(db: Database, valkey_url: str) -> None:
    async with mathia(db, valkey_url) as here:
        for name, zone in (("v1", "Asia/Dubai"), ("v2", "Mars/Olympus")):
            who = at(WEB, name)
            text = (Text(text="remind me tomorrow at 9 to rest"),)
            await here.inbox.receive([InboundMessage(who, uuid4().hex, text, datetime.now(UTC), None, zone=zone)])
            await here.answer()
        assert await zones(here) == [("Asia/Dubai", "09:00"), ("Africa/Nairobi", "09:00")]
        assert "Dubai time (UTC+4, now" in (await here.told(at(WEB, "v1")))[-1]
