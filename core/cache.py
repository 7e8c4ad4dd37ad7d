"""Remembering the results of READ actions that declare `cache_for`, in Valkey; without Valkey nothing is remembered.

Results are sealed, and their keys tell no question: both hold what people asked.

Such actions depend on nothing personal but what is part of the key, so a result may serve everybody whose question,
language, clock and currency are alike.
"""

import asyncio
from datetime import timedelta
from typing import Any

import orjson
import structlog
from pydantic import TypeAdapter, ValidationError
from redis.asyncio import Redis
from redis.exceptions import RedisError

from core.actions import Action, ActionContext, ActionResult, Effect, Params
from core.crypto import Forged, Passing, RoomKeys
from core.settings import Settings

log = structlog.get_logger()

VALUE_BYTES_MAX = 64 * 1024
"""Larger results are not remembered."""
ANSWER_S = 0.3
"""How long Valkey may take; asking the provider is better than waiting longer."""
FORMAT = 3
"""Part of every key; raised when the stored form changes."""

_RESULT = TypeAdapter(ActionResult)


class ResultCache:
    """Results of cacheable actions. Errors of Valkey are misses, never errors of the action."""

    def __init__(self, valkey: "Redis", keys: RoomKeys) -> None:
        self._valkey = valkey
        self._seal = Passing(keys, b"result")

    async def get_or_run(self, action: Action[Any], params: Params, context: ActionContext) -> ActionResult:
        """The remembered result of the same question, else a fresh one, remembered for the time it declares."""
        if action.effect is not Effect.READ or action.cache_for is None:
            return await action.run(context, params)
        key = self.key_of(action, params, context)
        known = await self._get(key)
        if known is not None:
            return known
        result = await action.run(context, params)
        await self._set(key, result, action.cache_for)
        return result

    def key_of(self, action: Action[Any], params: Params, context: ActionContext) -> str:
        """Where the answer to this question is kept."""
        return f"result:{action.name}:{self._seal.name(question_of(action, params, context))}"

    async def _get(self, key: str) -> ActionResult | None:
        try:
            async with asyncio.timeout(ANSWER_S):
                stored = await self._valkey.get(key)
            if isinstance(stored, bytes):
                return _RESULT.validate_json(self._seal.open(key.encode(), stored))
        except (RedisError, OSError, TimeoutError) as error:
            log.info("cache.away", error=type(error).__name__)
        except (ValidationError, Forged):
            log.warning("cache.unreadable")
        return None

    async def _set(self, key: str, result: ActionResult, keep: timedelta) -> None:
        value = _RESULT.dump_json(result)
        if len(value) > VALUE_BYTES_MAX:
            log.info("cache.too_large", size=len(value))
            return
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._valkey.set(key, self._seal.seal(key.encode(), value), ex=keep)
        except (RedisError, OSError, TimeoutError) as error:
            log.info("cache.away", error=type(error).__name__)


def question_of(action: Action[Any], params: Params, context: ActionContext) -> bytes:
    """A question: the action, its values, and all that can change the answer besides the world.

    That is the language it is told in, the person's clock (zone and date) and currency, and where this deployment asks.
    """
    local = context.now.astimezone(context.zone)
    question = {
        "format": FORMAT,
        "action": action.name,
        "params": params.model_dump(mode="json"),
        "language": context.person.language,
        "zone": context.zone.key,
        "currency": context.currency,
        "date": local.date().isoformat(),
        "deployment": _deployment(context.settings),
    }
    return orjson.dumps(question, option=orjson.OPT_SORT_KEYS)


def _deployment(settings: Settings) -> list[str]:
    """What decides who is asked and how: provider addresses, which of them have keys, defaults; no secret itself."""
    fields = settings.model_dump()
    addresses = [f"{name}={value}" for name, value in fields.items() if name.endswith("_base_url")]
    keyed = [name for name, value in fields.items() if name.endswith("_api_key") and value.get_secret_value()]
    return sorted([*addresses, *keyed, settings.sandbox_url, settings.default_currency])
