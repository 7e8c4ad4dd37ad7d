"""Every crash point, first and second pass, crash and stall: nothing is lost, nothing is done twice, order is kept."""

import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from bot.bench.storm import judge, sends_of, settled
from bot.bench.webhooks import Connection, inbound, signed_request
from bot.stand import ROOT, Stand, answers, stand
from core.crashpoint import POINTS
from core.reminders import as_reminder
from tests.said import messages_on
from tests.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

ENVIRONMENT = {"TURN_LEASE_S": "1.5", "SEND_LEASE_S": "1.5", "UNKNOWN_CERTAIN_S": "2"}
DELIVERED_LIMIT_S = 30.0
SETTLED_LIMIT_S = 60.0
START_LIMIT_S = 30.0
CHAT_POINTS = tuple(point for point in POINTS if point.split(".")[0] in ("inbox", "turn", "outbox"))

_numbers = itertools.count(1)


class Preloaded:
    """The parent that forks the service."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._parent = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.preloaded"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        self._parent.stdin.write(json.dumps(question) + "\n")
        self._parent.stdin.flush()
        answer: dict[str, Any] = json.loads(self._parent.stdout.readline())
        return answer

    def run(self, *words: str, env: dict[str, str]) -> int:
        """Fork one process of the service; its pid."""
        return int(self._ask({"run": list(words), "env": env, "log": str(self._log)})["pid"])

    def ended(self, pid: int) -> int | None:
        """How it ended; None while it runs."""
        code: int | None = self._ask({"poll": pid})["ended"]
        return code

    async def kill(self, pid: int) -> None:
        """kill -9, and wait until it is gone."""
        os.killpg(pid, signal.SIGKILL)
        await until(lambda: self._gone(pid), what="the end of a killed process")

    async def _gone(self, pid: int) -> bool:
        return self.ended(pid) is not None

    def close(self) -> None:
        """End the parent."""
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        self._parent.stdin.close()
        self._parent.wait(10)
        self._parent.stdout.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def deployment(scratch: Path) -> AsyncIterator[Stand]:
    folder = scratch / "crash"
    folder.mkdir()
    folder.chmod(0o711)
    async with stand(folder, durable=False, environment=ENVIRONMENT) as made:
        yield made


@pytest.fixture(scope="module")
def preloaded(deployment: Stand) -> Iterator[Preloaded]:
    parent = Preloaded(deployment.folder / "service.log")
    yield parent
    parent.close()


async def serve(preloaded: Preloaded, deployment: Stand, *words: str, **extra: str) -> int:
    """Start a process; a web process is waited for until it answers, or ends."""
    pid = preloaded.run(*words, env={**deployment.env, **extra})

    async def ready() -> bool:
        return preloaded.ended(pid) is not None or await answers(f"{deployment.url}/healthz")

    if words[0] == "web":
        await until(ready, START_LIMIT_S, "the web process")
    return pid


class Talk:
    """One scripted conversation of two people, delivered until acknowledged, whoever dies meanwhile."""

    def __init__(self, deployment: Stand) -> None:
        self.deployment = deployment
        self.events: list[str] = []
        run = next(_numbers)
        self._requests: list[bytes] = []
        for step in range(6):
            text = (
                f"{run * 10 + step + 1} USD in KES"
                if step % 2 == 0
                else f"remind me in 3 days to water plant {run * 10 + step}"
            )
            event_id = f"SM{run:016x}{step:016x}"
            self.events.append(event_id)
            form = inbound(event_id, f"+2547{run:04d}{step % 2:04d}", text)
            self._requests.append(signed_request(deployment.url, form))

    async def deliver(self) -> None:
        """Post each message until it gets its 200."""
        for request in self._requests:
            while not await self._post(request):
                await asyncio.sleep(0.02)

    async def _post(self, request: bytes) -> bool:
        try:
            connection = await Connection.open(self.deployment.port)
        except OSError:
            return False
        try:
            return await connection.post(request) == 200
        except (OSError, EOFError):
            return False
        finally:
            connection.close()


async def check(deployment: Stand, events: list[str]) -> None:
    """Wait until all is settled, then hold the store and the provider's log against what was acknowledged."""
    connection = await deployment.connect()
    try:
        await settled(connection, SETTLED_LIMIT_S)
        verdict = await judge(connection, deployment.keys, events, await sends_of(deployment))
        assert verdict.passed, verdict
        heard = await messages_on(deployment.keys, connection, "WHERE m.event_id = ANY($1)", events)
        asked = [text for row in heard if (text := row["parts"][0].get("text", "")).startswith("remind")]
        rows = await connection.fetch("SELECT id, conversation_id, sealed FROM reminder")
        values = [(row["conversation_id"], as_reminder(row["id"]), row["sealed"]) for row in rows]
        contents = [(content or b"").decode() for content in await deployment.keys.opened(connection, values)]
        assert len(contents) == len(set(contents)), "a reminder was set twice"
        assert all(any(text.endswith(content) for content in contents) for text in asked), "a reminder was lost"
    finally:
        await connection.close()


async def crash(preloaded: Preloaded, deployment: Stand, point: str, nth: int) -> None:
    """Let the service die at the `nth` pass of `point`, start it again, and check."""
    pid = await serve(preloaded, deployment, "web", MATHIA_CRASH=f"{point}:{nth}")
    talk = Talk(deployment)
    delivering = asyncio.create_task(talk.deliver())

    async def crashed() -> bool:
        return preloaded.ended(pid) is not None

    await until(crashed, DELIVERED_LIMIT_S, f"the crash at {point}, pass {nth}")
    again = await serve(preloaded, deployment, "web")
    await asyncio.wait_for(delivering, DELIVERED_LIMIT_S)
    await check(deployment, talk.events)
    await preloaded.kill(again)


async def stall(preloaded: Preloaded, deployment: Stand, point: str, nth: int) -> None:
    """Let the service sleep past its leases there: another takes over, and the sleeper, awake, changes nothing."""
    stalled = await serve(preloaded, deployment, "web", MATHIA_CRASH=f"{point}:{nth}:stall")
    other = await serve(preloaded, deployment, "turns")
    talk = Talk(deployment)
    await asyncio.wait_for(talk.deliver(), DELIVERED_LIMIT_S)
    await check(deployment, talk.events)
    await preloaded.kill(stalled)
    await preloaded.kill(other)


@pytest.mark.parametrize("point", CHAT_POINTS)
async def test_nothing_is_lost_or_repeated(preloaded: Preloaded, deployment: Stand, point: str) -> None:
    """First and second pass, crash and stall, each on a deployment of its own, side by side."""
    name = point.replace(".", "_")
    variants = [(what, nth) for what in (crash, stall) for nth in (1, 2)]
    own = [await deployment.sibling(f"{name}_{what.__name__}_{nth}") for what, nth in variants]
    async with asyncio.TaskGroup() as group:
        for (what, nth), beside in zip(variants, own, strict=True):
            group.create_task(what(preloaded, beside, point, nth), name=f"{what.__name__} {nth}")
