"""People who write to a whole Mathia on real servers: what they say is stored, understood, answered and kept."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis

from connectors import CONNECTORS
from core.actions import Connector
from core.brain.rules import RuleBrain
from core.cache import ResultCache
from core.catalog import Catalog
from core.db import Database
from core.dialog_store import DialogStore
from core.inbox import Inbox
from core.limits import Limits
from core.messages import Address, ChannelName, InboundMessage, Text
from core.providers import Providers
from core.settings import Settings
from core.turn import TurnDeps
from core.turn_answer import run_turn
from core.turn_store import Turns
from core.wake import Wakes
from tests.said import whole
from tests.skills import WHOLE, missing

WEB, WHATSAPP, TELEGRAM = ChannelName.WEB, ChannelName.WHATSAPP, ChannelName.TELEGRAM


def at(channel: ChannelName, person: str, room: str | None = None) -> Address:
    """Somebody on a channel, in private unless a room is given."""
    return Address(channel, "ours", room or person, person)


@dataclass
class Mathia:
    """All of it but the runners and the channels."""

    db: Database
    valkey: Redis
    inbox: Inbox
    turns: Turns
    deps: TurnDeps
    wakes: Wakes

    async def receive(self, *said: tuple[Address, str]) -> None:
        """Store messages, each with an event id of its own."""
        await self.inbox.receive(
            [InboundMessage(who, uuid4().hex, (Text(text=text),), datetime.now(UTC), None) for who, text in said]
        )

    async def answer(self) -> None:
        """Answer everything that waits."""
        while claimed := await self.turns.claim(8):
            closings = await asyncio.gather(*(run_turn(turn, self.deps) for turn in claimed))
            assert all(await asyncio.gather(*(self.turns.close(closing) for closing in closings)))

    async def told(self, who: Address) -> list[str]:
        """What was said in a room, in order."""
        return await whole(
            self.db,
            "JOIN conversation c ON c.id = m.conversation_id"
            " WHERE m.direction = 'out' AND (c.channel, c.room) = ($1, $2) ORDER BY m.seq",
            who.channel.value,
            who.room,
        )

    async def hear(self, who: Address, text: str) -> str:
        """Say one thing; the newest answer in that room."""
        await self.receive((who, text))
        await self.answer()
        return (await self.told(who))[-1]

    async def person(self, who: Address) -> UUID:
        """Whose identity this is."""
        found: UUID = await self.db.pool.fetchval(
            "SELECT person_id FROM identity WHERE (channel, account, provider_id) = ($1, $2, $3)",
            who.channel.value,
            who.account,
            who.person,
        )
        return found

    async def code(self, who: Address, text: str = "link my account") -> str:
        """The code that a chat is shown."""
        shown = await self.hear(who, text)
        return shown.split("\n\n")[1]


@asynccontextmanager
async def mathia(
    db: Database, valkey_url: str, *, sandbox_url: str = "", connectors: Sequence[Connector] = ()
) -> AsyncIterator[Mathia]:
    """Mathia with every skill (a test of one that was removed is skipped) or with these `connectors`, and a mail
    server that nobody answers at; providers are asked at `sandbox_url`.
    """
    if not connectors and (why_not := missing(*WHOLE)):
        pytest.skip(why_not)
    settings = Settings(
        _env_file=None, smtp_host="127.0.0.1", mail_from="Mathia <bot@mathia.example>", sandbox_url=sandbox_url
    ).sandboxed()
    wakes, valkey, providers = Wakes(db), Redis.from_url(valkey_url), Providers(settings)
    catalog = Catalog(connectors or CONNECTORS, settings, confirms=True)
    limits = Limits(valkey)
    deps = TurnDeps(RuleBrain(catalog), catalog, providers, ResultCache(valkey, db.keys), db, settings, limits)
    turns = Turns(db, wakes, DialogStore(valkey, db.keys), limits, lease_s=30, zone="Africa/Nairobi")
    try:
        yield Mathia(db, valkey, Inbox(db, wakes), turns, deps, wakes)
    finally:
        await providers.close()
        await valkey.aclose()
