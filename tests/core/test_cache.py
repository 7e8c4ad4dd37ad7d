"""The result cache on a real Valkey, and without one."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from pydantic import Field, SecretStr
from redis.asyncio import Redis

from core.actions import Action, ActionContext, ActionResult, Effect, Params, Person, action
from core.cache import VALUE_BYTES_MAX, ResultCache, question_of
from core.crypto import RoomKeys
from core.db import Database
from core.errors import ProviderUnavailable
from core.messages import Address, ChannelName, Choices, Text
from core.providers import Providers
from core.settings import Settings

SETTINGS = Settings(_env_file=None)
KEYS = RoomKeys(SETTINGS.key_list)
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


class Place(Params):
    """A place."""

    city: str = Field(description="Where")
    units: str = Field(default="metric", description="Of what")


@dataclass
class Asked:
    """Actions that count how often they ran."""

    times: int = 0
    text: str = "sunny"

    def weather(self, cache_for: timedelta | None = timedelta(minutes=10), effect: Effect = Effect.READ) -> Action[Any]:
        @action(effect=effect, cache_for=cache_for)
        async def get_weather(ctx: ActionContext, params: Place) -> ActionResult:
            """Tell the weather."""
            self.times += 1
            if self.text == "away":
                raise ProviderUnavailable("no weather today")
            parts = (Text(text="more"), Choices(options=("a", "b")))
            return ActionResult(f"{self.text} {self.times}", {"n": self.times, "at": ["x", None]}, parts)

        return get_weather


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.fixture
async def context() -> AsyncIterator[ActionContext]:
    nowhere = await Database.connect("postgresql://nobody@127.0.0.1:1/none")
    providers = Providers(SETTINGS)
    person = Person(UUID(int=1), "Amina", "en", "Africa/Nairobi")
    yield ActionContext(person, UUID(int=2), nowhere, providers, SETTINGS, NOON, "test:1")
    await providers.close()
    await nowhere.close()


@pytest.fixture
async def valkey(valkey_url: str) -> AsyncIterator["Redis"]:
    client = Redis.from_url(valkey_url)
    yield client
    await client.aclose()


async def test_same_question_is_answered_from_memory_word_for_word(
    valkey: "Redis", asked: Asked, context: ActionContext
) -> None:
    cache, weather = ResultCache(valkey, KEYS), asked.weather()
    first = await cache.get_or_run(weather, Place(city="Nairobi"), context)
    assert await cache.get_or_run(weather, Place(city="Nairobi"), context) == first
    assert asked.times == 1
    (key,) = await valkey.keys("*")
    assert "sunny" not in repr(await valkey.get(key))
    assert 595 <= await valkey.ttl(key) <= 600


async def test_another_person_asking_the_same_is_answered_from_memory(
    valkey: "Redis", asked: Asked, context: ActionContext
) -> None:
    other = replace(context, person=replace(context.person, id=UUID(int=9), name="Juma"), idempotency_key="test:2")
    cache, weather = ResultCache(valkey, KEYS), asked.weather()
    await cache.get_or_run(weather, Place(city="Nairobi"), context)
    await cache.get_or_run(weather, Place(city="Nairobi"), other)
    assert asked.times == 1


def test_all_that_can_change_an_answer_is_part_of_the_key(asked: Asked, context: ActionContext) -> None:
    weather, place, person = asked.weather(), Place(city="Nairobi"), context.person
    contexts = [
        context,
        replace(context, person=replace(person, language="sw")),
        replace(context, person=replace(person, timezone="Asia/Tokyo")),
        replace(context, person=replace(person, currency="USD")),
        replace(context, sender=Address(ChannelName.WHATSAPP, "ours", "+250788123456", "+250788123456")),
        replace(context, now=NOON + timedelta(days=1)),
        replace(context, settings=SETTINGS.model_copy(update={"sandbox_url": "http://127.0.0.1:1"})),
        replace(context, settings=SETTINGS.model_copy(update={"open_meteo_base_url": "http://127.0.0.1:1"})),
        replace(context, settings=SETTINGS.model_copy(update={"openweather_api_key": SecretStr("k")})),
        replace(context, settings=SETTINGS.model_copy(update={"default_currency": "UGX"})),
    ]
    keys = [question_of(weather, place, each) for each in contexts]
    keys += [question_of(weather, Place(city=city), context) for city in ("Nakuru", "nairobi", "Nairobi, KE")]
    keys += [question_of(weather, Place(city="Nairobi", units="imperial"), context)]
    assert len(set(keys)) == len(keys)


def test_key_holds_neither_words_nor_secrets(asked: Asked, context: ActionContext) -> None:
    keyed = replace(context, settings=SETTINGS.model_copy(update={"openweather_api_key": SecretStr("s3cr3t")}))
    question = question_of(asked.weather(), Place(city="Nairobi"), keyed)
    assert b"s3cr3t" not in question
    assert "Nairobi" not in ResultCache(Redis(), KEYS).key_of(asked.weather(), Place(city="Nairobi"), keyed)
    rotated = replace(context, settings=SETTINGS.model_copy(update={"openweather_api_key": SecretStr("0ther")}))
    assert question_of(asked.weather(), Place(city="Nairobi"), rotated) == question


async def test_action_that_declares_nothing_is_never_remembered(
    valkey: "Redis", asked: Asked, context: ActionContext
) -> None:
    cache = ResultCache(valkey, KEYS)
    for weather in (asked.weather(cache_for=None), asked.weather(cache_for=None, effect=Effect.WRITE)):
        await cache.get_or_run(weather, Place(city="Nairobi"), context)
        await cache.get_or_run(weather, Place(city="Nairobi"), context)
    assert asked.times == 4
    assert await valkey.keys("*") == []


async def test_errors_are_not_remembered(valkey: "Redis", asked: Asked, context: ActionContext) -> None:
    cache, weather = ResultCache(valkey, KEYS), asked.weather()
    asked.text = "away"
    with pytest.raises(ProviderUnavailable):
        await cache.get_or_run(weather, Place(city="Nairobi"), context)
    asked.text = "sunny"
    assert (await cache.get_or_run(weather, Place(city="Nairobi"), context)).text == "sunny 2"


async def test_large_result_is_given_but_not_kept(valkey: "Redis", asked: Asked, context: ActionContext) -> None:
    cache, weather = ResultCache(valkey, KEYS), asked.weather()
    asked.text = "x" * VALUE_BYTES_MAX
    await cache.get_or_run(weather, Place(city="Nairobi"), context)
    await cache.get_or_run(weather, Place(city="Nairobi"), context)
    assert asked.times == 2


@pytest.mark.parametrize("stored", [b"", b"{", b'{"text": 1}', b"null", b"\xff\xfe"])
async def test_value_that_cannot_be_read_is_a_miss(
    valkey: "Redis", asked: Asked, context: ActionContext, stored: bytes
) -> None:
    cache, weather = ResultCache(valkey, KEYS), asked.weather()
    await valkey.set(cache.key_of(weather, Place(city="Nairobi"), context), stored)
    assert (await cache.get_or_run(weather, Place(city="Nairobi"), context)).text == "sunny 1"
    assert (await cache.get_or_run(weather, Place(city="Nairobi"), context)).text == "sunny 1"


async def test_without_valkey_every_question_is_asked(asked: Asked, context: ActionContext) -> None:
    away = Redis.from_url("redis://127.0.0.1:1")
    cache, weather = ResultCache(away, KEYS), asked.weather()
    await cache.get_or_run(weather, Place(city="Nairobi"), context)
    await cache.get_or_run(weather, Place(city="Nairobi"), context)
    assert asked.times == 2
    await away.aclose()


async def test_valkey_that_refuses_writes_is_a_miss(valkey: "Redis", asked: Asked, context: ActionContext) -> None:
    cache, weather = ResultCache(valkey, KEYS), asked.weather()
    await valkey.replicaof("127.0.0.1", "1")
    try:
        await cache.get_or_run(weather, Place(city="Nairobi"), context)
        await cache.get_or_run(weather, Place(city="Nairobi"), context)
    finally:
        await valkey.replicaof("no", "one")
    assert asked.times == 2
