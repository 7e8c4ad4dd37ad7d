"""`python3 -m bot chat` as a child process, against the real socket on a real PostgreSQL and Valkey."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from core.db import Database
from core.settings import Settings
from tests.channels.browser import Running, Site
from tests.said import texts
from tests.waiting import until

ROOT = Path(__file__).parents[2]
LIMIT_S = 20.0


class Terminal:
    """One chat in a terminal; its settings live in `home`."""

    def __init__(self, process: Process) -> None:
        self.process = process

    @classmethod
    async def open(cls, url: str, home: Path) -> "Terminal":
        return cls(
            await asyncio.create_subprocess_exec(
                sys.executable, "-m", "bot", "chat", "--url", url, stdin=PIPE, stdout=PIPE, stderr=PIPE, cwd=ROOT,
                env={**os.environ, "XDG_CONFIG_HOME": str(home)},
            )
        )  # fmt: skip

    def write(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())

    async def read(self) -> str:
        assert self.process.stdout is not None
        async with asyncio.timeout(LIMIT_S):
            return (await self.process.stdout.readline()).decode().rstrip("\n")

    async def end(self) -> tuple[int | None, str, str]:
        """Close the input; the exit code, and what else was printed and complained."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        async with asyncio.timeout(LIMIT_S):
            out, complaint = await self.process.communicate()
        return self.process.returncode, out.decode(), complaint.decode()


@pytest.fixture
async def site(db: Database, valkey_url: str) -> AsyncIterator[Site]:
    async with Running(Settings.model_validate({}), db, valkey_url) as running:
        yield running


def socket_url(site: Site) -> str:
    return site.url.replace("http://", "ws://") + "/ws"


async def stored(site: Site) -> list[str]:
    """The texts that came in, in order."""
    return await texts(site.db, "WHERE direction = 'in' ORDER BY conversation_id, seq")


async def answer(site: Site, count: int, text: str, options: tuple[str, ...] = ()) -> None:
    """Wait until `count` messages are stored, then answer as the bot."""

    async def come() -> bool:
        return len(await stored(site)) == count

    await until(come, LIMIT_S, f"message {count}")
    room = str(await site.db.pool.fetchval("SELECT id FROM web_visitor"))
    await site.post(room, text, options=options)
    await site.deliver(room)


async def test_a_number_picks_one_of_the_answers_shown(site: Site, tmp_path: Path) -> None:
    terminal = await Terminal.open(socket_url(site), tmp_path)
    terminal.write("hello")
    await answer(site, 1, "You could say:", ("weather in Nairobi", "help"))
    assert [await terminal.read() for _ in range(3)] == ["You could say:", "  1. weather in Nairobi", "  2. help"]
    terminal.write("2")
    await answer(site, 2, "Here is what I can do.")
    assert await terminal.read() == "Here is what I can do."
    assert await terminal.end() == (0, "", "")
    assert await stored(site) == ["hello", "help"]


async def test_the_chat_goes_on_where_it_was_left(site: Site, tmp_path: Path) -> None:
    first = await Terminal.open(socket_url(site), tmp_path)
    first.write("remind me")
    await answer(site, 1, "What should I remind you of?")
    assert await first.read() == "What should I remind you of?"
    await first.end()
    await site.post(str(await site.db.pool.fetchval("SELECT id FROM web_visitor")), "A reminder that came meanwhile")
    second = await Terminal.open(socket_url(site), tmp_path)
    assert await second.read() == "A reminder that came meanwhile"
    assert (await second.end())[0] == 0
    assert await site.db.pool.fetchval("SELECT count(*) FROM web_visitor") == 1


async def test_the_token_is_for_its_owner_alone(site: Site, tmp_path: Path) -> None:
    terminal = await Terminal.open(socket_url(site), tmp_path)
    assert (await terminal.end())[0] == 0
    file = tmp_path / "mathia" / "chat.json"
    assert file.stat().st_mode & 0o777 == 0o600
    assert len(json.loads(file.read_text())[socket_url(site)]["token"]) == 43


async def test_a_chat_that_is_forgotten_there_is_begun_anew(site: Site, tmp_path: Path) -> None:
    (tmp_path / "mathia").mkdir()
    old = {"token": "x" * 43, "seq": 7}
    (tmp_path / "mathia" / "chat.json").write_text(json.dumps({socket_url(site): old}))
    terminal = await Terminal.open(socket_url(site), tmp_path)
    terminal.write("hello")
    await answer(site, 1, "Hello.")
    assert await terminal.read() == "Hello."
    assert (await terminal.end())[0] == 0


async def test_words_cannot_move_the_cursor(site: Site, tmp_path: Path) -> None:
    terminal = await Terminal.open(socket_url(site), tmp_path)
    terminal.write("hello")
    await answer(site, 1, "\x1b[2Jgone \u202e")
    assert await terminal.read() == "�[2Jgone �"
    await terminal.end()


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("ws://127.0.0.1:9/ws", "Nothing answers at ws://127.0.0.1:9/ws; start it with python3 -m bot up.\n"),
        ("http://x", "'http://x' is not the address of a socket. Write one such as ws://127.0.0.1:8080/ws.\n"),
    ],
)
async def test_what_is_wrong_is_said_in_a_sentence(url: str, sentence: str, tmp_path: Path) -> None:
    terminal = await Terminal.open(url, tmp_path)
    assert await terminal.end() == (1, "", sentence)


async def test_a_page_is_not_taken_for_the_socket(site: Site, tmp_path: Path) -> None:
    url = site.url.replace("http://", "ws://") + "/chat"
    code, _, complaint = await (await Terminal.open(url, tmp_path)).end()
    assert (code, complaint) == (1, f"What answers at {url} is not Mathia's socket (HTTP 200).\n")
