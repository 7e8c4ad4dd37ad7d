"""`bot workflow …` against real PostgreSQL and Temporal: what a person types, and what they read."""

import argparse
import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from bot.workflows import add_arguments, main
from connectors import CONNECTORS
from core.catalog import Catalog
from core.db import Database
from core.errors import UserError
from core.models import Reminder
from core.providers import Providers
from core.reminders import open_contents
from core.settings import Settings
from core.wake import Wakes
from core.workflows import InvalidWorkflow
from jobs.temporal import run_temporal
from tests.jobs.people import said, someone
from tests.skills import needs
from tests.waiting import until

STEPS: list[dict[str, Any]] = [
    {"id": "sure", "kind": "approval", "text": "Set a reminder to {trigger.what}?"},
    {"id": "set", "kind": "action", "action": "set_reminder",
     "params": {"content": "{trigger.what}", "time": "{trigger.at}"}},
]  # fmt: skip

NEXT_YEAR = datetime.now(UTC).year + 1

Type = Callable[..., Awaitable[str]]


@pytest.fixture
def typed(
    database_url: str, temporal_host: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Type:
    """Runs one command line and returns what it printed."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("TEMPORAL_HOST", temporal_host)
    parser = argparse.ArgumentParser()
    add_arguments(parser)

    async def run(*words: object) -> str:
        assert await main(parser.parse_args([str(word) for word in words])) == 0
        return capsys.readouterr().out.strip()

    return run


def write(folder: Path, name: str = "morning", **more: Any) -> Path:
    """A definition in a file."""
    file = folder / "workflow.json"
    file.write_text(json.dumps({"name": name, "steps": STEPS, **more}))
    return file


@needs("reminders")
async def test_workflow_is_added_started_approved_shown_paused_and_deleted(
    db: Database, typed: Type, tmp_path: Path, temporal_host: str
) -> None:
    known = await someone(db)
    await typed("add", write(tmp_path), "--person", known.person_id)
    assert "morning" in await typed("list")
    trigger = json.dumps({"what": "stretch", "at": f"{NEXT_YEAR}-01-01T09:00"})
    run = await typed("start", "morning", "--trigger", trigger)
    settings = Settings(_env_file=None, temporal_host=temporal_host)
    providers = Providers(settings)
    worker = asyncio.create_task(
        run_temporal(settings, db, Wakes(db), Catalog(CONNECTORS, settings), providers, task_queue=f"q-{run}")
    )

    async def shows(text: str) -> bool:
        return text in await typed("runs", "morning")

    try:
        await until(lambda: shows("sure"), 15, "the approval step")
        with pytest.raises(UserError, match="not waiting"):
            await typed("approve", run, "set")
        assert await typed("approve", run, "sure", "--by", "Asha") == "approved"
        await until(lambda: shows("done"), 15, "the end of the run")
    finally:
        worker.cancel()
        with suppress(asyncio.CancelledError):
            await worker
        await providers.close()
    shown = await typed("show", run)
    assert '"by": "Asha"' in shown
    async with db.transaction() as session:
        [reminder] = await open_contents(session, (await session.scalars(select(Reminder))).all())
    assert reminder.content == "stretch"
    assert (await said(db, known.conversation_id))[0] == "Set a reminder to stretch?"
    assert await typed("pause", "morning") == "morning: paused"
    with pytest.raises(UserError, match="paused; resume it first"):
        await typed("start", "morning")
    assert await typed("resume", "morning") == "morning: active"
    assert await typed("delete", "morning") == "morning: deleted"
    with pytest.raises(UserError, match="There is no workflow morning"):
        await typed("start", "morning")


@needs("reminders")
async def test_what_cannot_be_used_is_said_in_a_sentence(db: Database, typed: Type, tmp_path: Path) -> None:
    known = await someone(db)
    person = ("--person", known.person_id)
    odd = tmp_path / "odd.json"
    for text, says in (
        ("{", "is not JSON"), ("[" * 100_000, "JSON|deep"), ('{"name": ' + "1" * 5000 + "}", "not JSON|name|large"),
        ("\"x\"", "valid dictionary"), ("{}", "name|steps"),
        (json.dumps({"name": "x", "steps": [{"id": "a", "kind": "action", "action": "pay_me"}]}), "no action pay_me"),
        (json.dumps({"name": "x", "steps": [{**STEPS[1], "params": {}}]}), "needs content"),
        (json.dumps({"name": "x", "steps": [{**STEPS[1], "params": {"whom": "x"}}]}), "no parameter whom"),
        (json.dumps({"name": "x", "steps": [{**STEPS[1], "params": {"content": "x", "time": "soon"}}]}), "that time"),
    ):  # fmt: skip
        odd.write_text(text)
        with pytest.raises(InvalidWorkflow, match=says):
            await typed("add", odd, *person)
    odd.write_bytes(b'{"name": "\xff"}')
    with pytest.raises(InvalidWorkflow, match="UTF-8"):
        await typed("add", odd, *person)
    with pytest.raises(UserError, match="cannot be read"):
        await typed("add", tmp_path / "none.json", *person)
    with pytest.raises(UserError, match="no such person or conversation"):
        await typed("add", write(tmp_path), "--conversation", known.person_id)
    with pytest.raises(UserError, match="no run run-1"):
        await typed("show", "run-1")
    await typed("add", write(tmp_path, cron="0 9 * * *"), "--conversation", known.conversation_id)
    assert "0 9 * * * Africa/Nairobi" in await typed("list")
    with pytest.raises(InvalidWorkflow, match="called morning already"):
        await typed("add", write(tmp_path), *person)
    with pytest.raises(InvalidWorkflow, match="trigger is a JSON object"):
        await typed("start", "morning", "--trigger", "[]")
