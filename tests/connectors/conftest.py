"""What actions are called with, pointed at the simulators."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from core.actions import ActionContext, Person
from core.db import Database
from core.providers import Providers
from core.settings import Settings
from tests.conftest import Sandbox

NOBODY = UUID(int=1)
SOMEWHERE = UUID(int=2)
NO_DATABASE = "postgresql://nobody@127.0.0.1:1/none"

MakeContext = Callable[..., ActionContext]


@pytest.fixture
def settings(sandbox: Sandbox) -> Settings:
    """A deployment without any key, so that every provider is a simulator."""
    return Settings(_env_file=None, sandbox_url=sandbox.url).sandboxed()


@pytest.fixture
async def providers(settings: Settings) -> AsyncIterator[Providers]:
    """Clients that wait only a moment between tries."""
    providers = Providers(settings, backoff_s=0.01)
    try:
        yield providers
    finally:
        await providers.close()


@pytest.fixture
async def make_context(settings: Settings, providers: Providers) -> AsyncIterator[MakeContext]:
    """Makes contexts for actions that need no database: using it would fail, since nothing listens there."""
    nowhere = await Database.connect(NO_DATABASE)

    def make(**changed: Any) -> ActionContext:
        known: dict[str, Any] = {
            "person": Person(NOBODY, "Amina", "en", "Africa/Nairobi"), "conversation_id": SOMEWHERE, "db": nowhere,
            "providers": providers, "settings": settings, "now": datetime.now(UTC), "idempotency_key": "test:1",
        }  # fmt: skip
        return ActionContext(**(known | changed))

    try:
        yield make
    finally:
        await nowhere.close()
