"""A person's archive: all that is theirs from all their chats, nothing of anybody else's, made and told once."""

import asyncio
import io
import os
import re
import sys
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest

import ledger.instruction_models
import ledger.invoice_models
import ledger.mandate_models
import ledger.models  # noqa: F401
from core import exports, people, rooms
from core.catalog import Catalog
from core.changes import Change
from core.db import Database
from core.files import PIECE_BYTES, FileGone, Files
from core.messages import Address, ChannelName, Contact, InboundMessage, Location, Media, Part, Text, Voice
from core.models import Base
from core.outbox import NewMessage, post
from core.renumber import Renumbered, lift, renumbered
from core.rooms import Place
from core.sealed import as_note, as_workflow
from core.settings import Settings
from core.storage import Storage
from core.workflows import parse_draft
from jobs import definitions, summaries
from jobs.archive import TABLES, archive
from jobs.export import LEASE, TRIES_MAX, Hands, export
from ledger import invoices
from ledger.accounts import clearing, wallet
from ledger.instruction_store import PayOut, pay_out
from ledger.instructions import Payee
from ledger.journal import Entry, Kind, credit, debit
from ledger.money import Money
from ledger.posting import Ledger
from tests.conftest import ROOT
from tests.core.speaking import TELEGRAM, WHATSAPP, Mathia, at, mathia
from tests.said import messages
from tests.waiting import until

WORKER_S = 30.0
ASHA, ASHA_TOO, BARAKA = at(WHATSAPP, "whatsapp:+254700000001"), at(TELEGRAM, "7000001"), at(TELEGRAM, "7000002")


@dataclass
class Scene:
    """A whole Mathia that makes archives when it is told to."""

    mathia: Mathia
    files: Files
    hands: Hands

    async def make(self) -> None:
        """One try of every archive that may be made, as the sweep would hand them out."""
        for row in await self.mathia.db.pool.fetch(exports.CLAIMABLE, 100):
            await export(self.hands, row["id"])

    async def pay_in(self, who: Address, reference: str) -> None:
        """Five shillings from a provider into their wallet."""
        owner, five = str(await self.mathia.person(who)), Money(500, "KES")
        legs = debit(clearing("sandbox", "KES"), five), credit(wallet(owner, "KES"), five)
        await Ledger(self.mathia.db).post(Entry(reference, Kind.DEPOSIT, legs, reference))

    async def pay_out(self, who: Address, name: str) -> None:
        """A shilling of it to somebody of this name."""
        person = await self.mathia.person(who)
        asked = PayOut(
            uuid4().hex, str(person), person, await self.conversation(who), Money(100, "KES"),
            Payee("254700111222", name),
        )  # fmt: skip
        async with self.mathia.db.hot() as connection:
            await pay_out(connection, asked)

    async def invoice(self, who: Address, word: str) -> None:
        """An invoice of theirs for a shilling, of these words."""
        words = invoices.Words("Asha", word, word)
        async with self.mathia.db.hot() as connection:
            await invoices.create(
                connection, uuid4().hex, await self.mathia.person(who), await self.conversation(who),
                Money(100, "KES"), words, today=datetime.now(UTC).date(),
            )  # fmt: skip

    async def send(self, who: Address, *parts: Part) -> None:
        """A message of these parts arrives, and is answered."""
        await self.mathia.inbox.receive([InboundMessage(who, uuid4().hex, parts, datetime.now(UTC))])
        await self.mathia.answer()

    async def conversation(self, who: Address) -> UUID:
        """The room's id."""
        found: UUID = await self.mathia.db.pool.fetchval(
            "SELECT id FROM conversation WHERE (channel, room) = ($1, $2)", who.channel.value, who.room
        )
        return found

    async def flow(self, who: Address, word: str) -> str:
        """A workflow of theirs that says the word, and a run of it that is asked for; the run's id."""
        db, wakes = self.mathia.db, self.mathia.wakes
        draft = parse_draft({"name": word, "steps": [{"id": "one", "kind": "say", "text": word}]})
        made = await definitions.add(
            db, wakes, draft, Catalog((), Settings(_env_file=None)), person_id=await self.mathia.person(who),
            conversation_id=await self.conversation(who), default_timezone="UTC",
        )  # fmt: skip
        return await definitions.request_run(db, wakes, made, {"word": word})

    async def attach(self, who: Address, data: bytes, name: str) -> None:
        """A file arrives."""
        identity = await self.mathia.db.pool.fetchval("SELECT id FROM identity WHERE provider_id = $1", who.person)
        file = await self.files.put(
            await self.conversation(who), data, name=name, media_type="text/plain", identity_id=identity
        )
        await self.send(who, Media(media_type="text/plain", ref=file.ref, filename=name, caption=f"see {name}"))

    async def archives(self, who: Address) -> list[dict[str, bytes]]:
        """What the archives that were sent to a room hold, by name, oldest first."""
        rows = await messages(
            self.mathia.db, "WHERE m.conversation_id = $1 AND m.direction = 'out' ORDER BY m.seq",
            await self.conversation(who),
        )  # fmt: skip
        refs = [part["ref"] for row in rows for part in row["parts"] if part["kind"] == "media"]
        found = await self.files.find([UUID(ref.removeprefix("file:")) for ref in refs])
        return [unzipped(await self.files.read(file)) for file in found]


def unzipped(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


@asynccontextmanager
async def scene(db: Database, valkey_url: str, folder: Path) -> AsyncIterator[Scene]:
    async with mathia(db, valkey_url) as whole:
        files = Files(db, Storage(Settings.model_validate({"files_dir": str(folder)})))
        yield Scene(whole, files, Hands(db, whole.wakes, files))


async def test_everything_of_a_person_is_in_it_from_all_their_chats(
    db: Database, valkey_url: str, tmp_path: Path
) -> None:
    async with scene(db, valkey_url, tmp_path) as here:
        hear = here.mathia.hear
        await hear(ASHA, "my name is Canaryname")
        await hear(ASHA, "save Canarycontact's number 0712345678")
        await hear(ASHA, "remind me tomorrow at 9 to canaryreminder")
        await here.attach(ASHA, b"canaryfile" + bytes(PIECE_BYTES + 5), "canary-name.txt")
        await hear(ASHA_TOO, "canarytelegram")
        await hear(ASHA_TOO, await here.mathia.code(ASHA))
        # A group in which others write too.
        group = Address(TELEGRAM, "ours", "-100", ASHA_TOO.person)
        await here.send(group, Text(text="canarymine"))
        await here.send(Address(TELEGRAM, "ours", "-100", BARAKA.person), Text(text="canaryothers"))
        await hear(BARAKA, "remind me tomorrow at 9 to canaryothers")

        await here.flow(ASHA, "canaryworkflow")
        await here.pay_in(ASHA, "canaryreference")
        await here.pay_out(ASHA, "canarypayee")
        await here.invoice(ASHA, "canaryinvoice")

        assert await summaries.note(db, 0, settled_s=0.0)
        assert await summaries.renew(db)
        told = await hear(ASHA_TOO, "export my data")
        assert "archive" in told
        await here.make()
        [packed] = await here.archives(ASHA_TOO)
    every = b"\n".join(packed.values()) + "\n".join(packed).encode()
    for word in (
        "name",
        "contact",
        "reminder",
        "file",
        "telegram",
        "mine",
        "-name.txt",
        "workflow",
        "payee",
        "invoice",
    ):
        assert f"canary{word}".encode() in every.lower(), word
    assert b"canaryothers" not in every
    assert {
        "person.json", "reminders.json", "workflows.json", "moderation.json", "receipts.json", "reactions.json",
        "wallet.json", "payments.json", "invoices.json", "README.txt",
    } < set(packed)  # fmt: skip
    person = orjson.loads(packed["person.json"])
    assert [contact["name"] for contact in person["contacts"]] == ["Canarycontact"]
    [talked] = person["talked_about"]
    assert "canaryreminder" in str(talked["items"])
    [flow], [run] = orjson.loads(packed["workflows.json"]), orjson.loads(packed["workflow_runs.json"])
    assert flow["name"] == flow["spec"]["steps"][0]["text"] == run["trigger"]["word"] == "canaryworkflow"
    assert run["definition_id"] == flow["id"]
    assert {chat["channel"] for chat in person["chats"]} == {"whatsapp", "telegram"}
    [paid] = orjson.loads(packed["wallet.json"])
    assert (paid["amount"], paid["kind"], paid["reference"]) == ("KES 5.00", "DEPOSIT", "canaryreference")
    [whatsapp] = [name for name in packed if name.endswith("whatsapp.json")]
    said: list[dict[str, Any]] = orjson.loads(packed[whatsapp])
    assert [one["number"] for one in said] == list(range(1, len(said) + 1))
    [kept] = [name for name in packed if name.startswith("files/")]
    assert packed[kept].startswith(b"canaryfile")
    assert len(packed[kept]) == len(b"canaryfile") + PIECE_BYTES + 5


async def plant(here: Scene, word: str, phone: Address, chat: Address, browser: Place) -> dict[str, str]:
    """Leave a word in everything a person can leave; what each was said in, by the word that was left."""
    db, hear = here.mathia.db, here.mathia.hear
    left: dict[str, str] = {}

    def leave(what: str) -> str:
        left[f"{word}{what}"] = what
        return f"{word}{what}"

    hello = InboundMessage(phone, uuid4().hex, (Text(text=leave("text")),), datetime.now(UTC), leave("displayed"))
    await here.mathia.inbox.receive([hello])
    await here.mathia.answer()
    await hear(phone, f"my name is {leave('name').capitalize()}")
    await hear(phone, f"save {leave('contact').capitalize()}'s number 0712345678")
    async with db.transaction() as session:
        await people.save_contact(
            session, await here.mathia.person(phone), await here.conversation(phone), f"{word}contact".capitalize(),
            phone=None, email=None, note=leave("note"),
        )  # fmt: skip
    await hear(phone, f"remind me tomorrow at 9 to {leave('reminder')}")
    await hear(phone, f"my e-mail is {leave('mailbox')}@example.com")
    await here.attach(phone, leave("inside").encode() + bytes(PIECE_BYTES + 5), f"{leave('file')}.txt")
    await here.send(
        phone,
        Media(media_type="image/png", ref="lost:gone", filename=f"{leave('lost')}.png", caption=leave("caption")),
        Voice(media_type="audio/ogg", ref="lost:gone", transcript=leave("transcript")),
        Location(latitude=-1.3, longitude=36.8, label=leave("place")),
        Contact(name=leave("shared"), phones=("+254700111222",)),
    )
    corrected = InboundMessage(phone, uuid4().hex, (Text(text=f"{word}mistake"),), datetime.now(UTC))
    regretted = InboundMessage(phone, uuid4().hex, (Text(text=f"{word}regret"),), datetime.now(UTC))
    await here.mathia.inbox.receive([corrected, regretted])
    at = datetime.now(UTC) + timedelta(seconds=1)
    for change in (
        Change(phone, uuid4().hex, "edit", corrected.event_id, at, parts=(Text(text=leave("edited")),)),
        Change(phone, uuid4().hex, "delete", regretted.event_id, at),
        Change(phone, uuid4().hex, "reaction", corrected.event_id, at, emoji=(leave("reaction"),)),
    ):
        assert (await here.mathia.inbox.change(change)).state == "applied"
    await here.mathia.answer()

    await hear(chat, leave("chat"))
    await hear(chat, await here.mathia.code(phone))
    person, room = await here.mathia.person(phone), await here.conversation(phone)
    assert await here.mathia.person(chat) == person
    await renumbered(db, Renumbered(phone.channel, phone.account, (phone.person,), uuid4().hex, "number"))
    async with db.transaction() as session:
        assert await lift(session, phone.channel, phone.account, phone.person, "staff:owner")

    await here.pay_in(phone, leave("reference"))
    await here.pay_out(phone, leave("payee"))
    await here.invoice(phone, leave("client"))
    run = await here.flow(phone, leave("workflow"))
    async with db.hot() as connection:
        said = NewMessage(room, (Text(text=leave("helper")),), "staff", uuid4().hex, author="owner")
        await post(connection, [said])
        key = (await connection.keys.current(connection, [room]))[room]
        note = key.seal(as_note("owner", f"{word}-n"), f"{word}private".encode())
        await connection.execute(
            "INSERT INTO note (conversation_id, author, sealed, nonce) VALUES ($1, 'owner', $2, $3)",
            room, note, f"{word}-n",
        )  # fmt: skip
        await connection.execute(
            "INSERT INTO workflow_step (workflow_id, step_id, state, result) VALUES ($1, 's', 'done', $2)",
            run, key.seal(as_workflow("result", run, "s"), orjson.dumps({"text": leave("result")})),
        )  # fmt: skip
        assert await definitions.end(connection, run, "failed", {"error": leave("outcome")})
        await connection.execute(
            "INSERT INTO moderation_flag (message_id, label, score, judge, person_id)"
            " SELECT max(id), $1, 1, 'word list', $2 FROM message WHERE direction = 'in'",
            leave("flag"), person,
        )  # fmt: skip
        await connection.execute(
            "INSERT INTO site_user (site, user_id, visitor_id) VALUES ($1, $2, $3)",
            browser.account, leave("customer"), browser.visitor,
        )  # fmt: skip

    # A shared room on the web, in which somebody else says something too; and they have left it since.
    async with db.transaction() as session:
        shared = await rooms.create(session, browser, leave("title"), leave("nickname"), now=datetime.now(UTC))
        await rooms.invite(
            session, browser, shared, address=f"{leave('invited')}@example.com", mailbox="bot@mathia.example",
            base_url="https://chat.example", language="en", now=datetime.now(UTC),
        )  # fmt: skip
    group = Address(ChannelName.WEB, browser.account, rooms.name_of(shared), str(browser.visitor))
    await here.send(group, Text(text=leave("inroom")))
    mine = await db.pool.fetchval("SELECT id FROM identity WHERE provider_id = $1", str(browser.visitor))
    await db.pool.execute("UPDATE identity SET person_id = $1 WHERE id = $2", person, mine)
    return left


async def test_nothing_that_a_person_left_is_missing_and_nothing_of_another_is_there(
    db: Database, valkey_url: str, tmp_path: Path
) -> None:
    async with scene(db, valkey_url, tmp_path) as here:
        browsers = Place("default", uuid4()), Place("default", uuid4())
        left = await plant(here, "canary", ASHA, ASHA_TOO, browsers[0])
        strange = await plant(here, "stranger", at(WHATSAPP, "whatsapp:+254700000002"), BARAKA, browsers[1])
        assert {what for what in left.values()} == {what for what in strange.values()}
        # The other one also writes in a room of theirs, and is in it when it is exported.
        room = await db.pool.fetchval(
            "SELECT c.room FROM conversation c JOIN member m ON m.conversation_id = c.id JOIN identity i ON"
            " i.id = m.identity_id WHERE c.title IS NOT NULL AND i.provider_id = $1",
            str(browsers[0].visitor),
        )
        await here.send(
            Address(ChannelName.WEB, "default", room, str(browsers[1].visitor)), Text(text="strangerinourroom")
        )
        await here.mathia.hear(ASHA, "export my data")
        await here.make()
        [packed] = await here.archives(ASHA)
    every = {name: data.decode(errors="replace").replace("\\", "").casefold() for name, data in packed.items()}
    whole = "\n".join([*every, *every.values()])
    assert [word for word in left if word not in whole] == []
    assert "stranger" not in whole
    changed = [chat["changed_hands"] for chat in orjson.loads(packed["person.json"])["chats"]]
    assert [one["how"] for chat in changed for one in chat] == ["number"]
    [flag] = orjson.loads(packed["moderation.json"])["flags"]
    assert flag["conversation"] is not None
    said = orjson.loads(packed[f"conversations/{flag['conversation']}.json"])
    assert flag["number"] in [one["number"] for one in said if one["from"] == "me"]
    for gone in ("canarymistake", "canaryregret", "canaryprivate"):
        assert gone not in whole, gone
    for name, data in packed.items():
        if name.endswith(".json"):
            orjson.loads(data)


async def test_whoever_dies_before_telling_leaves_no_archive_behind(
    db: Database, valkey_url: str, tmp_path: Path
) -> None:
    async with scene(db, valkey_url, tmp_path) as here:
        await here.mathia.hear(ASHA, "export my data")
        [row] = await db.pool.fetch(exports.CLAIMABLE, 10)
        died = await exports.claim(db, row["id"], LEASE)
        assert died is not None

        async def half() -> AsyncIterator[bytes]:
            yield b"an archive that nobody was told of"

        await here.files.keep(
            died.conversation_id, half(), name="a.zip", media_type="application/zip",
            id_=exports.file_of(died.id, died.attempt),
        )  # fmt: skip
        await db.pool.execute("UPDATE data_export SET lease_until = lease_until - $1::interval", LEASE)
        await here.make()
        [packed] = await here.archives(ASHA)
        assert not [name for name in packed if name.startswith("files/")]
        assert await db.pool.fetchval("SELECT count(*) FROM file WHERE state = 'kept'") == 1
        assert len(list((tmp_path / "files").iterdir())) == 1


@pytest.mark.parametrize("point", ["export.packing:3", "export.kept:1"])
async def test_a_worker_that_is_killed_is_followed_by_another(
    point: str, db: Database, database_url: str, valkey_url: str, tmp_path: Path
) -> None:
    tmp_path.chmod(0o755)
    async with scene(db, valkey_url, tmp_path) as here:
        await here.mathia.hear(ASHA, "hello")
        await here.attach(ASHA, b"canaryfile", "letter.txt")
        await here.mathia.hear(ASHA, "export my data")
        dying = await worker(database_url, valkey_url, tmp_path, MATHIA_CRASH=point)
        assert await asyncio.wait_for(dying.wait(), WORKER_S) == 9
        assert len(await here.archives(ASHA)) == 0
        await db.pool.execute("UPDATE data_export SET lease_until = lease_until - $1::interval", LEASE)
        living = await worker(database_url, valkey_url, tmp_path)
        try:

            async def done() -> bool:
                return bool(await db.pool.fetchval("SELECT state = 'done' FROM data_export"))

            await until(done, WORKER_S, "the archive")
        finally:
            living.kill()
            await living.wait()
        [packed] = await here.archives(ASHA)
        assert [data for name, data in packed.items() if name.startswith("files/")] == [b"canaryfile"]
        assert await db.pool.fetchval("SELECT count(*) FROM file WHERE state = 'kept'") == 2


async def worker(database_url: str, valkey_url: str, folder: Path, **environment: str) -> asyncio.subprocess.Process:
    """A worker as it is deployed, with its queue in Valkey."""
    given = {"DATABASE_URL": database_url, "REDIS_URL": valkey_url, "FILES_DIR": str(folder)} | environment
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bot", "worker", cwd=ROOT, env=os.environ | given,
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip


async def test_what_was_unlinked_meanwhile_is_not_told(db: Database, valkey_url: str, tmp_path: Path) -> None:
    """Whose an archive is, is looked at again in the transaction that tells of it."""
    async with scene(db, valkey_url, tmp_path) as here:
        await here.mathia.hear(ASHA, "canaryphone")
        await here.mathia.hear(ASHA_TOO, "canarytelegram")
        await here.mathia.hear(ASHA_TOO, await here.mathia.code(ASHA))
        await here.mathia.hear(ASHA, "export my data")
        [row] = await db.pool.fetch(exports.CLAIMABLE, 10)
        claimed = await exports.claim(db, row["id"], LEASE)
        assert claimed is not None
        await here.mathia.hear(ASHA_TOO, "unlink")
        made = exports.file_of(claimed.id, claimed.attempt)
        assert not await exports.settle(db, here.mathia.wakes, claimed, made, (Text(text="no"),))
        await here.make()
        [packed] = await here.archives(ASHA)
    whole = b"\n".join(packed.values())
    assert b"canaryphone" in whole
    assert b"canarytelegram" not in whole


async def test_a_worker_makes_one_at_a_time_and_leaves_the_others_to_the_sweep(
    db: Database, valkey_url: str, tmp_path: Path
) -> None:
    async with scene(db, valkey_url, tmp_path) as here:
        for who in (ASHA, BARAKA):
            await here.mathia.hear(who, "export my data")
        rows = await db.pool.fetch(exports.CLAIMABLE, 10)
        await asyncio.gather(*(export(here.hands, row["id"]) for row in rows))
        assert await db.pool.fetchval("SELECT count(*) FROM data_export WHERE state = 'done'") == 1
        await here.make()
        assert await db.pool.fetchval("SELECT count(*) FROM data_export WHERE state = 'done'") == 2


async def test_the_same_things_make_the_same_archive_and_no_name_leads_out_of_it(
    db: Database, valkey_url: str, tmp_path: Path
) -> None:
    async with scene(db, valkey_url, tmp_path) as here:
        await here.mathia.hear(ASHA, "hello <script> =1+1 [x](http://x)")
        await here.attach(ASHA, b"one", "../../etc/passwd.txt")
        await here.attach(ASHA, b"two", "..\\evil.txt")
        await here.attach(ASHA, bytes(5 * PIECE_BYTES), "large.txt")
        person = await here.mathia.person(ASHA)
        identities = [row["id"] for row in await db.pool.fetch("SELECT id FROM identity")]
        now = datetime.now(UTC)
        made = [[chunk async for chunk in archive(db, here.files, person, identities, "en", now)] for _ in range(2)]
    assert max(map(len, made[0])) <= 2 * PIECE_BYTES  # It comes as it is made, never whole.
    assert b"".join(made[0]) == b"".join(made[1])
    names = unzipped(b"".join(made[0]))
    assert all(name.count("/") <= 1 and "\\" not in name and not name.startswith("/") for name in names)
    [written] = [data for name, data in names.items() if name.endswith("whatsapp.md")]
    assert b"hello \\<script\\> =1\\+1 \\[x\\]\\(http" in written


async def test_files_beyond_the_limit_are_named_and_left_out(db: Database, valkey_url: str, tmp_path: Path) -> None:
    async with scene(db, valkey_url, tmp_path) as here:
        await here.mathia.hear(ASHA, "hello")
        for name, size in (("older.txt", 600), ("large.txt", 900), ("newest.txt", 400)):
            await here.attach(ASHA, bytes(size), name)
        person = await here.mathia.person(ASHA)
        identities = [row["id"] for row in await db.pool.fetch("SELECT id FROM identity")]
        left: list[str] = []
        now = datetime.now(UTC)
        made = archive(db, here.files, person, identities, "sw", now, left_out=left, files_bytes_max=1_000)
        names = unzipped(b"".join([chunk async for chunk in made]))
    assert sorted(name.rpartition("-")[2] for name in names if name.startswith("files/")) == ["newest.txt", "older.txt"]
    assert left == ["large.txt"]
    assert "large.txt" in names["README.txt"].decode().partition("Faili zisizomo")[2]
    assert "older.txt" not in names["README.txt"].decode()


async def test_a_file_that_is_gone_from_the_storage_is_told_of(db: Database, valkey_url: str, tmp_path: Path) -> None:
    async with scene(db, valkey_url, tmp_path) as here:
        await here.mathia.hear(ASHA, "hello")
        await here.attach(ASHA, b"here", "here.txt")
        await here.attach(ASHA, b"gone", "gone.txt")
        gone = await db.pool.fetchval("SELECT id FROM file ORDER BY created_at DESC LIMIT 1")
        (tmp_path / "files" / str(gone)).unlink()
        await here.mathia.hear(ASHA, "export my data")
        await here.make()
        [packed] = await here.archives(ASHA)
        assert "Not in it: 1 of your files" in (await here.mathia.told(ASHA))[-1]
    assert [data for name, data in packed.items() if name.endswith("here.txt")] == [b"here"]
    assert "gone.txt" in packed["README.txt"].decode()


async def test_one_is_made_at_a_time_few_a_day_and_none_in_another(
    db: Database, valkey_url: str, tmp_path: Path
) -> None:
    async with scene(db, valkey_url, tmp_path) as here:
        await here.mathia.hear(ASHA, "hello")
        await here.attach(ASHA, b"a letter", "letter.txt")
        assert "archive" in await here.mathia.hear(ASHA, "export my data")
        assert "already" in await here.mathia.hear(ASHA, "export my data")
        await here.make()
        for _ in range(exports.EXPORTS_DAY_MAX - 1):
            await here.mathia.hear(ASHA, "export my data")
            await here.make()
        assert "tomorrow" in await here.mathia.hear(ASHA, "export my data")
        archives = await here.archives(ASHA)
    assert len(archives) == exports.EXPORTS_DAY_MAX
    assert [sum(name.startswith("files/") for name in one) for one in archives] == [1, 1, 1]


async def test_in_a_group_nobody_gets_it(db: Database, valkey_url: str, tmp_path: Path) -> None:
    async with scene(db, valkey_url, tmp_path) as here:
        group = Address(TELEGRAM, "ours", "-200", ASHA_TOO.person)
        assert "in private" in await here.mathia.hear(group, "export my data")
        assert await db.pool.fetchval("SELECT count(*) FROM data_export") == 0


async def test_it_is_told_once_by_whoever_ends_it_first(db: Database, valkey_url: str, tmp_path: Path) -> None:
    """A worker that stood still for longer than its lease has lost it: what it made is thrown away."""
    async with scene(db, valkey_url, tmp_path) as here:
        await here.mathia.hear(ASHA, "export my data")
        [row] = await db.pool.fetch(exports.CLAIMABLE, 10)
        slow = await exports.claim(db, row["id"], LEASE)
        assert slow is not None
        assert await exports.claim(db, row["id"], LEASE) is None
        await db.pool.execute("UPDATE data_export SET lease_until = lease_until - $1::interval", LEASE)
        await asyncio.gather(*(export(here.hands, row["id"]) for _ in range(3)))
        assert not await exports.hold(db, slow, LEASE)
        assert not await exports.settle(db, here.mathia.wakes, slow, None, (Text(text="no"),))
        assert len(await here.archives(ASHA)) == 1
        assert await db.pool.fetchval("SELECT count(*) FROM outbox WHERE kind = 'export'") == 1


async def test_who_asks_is_told_when_it_cannot_be_made(db: Database, valkey_url: str, tmp_path: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the folder would be")
    async with scene(db, valkey_url, blocked) as here:
        await here.mathia.hear(ASHA, "export my data")
        for _ in range(TRIES_MAX + 1):
            await here.make()
            await db.pool.execute("UPDATE data_export SET lease_until = lease_until - $1::interval", LEASE)
        assert "could not put your data together" in (await here.mathia.told(ASHA))[-1]
        assert await db.pool.fetchval("SELECT state FROM data_export") == "failed"
        # What failed is not counted.
        assert "archive" in await here.mathia.hear(ASHA, "export my data")


async def test_others_than_the_web_get_a_link_where_people_reach_us(
    db: Database, valkey_url: str, tmp_path: Path
) -> None:
    async with scene(db, valkey_url, tmp_path) as here:
        hands = replace(here.hands, base_url="https://chat.example")
        for who in (ASHA, at(ChannelName.WEB, str(uuid4()))):
            await here.mathia.hear(who, "export my data")
            [row] = await db.pool.fetch(exports.CLAIMABLE, 10)
            await export(hands, row["id"])
        [told] = [text for text in await here.mathia.told(ASHA) if "https://" in text]
        found = re.search(r"\.zip \([0-9.]+ KB\): https://chat\.example/files/(.+)\?until=(\d+)&proof=(\w+)$", told)
        assert found is not None
        ref, now = UUID(found[1]), datetime.now(UTC)
        day = timedelta(hours=24)
        assert here.files.is_link(ref, found[2], found[3], now + day - timedelta(minutes=1))
        assert not here.files.is_link(ref, found[2], found[3], now + day + timedelta(minutes=1))
        assert await here.archives(ASHA) == []
        assert len(await here.archives(who)) == 1


async def test_an_archive_is_deleted_after_a_day(db: Database, valkey_url: str, tmp_path: Path) -> None:
    async with scene(db, valkey_url, tmp_path) as here:
        await here.mathia.hear(ASHA, "export my data")
        await here.make()
        assert await exports.expired(db) == []
        await db.pool.execute("UPDATE data_export SET done_at = done_at - $1::interval", timedelta(hours=24, seconds=1))
        [(export_id, made)] = await exports.expired(db)
        [file] = await here.files.find(made)
        await here.files.delete(made)
        await exports.forget(db, [export_id])
        assert await exports.expired(db) == []
        with pytest.raises(FileGone):
            await here.files.read(file)


def test_every_table_is_accounted_for() -> None:
    """A new table says here where in the archive it is, or why it is not."""
    assert set(Base.metadata.tables) == set(TABLES)
