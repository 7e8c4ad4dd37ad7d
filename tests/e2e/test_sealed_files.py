"""What people told is found in no file that a whole deployment leaves behind, nor in a dump of its database or a log.

Everything is said the way people and staff say it: on the simulated phone, the web socket, the JSON API, the admin's
forms. Where files hold values in another way to write them, the words are looked for in that too.
"""

import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import asyncpg

from bot.adminlink import embedded
from bot.servers.folder import DataFolder
from bot.servers.postgres import OWNER, Postgres, binaries
from tests.bot.test_up import OURS, ROOT, Up, up
from tests.waiting import until
from tests.web_admin.site import Browser

LIMIT_S = 30.0
NUMBER = "254799000111"
FILE_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Told:
    """The canaries: one word for each thing that was told, which nobody could guess."""

    def __init__(self) -> None:
        self.words: dict[str, str] = {}

    def __call__(self, what: str) -> str:
        # Of letters alone: digits among them can be read as a time or a sum.
        letters = uuid4().hex.translate(str.maketrans("0123456789", "ghijklmnop"))
        return self.words.setdefault(what, f"canary{letters}")

    def places(self, texts: Mapping[str, bytes]) -> dict[str, set[str]]:
        """In which of these each can be read."""
        found: dict[str, set[str]] = {}
        for place, data in texts.items():
            low = data.lower()
            for what, word in self.words.items():
                plain = word.encode()
                # As PostgreSQL dumps bytes, as Windows writes text, and as it stands.
                if plain in low or plain.hex().encode() in low or word.encode("utf-16-le") in data:
                    found.setdefault(what, set()).add(place)
        return found


def files_of(folder: Path) -> dict[str, bytes]:
    """What each part of the data folder holds; but the simulators', where stands what providers know, which they do."""
    parts: dict[str, list[bytes]] = {}
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            parts.setdefault(path.relative_to(folder).parts[0], []).append(path.read_bytes())
    parts.pop("sandbox", None)
    return {part: b"\0".join(held) for part, held in parts.items()}


class Talk:
    """Whoever talks to it, through the simulated phone and the web."""

    def __init__(self, running: Up, http: aiohttp.ClientSession) -> None:
        self.base = f"http://127.0.0.1:{running.port}"
        self.http = http
        self.token = ""

    async def send(self, app: str, text: str, answer: str, **more: Any) -> Any:
        """Send as the first person of that app, and wait for an answer that holds `answer`."""
        before = await self._answers(app, answer)
        sent = await self.phone("send", {"as": app, "text": text, **more})

        async def answered() -> bool:
            return await self._answers(app, answer) > before + (answer == "")

        await until(answered, LIMIT_S, f"an answer on {app} with {answer!r}")
        return sent

    async def phone(self, what: str, body: object) -> Any:
        """Do something on the simulated phone."""
        async with self.http.post(f"{self.base}/sandbox/api/{what}", json=body) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def code(self, app: str) -> str:
        """The code that was shown last, to confirm something with."""
        async with self.http.get(f"{self.base}/sandbox/api/history", params={"as": app}) as response:
            shown: list[str] = re.findall(r"within 10 minutes: (\d{5})", await response.text())
        return shown[-1]

    async def _answers(self, app: str, text: str) -> int:
        async with self.http.get(f"{self.base}/sandbox/api/history", params={"as": app}) as response:
            messages = (await response.json())["messages"]
        return sum(text in json.dumps(message, ensure_ascii=False) for message in messages)

    async def web(self, *lines: tuple[str, str]) -> int:
        """Say lines on the web, each with a part of its answer; the number of the last."""
        seq = 0
        async with self.http.ws_connect(f"{self.base}/ws", origin=self.base) as socket:
            await socket.send_json({"type": "hello", "token": self.token or None, "since": 0, "site": "default"})
            self.token = (await socket.receive_json(timeout=LIMIT_S))["token"]
            for text, answer in lines:
                cid = uuid4().hex
                await socket.send_json({"type": "send", "cid": cid, "text": text})
                while True:
                    frame = await socket.receive_json(timeout=LIMIT_S)
                    assert frame["type"] != "error", frame
                    seq = frame["seq"] if frame.get("cid") == cid else seq
                    if frame.get("from") == "bot" and seq and frame["seq"] > seq:
                        assert answer in json.dumps(frame), frame
                        break
        return seq

    async def change(self, frame: dict[str, Any]) -> None:
        """Edit or take back a message of the web, until that is seen."""
        async with self.http.ws_connect(f"{self.base}/ws", origin=self.base) as socket:
            await socket.send_json({"type": "hello", "token": self.token, "since": 10_000, "site": "default"})
            await socket.send_json(frame | {"cid": uuid4().hex})
            while (await socket.receive_json(timeout=LIMIT_S))["type"] != frame["type"]:
                pass

    async def mailed(self, *addresses: str) -> None:
        """Wait until something was mailed to each of these."""

        async def arrived() -> bool:
            async with self.http.get(f"{self.base}/sandbox/truth/smtp") as response:
                truth = await response.text()
            return all(address in truth for address in addresses)

        await until(arrived, LIMIT_S, "the mails")

    async def upload(self, name: str, words: str) -> None:
        """Send a text file on the web."""
        headers = {"Authorization": f"Bearer {self.token}", "X-File-Name": name}
        async with self.http.post(f"{self.base}/upload-file/", data=words.encode(), headers=headers) as response:
            assert response.status in (200, 201), await response.text()
            found = FILE_ID.search(await response.text())
        assert found
        async with self.http.ws_connect(f"{self.base}/ws", origin=self.base) as socket:
            await socket.send_json({"type": "hello", "token": self.token, "since": 10_000, "site": "default"})
            await socket.send_json({"type": "send", "cid": uuid4().hex, "text": "", "files": [found[0]]})
            while (await socket.receive_json(timeout=LIMIT_S)).get("from") != "bot":
                pass

    async def api(self, method: str, path: str, body: object = None) -> Any:
        """Ask the JSON API as the visitor."""
        headers = {"Authorization": f"Bearer {self.token}"}
        async with self.http.request(method, f"{self.base}/api/{path}", headers=headers, json=body) as response:
            assert response.status < 300, await response.text()
            return await response.json() if response.status != 204 else None


async def test_no_file_dump_or_log_holds_what_people_told() -> None:
    told = Told()
    with tempfile.TemporaryDirectory(prefix="mathia-sealed-") as scratch:
        Path(scratch).chmod(0o711)
        folder = Path(scratch) / "d"
        with up(folder, LOG_LEVEL="debug") as running:
            running.ready()
            async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
                talk = Talk(running, http)
                await on_the_phone(talk, told)
                await on_the_web(talk, told)
                await at_the_desk(Browser(talk.base, http), running.address("admin"), talk, told)
                await talk.mailed(
                    *(f"{told(what)}@mail.example" for what in ("telegram e-mail", "invitation", "client e-mail"))
                )
                await workflow(folder, told("workflow"))
            dump = await asyncio.to_thread(dumped, folder)
            assert running.stop() == 0
            texts = files_of(folder) | {"dump": dump, "log": running.said.encode()}
    assert len(told.words) >= 40
    # A number is what a message is sent to, so that it is read there shows that it is looked for in the right places.
    read = {place for place, data in texts.items() if NUMBER.encode() in data}
    assert {"dump", "postgres"} <= read, sorted(texts)
    assert {"temporal", "valkey"} < {*texts}, sorted(texts)
    assert told.places(texts) == {}


async def on_the_phone(talk: Talk, told: Told) -> None:
    """Everything that people tell on WhatsApp and Telegram."""
    for app in ("whatsapp", "telegram"):
        await talk.send(app, f"remind me tomorrow at 9 to buy {told(f'{app} reminder')}", "Reminder set")
        await talk.send(app, f"hello {told(f'{app} text')}", "")
        await talk.send(app, f"save {told('contact')}'s number +254 712 345 678", "Saved")
        await talk.send(app, f"my name is {told(f'{app} name')}", told(f"{app} name"))
        await talk.send(app, f"my e-mail is {told(f'{app} e-mail')}@mail.example", "6-digit code")
        await talk.send(app, f"my goal is to build {told(f'{app} goal')}", told(f"{app} goal"))
        await talk.send(app, f"I prefer {told(f'{app} preference')}", told(f"{app} preference"))
        await talk.send(app, told(f"{app} caption"), "", picture=True)
        await talk.send(app, "", "Reminder set", voice=f"remind me tomorrow at 9 to fetch {told(f'{app} transcript')}")
    client = f"{told('client e-mail')}@mail.example"
    await talk.send("whatsapp", f"invoice Otieno KES 500 for {told('invoice')}, {client}", "Please check this invoice")
    await talk.send("whatsapp", await talk.code("whatsapp"), "is on its way to Otieno")
    name = told("display name")
    for app, person in (("whatsapp", f"+{NUMBER}"), ("telegram", NUMBER)):
        await talk.phone("send", {"as": app, "text": "hello", "from": person, "name": name})
    sent = await talk.send("telegram", f"we meet at {told('telegram before an edit')}", "")
    await talk.phone("edit", {"as": "telegram", "id": sent["id"], "text": f"at {told('telegram after an edit')}"})


async def on_the_web(talk: Talk, told: Told) -> None:
    """Everything that people tell on the web, alone and in a room."""
    await talk.web(
        (f"remind me to see {told('web dialog')}", "When"),
        (f"tomorrow at 9 {told('web text')}", ""),
        (f"weather in {told('web weather')}", ""),
    )
    seq = await talk.web((f"hello {told('web before an edit')}", ""))
    await talk.change({"type": "edit", "seq": seq, "text": f"hello {told('web after an edit')}"})
    seq = await talk.web((f"hello {told('web deleted')}", ""))
    await talk.change({"type": "delete", "seq": seq})
    await talk.upload(f"{told('file name')}.txt", f"It says {told('file')}.")
    room = (await talk.api("POST", "chatrooms/", {"title": told("room title"), "name": told("member name")}))["id"]
    message = {"id": uuid4().hex, "text": f"hello {told('room text')}"}
    posted = await talk.api("POST", f"chatrooms/{room}/messages/", message)
    await talk.api("PATCH", f"chatrooms/{room}/messages/{posted['seq']}/", {"text": f"hello {told('room edit')}"})
    await talk.api("POST", f"chatrooms/{room}/invite/", {"email": f"{told('invitation')}@mail.example"})


async def at_the_desk(staff: Browser, link: str, talk: Talk, told: Told) -> None:
    """Everything that staff write: notes, canned replies, messages, searches, lines to teach."""
    await staff.post("/admin/sign-in", {"token": link.partition("token=")[2]})
    csrf = await staff.csrf()

    async def post(path: str, **fields: str) -> None:
        answer = await staff.post(f"/admin/{path}", {"csrf": csrf, "nonce": uuid4().hex, **fields})
        assert answer.status == 303, answer.text

    await talk.send("whatsapp", "talk to a human", "I have asked a person")
    await post("replies", act="save", shortcut="delivery", text=f"We deliver {told('canned reply')}.")
    assert told("canned reply") in (await staff.get("/admin/replies")).text
    waiting = (await staff.get("/admin/conversations?show=waiting")).text
    found = re.search(r'href="/admin/conversations/([0-9a-f-]{36})', waiting)
    assert found, waiting
    place = f"conversations/{found[1]}"
    await post(f"{place}/handoff", act="take_over")
    await post(f"{place}/messages", act="note", text=f"asks for {told('note')}")
    await post(f"{place}/messages", act="send", text=f"We deliver {told('canned reply')}.")
    await post(f"{place}/messages", act="send", text=f"It costs {told('staff message')}.")
    await post(f"{place}/handoff", act="hand_back")
    turn = re.search(r'"/admin/turns/(\d+)"', (await staff.get("/admin/turns?channel=whatsapp")).text)
    assert turn
    seq = re.search(r'name="seq" value="(\d+)"', (await staff.get(f"/admin/turns/{turn[1]}?words=1")).text)
    assert seq
    await post(f"turns/{turn[1]}/mark", seq=seq[1], meant="none")
    marked = re.search(r'"/admin/corrections/(\d+)"', (await staff.get("/admin/corrections")).text)
    assert marked
    await post(f"corrections/{marked[1]}", act="accept", meant="none", line=f"a line with {told('taught line')}")
    assert told("taught line") in (await staff.get("/admin/corrections/none.txt")).text
    for what in ("whatsapp name", "display name"):
        assert f"{told(what)}<" in (await staff.get(f"/admin/people?q={told(what)}")).text
    assert "Nobody matches" in (await staff.get(f"/admin/people?q={told('searched')}")).text


def dumped(folder: Path) -> bytes:
    """The database as `pg_dump` writes it."""
    data = DataFolder(folder)
    owner = Postgres(data.run_folder()).url(OWNER)
    done = subprocess.run([binaries(data) / "pg_dump", owner], check=True, capture_output=True)
    assert b"COPY public.person " in done.stdout
    return done.stdout


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
