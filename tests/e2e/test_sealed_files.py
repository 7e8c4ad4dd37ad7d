"""What people wrote is found in no file that a whole deployment leaves behind, but where docs/security.md says so."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import asyncpg

from bot.adminlink import embedded
from tests.bot.test_up import OURS, ROOT, Up, up
from tests.waiting import until

LIMIT_S = 30.0


class Told:
    """The canaries: one word for each thing that was told, which nobody could guess."""

    def __init__(self) -> None:
        self.words: dict[str, str] = {}

    def __call__(self, what: str) -> str:
        return self.words.setdefault(what, f"canary{uuid4().hex}")

    def places(self, folder: Path, said: str) -> dict[str, set[str]]:
        """Where each can be read: the parts of the data folder, and what the process said."""
        found: dict[str, set[str]] = {what: set() for what in self.words}
        texts = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and not path.is_symlink()}
        for path, data in texts.items():
            part = path.relative_to(folder).parts[0]
            if part == "sandbox":  # What the providers know, which they do.
                continue
            for what, word in self.words.items():
                if word.encode() in data or word.encode("utf-16-le") in data:
                    found[what].add(part)
        for what, word in self.words.items():
            if word in said:
                found[what].add("log")
        return found


class Talk:
    """Whoever talks to it, through the simulated phone and the web socket."""

    def __init__(self, running: Up, http: aiohttp.ClientSession) -> None:
        self._base = f"http://127.0.0.1:{running.port}"
        self._http = http

    async def send(self, app: str, text: str, answer: str, **more: Any) -> Any:
        """Send as the first person of that app, and wait for an answer that holds `answer`."""
        before = await self._answers(app, answer)
        body = {"as": app, "text": text, **more}
        async with self._http.post(f"{self._base}/sandbox/api/send", json=body) as response:
            assert response.status == 200, await response.text()
            sent = await response.json()

        async def answered() -> bool:
            return await self._answers(app, answer) > before + (answer == "")

        await until(answered, LIMIT_S, f"an answer on {app} with {answer!r}")
        return sent

    async def _answers(self, app: str, text: str) -> int:
        async with self._http.get(f"{self._base}/sandbox/api/history", params={"as": app}) as response:
            messages = (await response.json())["messages"]
        return sum(text in json.dumps(message, ensure_ascii=False) for message in messages)

    async def web(self, *lines: tuple[str, str]) -> None:
        """Say lines on the web, each with a part of its answer."""
        async with self._http.ws_connect(f"{self._base}/ws", origin=self._base) as socket:
            await socket.send_json({"type": "hello", "token": None, "since": 0, "site": "default"})
            for text, answer in lines:
                await socket.send_json({"type": "send", "cid": uuid4().hex, "text": text})
                while True:
                    frame = await socket.receive_json(timeout=LIMIT_S)
                    assert frame["type"] != "error", frame
                    if frame.get("from") == "bot":
                        assert answer in json.dumps(frame), frame
                        break


async def test_no_file_holds_what_people_wrote() -> None:
    told = Told()
    with tempfile.TemporaryDirectory(prefix="mathia-sealed-") as scratch:
        Path(scratch).chmod(0o711)
        folder = Path(scratch) / "d"
        with up(folder, LOG_LEVEL="debug") as running:
            running.ready()
            async with aiohttp.ClientSession() as http:
                talk = Talk(running, http)
                for app in ("whatsapp", "telegram"):
                    await talk.send(app, f"remind me tomorrow at 9 to buy {told(f'{app} reminder')}", "Reminder set")
                    await talk.send(app, f"hello {told(f'{app} text')}", "")
                    await talk.send(app, f"save {told('contact')}'s number +254 712 345 678", "Saved")
                await talk.web(
                    (f"remind me to see {told('web dialog')}", "When"),
                    (f"tomorrow at 9 {told('web text')}", ""),
                    (f"weather in {told('web weather')}", ""),
                )
                await workflow(folder, told("workflow"))
            assert running.stop() == 0
            found = told.places(folder, running.said)
    assert {what: places for what, places in found.items() if places} == {}


async def workflow(folder: Path, word: str) -> None:
    """Let a workflow say the word, which passes Temporal."""
    environment = {name: value for name, value in os.environ.items() if not OURS.match(name)}
    connection = await asyncpg.connect(embedded(folder))
    try:
        place = await connection.fetchval("SELECT conversation_id FROM member LIMIT 1")
        file = folder.parent / "workflow.json"
        file.write_text(json.dumps({"name": "w", "steps": [{"id": "one", "kind": "say", "text": f"I say {word}"}]}))
        for words in (["add", str(file), "--conversation", str(place)], ["start", "w"]):
            done = await asyncio.to_thread(
                subprocess.run,
                [sys.executable, "-m", "bot", "workflow", "--data", str(folder), *words],
                cwd=ROOT, env=environment, capture_output=True, text=True,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr + done.stdout

        async def ended() -> bool:
            return bool(await connection.fetchval("SELECT state FROM workflow_run") == "done")

        await until(ended, LIMIT_S, "the end of the run")
    finally:
        await connection.close()
