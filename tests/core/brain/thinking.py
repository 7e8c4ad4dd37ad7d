"""A whole Mathia whose messages are read by simulated language models first, over real sockets."""

import http.client
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from pydantic import SecretStr

from core.brain.chain import Models
from core.db import Database
from core.messages import Address
from core.models import Receipt  # noqa: F401  the tables
from core.settings import Settings
from tests.conftest import Sandbox
from tests.core.speaking import WEB, Mathia, at, mathia

_keys = itertools.count(1)


@dataclass
class Thinking:
    """Mathia with models, and what there is to say to and learn from their simulators."""

    whole: Mathia
    models: Models
    sandbox: Sandbox
    claude_key: str
    other_key: str
    since: dict[str, int]

    def script(self, *answers: dict[str, Any], provider: str = "anthropic") -> None:
        """What the models of a provider answer next; afterwards they obey whatever they read."""
        key = self.claude_key if provider == "anthropic" else self.other_key
        assert self.sandbox.post(f"/{provider}/_script", json.dumps({"key": key, "answers": answers})) == 200

    def asked(self, provider: str = "anthropic") -> list[dict[str, Any]]:
        """What a provider was asked in this test, oldest first; refused requests too."""
        return _get(self.sandbox, f"/{provider}/_truth?since={self.since[provider]}")

    async def hear(self, text: str, who: Address | None = None) -> str:
        """Say one thing; the newest answer in that room."""
        return await self.whole.hear(who or at(WEB, "asha"), text)

    async def understood(self) -> dict[str, Any]:
        """What is recorded of the last turn's message."""
        intent = await self.whole.db.pool.fetchval("SELECT intent FROM turn ORDER BY id DESC LIMIT 1")
        [one] = intent["messages"]
        found: dict[str, Any] = one
        return found

    async def count(self, table: str) -> int:
        """How many rows a table has."""
        found: int = await self.whole.db.pool.fetchval(f"SELECT count(*) FROM {table}")  # noqa: S608
        return found


def _get(sandbox: Sandbox, path: str) -> list[dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", sandbox.port, timeout=5)
    try:
        connection.request("GET", path)
        found: list[dict[str, Any]] = json.loads(connection.getresponse().read())
        return found
    finally:
        connection.close()


@asynccontextmanager
async def thinking(
    db: Database, valkey_url: str, sandbox: Sandbox, *, other: bool = True, **more: Any
) -> AsyncIterator[Thinking]:
    """Claude first, then an OpenAI-compatible endpoint if there is an `other`; settings in `more`, and times of the
    chain (deadline_s, first_s, silence_s). `connectors` are there instead of every skill."""
    number = next(_keys)
    claude_key, other_key = f"sk-ant-test-{number}-", f"sk-test-{number}-"
    times = {name: more.pop(name) for name in ("deadline_s", "first_s", "silence_s") if name in more}
    connectors = more.pop("connectors", ())
    async with mathia(db, valkey_url, sandbox_url=sandbox.url, connectors=connectors) as whole:
        given: dict[str, Any] = {
            "anthropic_api_key": SecretStr(claude_key),
            "anthropic_base_url": f"{sandbox.url}/anthropic",
            "llm_fallback_model": "local" if other else "",
            "llm_fallback_base_url": f"{sandbox.url}/openai/v1",
            "llm_fallback_api_key": SecretStr(other_key),
            **more,
        }
        settings: Settings = whole.deps.settings.model_copy(update=given)
        models = Models.of(settings, whole.deps.catalog, db, **times)
        assert models is not None
        whole.deps = replace(whole.deps, settings=settings, models=models)
        await models.warm()
        since = {name: len(_get(sandbox, f"/{name}/_truth")) for name in ("anthropic", "openai")}
        try:
            yield Thinking(whole, models, sandbox, claude_key, other_key, since)
        finally:
            await models.close()
