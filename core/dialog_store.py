"""Dialog state in Valkey, sealed, for six hours after the last turn; absent or unreadable, it is empty and we ask."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from uuid import UUID

import orjson
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from core.crypto import Forged, Passing, RoomKeys
from core.dialog import DialogState, Intent
from core.limits import Limits

log = structlog.get_logger()

STATE_TTL_S = 21_600
FORGET_MAX = 1_000
"""How many states one command removes."""
VERSION = 4
"""Part of the key: states written by another layout are simply not found."""

Speaker = tuple[UUID, UUID]
"""Conversation and person: state never crosses either."""


class DialogStore:
    """Loads and saves dialog states, many at once."""

    def __init__(self, valkey: Redis, keys: RoomKeys) -> None:
        self._valkey = valkey
        self._seal = Passing(keys, b"dialog")

    async def load(
        self, speakers: Sequence[Speaker], limits: Limits, counts: Sequence[tuple[str, int]]
    ) -> tuple[list[DialogState], list[int]]:
        """The state of each (conversation, person), in order, and what `counts` (key, how many) come to.

        One round trip for both. A process counts for itself what Valkey does not: away, out of memory, read-only.
        """
        if not speakers:
            return [], []
        values: list[bytes | None] | Exception
        counted: list[int] | Exception
        try:
            async with self._valkey.pipeline(transaction=False) as pipe:
                pipe.mget([_key(speaker) for speaker in speakers])
                limits.count_into(pipe, counts)
                values, counted = await pipe.execute(raise_on_error=False)
        except (RedisError, OSError, TimeoutError) as error:
            values = counted = error
        if isinstance(counted, Exception):
            log.warning("dialog.unreachable", error=type(counted).__name__)
            counted = limits.count_here(counts)
        if isinstance(values, Exception):
            return [DialogState() for _ in speakers], counted
        return [self._read(*one) for one in zip(speakers, values, strict=True)], counted

    def _read(self, speaker: Speaker, value: bytes | None) -> DialogState:
        if value is None:
            return DialogState()
        try:
            raw = orjson.loads(self._seal.open(_key(speaker).encode(), value))
            then = tuple(Intent(**step) for step in raw["then"])
            last = {"shown": tuple(raw["shown"]), "meant": Intent(**raw["meant"]) if raw["meant"] else None}
            return DialogState(**{**raw, "asked": tuple(raw["asked"]), "then": then, **last})
        except (ValueError, TypeError, KeyError, Forged):
            return DialogState()

    async def forget(self, speakers: Sequence[Speaker]) -> None:
        """Remove these states. Raises what Valkey raises: whoever asks wants to know that they are gone."""
        for start in range(0, len(speakers), FORGET_MAX):
            await self._valkey.delete(*(_key(speaker) for speaker in speakers[start : start + FORGET_MAX]))

    async def save(self, states: Mapping[Speaker, DialogState]) -> None:
        """Keep each state for STATE_TTL_S; an empty one is removed."""
        if not states:
            return
        try:
            async with self._valkey.pipeline(transaction=False) as pipe:
                for speaker, state in states.items():
                    if state == DialogState():
                        pipe.delete(_key(speaker))
                    else:
                        key = _key(speaker)
                        pipe.set(key, self._seal.seal(key.encode(), orjson.dumps(asdict(state))), ex=STATE_TTL_S)
                await pipe.execute()
        except (RedisError, OSError, TimeoutError) as error:
            log.warning("dialog.not_kept", error=type(error).__name__, states=len(states))


def _key(speaker: Speaker) -> str:
    conversation_id, person_id = speaker
    return f"dialog:{VERSION}:{conversation_id}:{person_id}"
