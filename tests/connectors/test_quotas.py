"""Quotas: a readable answer, in the person's language and by their clock."""

from datetime import UTC, datetime
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from redis.asyncio import Redis

from connectors import CONNECTORS
from connectors.quotas import CheckQuotas, check_quotas
from core.actions import ActionContext, Effect, Person
from core.brain.rules import sure_enough
from core.brain.understand import parse
from core.db import Database
from core.dialog import DialogState
from core.limits import PAID, Limits, Whose
from core.providers import Providers
from core.settings import Settings

NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
NAMES = [action.name for connector in CONNECTORS for action in connector.actions]


@pytest.mark.parametrize("language", ["en", "sw"])
async def test_what_is_left_is_told_with_its_reset(db: Database, valkey_url: str, language: str) -> None:
    settings = Settings(_env_file=None)
    person = Person(uuid4(), "Asha", language, "Africa/Nairobi")
    async with Redis.from_url(valkey_url) as valkey:
        limits = Limits(valkey)
        for _ in range(3):
            await limits.take([PAID], Whose(str(person.id), ZoneInfo("Africa/Nairobi")), NOW)
        context = ActionContext(person, uuid4(), db, Providers(settings), settings, NOW, "k", limits=limits)
        answer = await check_quotas.run(context, CheckQuotas())
    line = {
        "en": "Requests that cost us money: 47 of 50, anew tomorrow at 00:00",
        "sw": "Maombi ya kulipia: 47 kati ya 50, kuanza upya kesho saa 00:00",
    }[language]
    assert line in answer.text.splitlines()
    assert answer.data["paid"] == {"left": 47, "of": 50, "resets_at": "2026-11-24T21:00:00+00:00"}
    assert answer.data["voice_s"] == {"left": 1_800, "of": 1_800, "resets_at": "2026-11-24T21:00:00+00:00"}


@pytest.mark.parametrize(
    "text",
    ["how much have I left?", "check my quotas", "what are my limits", "how many messages do I have left today",
     "nimebakiza kiasi gani", "Nimebaki na ujumbe ngapi?", "my quota"],
)  # fmt: skip
def test_it_is_understood(text: str) -> None:
    assert parse(text, now=NOW, zone="Africa/Nairobi", state=DialogState(), actions=NAMES).action == "check_quotas"


@pytest.mark.parametrize(
    "text",
    ["how much is left in my account", "remind me to check my limits tomorrow at 9", "how much is 100 USD in KES",
     "nikumbushe nimebakiza kiasi gani kesho saa tatu asubuhi", "how much time have I left to pay rent"],
)  # fmt: skip
def test_what_only_sounds_like_it_is_not(text: str) -> None:
    intent = parse(text, now=NOW, zone="Africa/Nairobi", state=DialogState(), actions=NAMES)
    assert intent.action != "check_quotas" or not sure_enough(intent, Effect.READ)
