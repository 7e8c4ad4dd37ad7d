"""A deployment whose messages are plain is migrated: every word is there afterwards, and none of them plainly."""

import asyncio
import itertools
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal
from uuid import UUID, uuid4

import asyncpg
import orjson
import pytest
from alembic import command
from sqlalchemy import select

from bot.migrate import alembic_config, drift, migrate
from bot.servers.postgres import APP, OWNER, Postgres
from core import canned, mailboxes, people
from core.conversations import history
from core.db import Database, driver
from core.messages import text_of
from core.models import Conversation, EmailCode, Identity, Outbox, Person, Receipt, Reminder, Turn
from core.names import names_of
from core.receipts import opened
from core.reminders import open_contents
from core.sealed import as_slots, as_template, as_workflow, with_slots
from core.settings import Settings
from jobs import definitions
from tests.waiting import until
from web_admin import queries

ROOT = Path(__file__).resolve().parents[2]
ROOMS = 3
LINES = 40
_numbers = itertools.count(1)


@pytest.fixture
async def plain(postgres: Postgres) -> AsyncIterator[str]:
    """A database as the last version without keys left it, with conversations in it."""
    name = f"plain{next(_numbers)}"
    admin = await postgres.connect()
    await admin.execute(f"CREATE DATABASE {name} OWNER {OWNER}")
    await asyncio.to_thread(command.upgrade, alembic_config(postgres.url(OWNER, name)), "0008")
    yield name
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()


async def talk(postgres: Postgres, name: str, canary: str) -> dict[UUID, list[str]]:
    """Fill it; what was said in each room, None for what was deleted."""
    said: dict[UUID, list[str]] = {}
    connection = await postgres.connect(name)
    try:
        for room in range(ROOMS):
            person, identity, conversation = uuid4(), uuid4(), uuid4()
            await connection.execute(
                "INSERT INTO person (id, name) VALUES ($1, $2)", person, f"{canary} Wanjiru {room}"
            )
            await connection.execute(
                "INSERT INTO identity (id, person_id, channel, account, provider_id, display_name)"
                " VALUES ($1, $2, 'web', 'a', $3, $4)",
                identity, person, f"r{room}", f"{canary} W",
            )  # fmt: skip
            # Of two addresses that differ in case alone, older versions made two rooms.
            for address in (f"{canary}{room}@a.example", f"{canary.upper()}{room}@a.example"):
                mail = uuid4()
                await connection.execute(
                    "INSERT INTO identity (id, person_id, channel, account, provider_id, verified_at)"
                    " VALUES ($1, $2, 'email', 'us', $3, now())", mail, person, address,
                )  # fmt: skip
                await connection.execute(
                    "INSERT INTO conversation (id, channel, account, room) VALUES ($1, 'email', 'us', $2)",
                    uuid4(), address,
                )  # fmt: skip
            await connection.execute(
                "INSERT INTO conversation (id, channel, account, room, next_seq) VALUES ($1, 'web', 'a', $2, $3)",
                conversation, f"r{room}", LINES + 1,
            )  # fmt: skip
            await connection.execute(
                "INSERT INTO reminder (id, person_id, conversation_id, content, wall_time, zone, due_at, key)"
                " VALUES ($1, $2, $3, $4, now(), 'UTC', now(), $5)",
                uuid4(), person, conversation, f"{canary} reminder", f"k{room}",
            )  # fmt: skip
            call = f'{{"text": "{canary} call", "data": {{}}, "parts": []}}'
            await connection.execute(
                "INSERT INTO receipt (key, person_id, conversation_id, action, params, state, result)"
                " VALUES ($1, $2, $3, 'a', $4, 'done', $4)", f"k{room}", person, conversation, call,
            )  # fmt: skip
            await connection.execute(
                "INSERT INTO turn (conversation_id, first_seq, state, intent) VALUES ($1, 1, 'done', $2)", conversation,
                f'{{"messages": [{{"action": "none"}}, {{"action": "a", "slots": {{"x": "{canary} slot"}}}}]}}',
            )  # fmt: skip
            said[conversation] = []
            await connection.execute(
                "INSERT INTO email_code (id, person_id, conversation_id, address, code_hash, created_at, expires_at,"
                " key) VALUES ($1, $2, $3, $4, '', now(), now(), $5)",
                uuid4(), person, conversation, f"{canary.upper()}{room}@a.example", f"k{room}",
            )  # fmt: skip
            await connection.execute(
                "INSERT INTO canned_reply (shortcut, text) VALUES ($1, $2)", f"c{room}", f"{canary} reply {room}"
            )
            await connection.execute(
                "INSERT INTO contact (id, person_id, conversation_id, name, name_key, phone, note)"
                " VALUES (gen_random_uuid(), $1, $2, $3, $3, '+254712345678', $3)",
                person, conversation, f"{canary} contact {room}",
            )  # fmt: skip
            await connection.execute(
                "WITH d AS (INSERT INTO workflow_definition (id, person_id, conversation_id, name, spec)"
                " VALUES (gen_random_uuid(), $1, $2, $3, $4) RETURNING id),"
                " r AS (INSERT INTO workflow_run (workflow_id, definition_id, trigger, outcome)"
                " SELECT $5, id, $4, $4 FROM d) INSERT INTO workflow_step (workflow_id, step_id, state, result)"
                " VALUES ($5, 'one', 'done', $4)",
                person, conversation, f"{canary} flow {room}", f'{{"error": "{canary} step"}}', f"run{room}",
            )  # fmt: skip
            template = (
                '{"name": "n", "language": "en", "provider_ref": "r",'
                f' "variables": {{"1": "{canary} var"}}, "text": "{canary} text"}}'
            )
            for seq in range(1, LINES + 1):
                text = f"{canary} {room}.{seq} ✈️"
                parts = f'[{{"kind": "text", "text": "{text}"}}]'
                key: tuple[Any, ...] = (conversation, seq)
                if seq % 4 == 0:
                    await connection.execute(
                        "INSERT INTO message (conversation_id, seq, direction, channel, account, event_id, identity_id,"
                        " turn_id, parts, deleted_at) VALUES ($1, $2, 'in', 'web', 'a', $3, $4, 1, '[]', now())",
                        *key, f"e{room}.{seq}", identity,
                    )  # fmt: skip
                    text = ""
                elif seq % 2:
                    await connection.execute(
                        "INSERT INTO message (conversation_id, seq, direction, channel, account, event_id, identity_id,"
                        " turn_id, parts) VALUES ($1, $2, 'in', 'web', 'a', $3, $4, 1, $5)",
                        *key, f"e{room}.{seq}", identity, parts,
                    )  # fmt: skip
                else:
                    number = await connection.fetchval(
                        "INSERT INTO message (conversation_id, seq, direction, parts, author)"
                        " VALUES ($1, $2, 'out', $3, $4) RETURNING id", *key, parts, "amina" if seq % 3 else None,
                    )  # fmt: skip
                    if seq % 5:  # Of some the outbox was cleared long ago.
                        await connection.execute(
                            "INSERT INTO outbox (id, conversation_id, channel, kind, dedup_key, template)"
                            " VALUES ($1, $2, 'web', 'reply', $3, $4)", number, conversation, f"k{number}",
                            template if seq == 2 else None,
                        )  # fmt: skip
                said[conversation].append(text)
            await connection.execute(
                "INSERT INTO note (conversation_id, author, text, nonce) VALUES ($1, 'amina', $2, $3)",
                conversation, f"{canary} note {room}", f"n{room}",
            )  # fmt: skip
    finally:
        await connection.close()
    return said


async def test_a_database_with_plain_messages_is_sealed_whole_or_not_at_all(plain: str, postgres: Postgres) -> None:
    canary = f"canary{uuid4().hex}"
    said = await talk(postgres, plain, canary)
    owner_url = postgres.url(OWNER, plain)

    keyless = {name: value for name, value in os.environ.items() if name != "MATHIA_KEYS"}
    refused = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "bot", "migrate"],
        cwd=ROOT, env=keyless | {"DATABASE_OWNER_URL": owner_url}, capture_output=True, text=True,
    )  # fmt: skip
    assert refused.returncode == 1
    assert "MATHIA_KEYS is not set" in refused.stderr
    assert "Nothing was changed" in refused.stderr
    admin = await postgres.connect(plain)
    try:
        assert await admin.fetchval("SELECT version_num FROM alembic_version") == "0008"
        assert await admin.fetchval("SELECT count(parts) FROM message") == ROOMS * LINES

        await migrate(owner_url)
        assert await drift(owner_url) is None
        await admin.execute("CHECKPOINT")
        data = Path(await admin.fetchval("SELECT current_setting('data_directory')"))
        for table in (
            "message", "note", "reminder", "receipt", "turn", "workflow_definition", "workflow_run", "workflow_step",
            "outbox", "contact", "person", "identity", "conversation", "email_code", "canned_reply",
        ):  # fmt: skip
            files = await admin.fetch(
                "SELECT pg_relation_filepath(c.oid) AS path FROM pg_class c WHERE c.oid = $1::regclass"
                " OR c.oid = (SELECT reltoastrelid FROM pg_class WHERE oid = $1::regclass)"
                " OR c.oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = $1::regclass)", table,
            )  # fmt: skip
            assert len(files) >= 1
            for file in files:
                held = (data / file["path"]).read_bytes()
                assert canary.encode() not in held.lower(), table
    finally:
        await admin.close()

    db = await Database.connect(postgres.url(APP, plain), Settings(_env_file=None).key_list)
    try:
        await db.check_keys()
        for room, lines in said.items():
            stored = await history(db, room, since=0)
            assert [text_of(message.parts) for message in stored] == lines
            assert [message.seq for message in stored if message.deleted_at is not None] == list(range(4, LINES + 1, 4))
            async with db.transaction() as session:
                where = {"conversation_id": room}
                found = (await session.scalars(select(Reminder).filter_by(**where))).all()
                [reminder] = await open_contents(session, found)
                assert reminder.content == f"{canary} reminder"
                receipt = (await session.scalars(select(Receipt).filter_by(**where))).one()
                whats: tuple[Literal["params", "result"], ...] = ("params", "result")
                for what in whats:
                    assert await opened(session, receipt, what) == {"text": f"{canary} call", "data": {}, "parts": []}
                turn = (await session.scalars(select(Turn).filter_by(**where))).one()
                [slots] = await db.keys.opened(await driver(session), [(room, as_slots(turn.id), turn.slots)])
                assert with_slots(turn.intent, slots) == {
                    "messages": [{"action": "none"}, {"action": "a", "slots": {"x": f"{canary} slot"}}]
                }
                [aside] = await queries.asides(session, room, None, None)
                assert aside.text.startswith(f"{canary} note")
                sent = select(Outbox).where(Outbox.template.is_not(None))
                owed = (await session.scalars(sent.filter_by(**where))).one()
                assert owed.template == {"name": "n", "language": "en", "provider_ref": "r"}
                connection = await driver(session)
                [words] = await db.keys.opened(connection, [(room, as_template(owed.id), owed.template_words)])
                assert words == orjson.dumps({"variables": {"1": f"{canary} var"}, "text": f"{canary} text"})
        async with db.transaction() as session:
            texts = [(reply.shortcut, reply.text) for reply in await canned.replies(session)]
            assert texts == [(f"c{number}", f"{canary} reply {number}") for number in range(ROOMS)]
        for number in range(ROOMS):
            flow = await definitions.find(db, f"{canary} flow {number}")
            run, [step] = await definitions.run_with_steps(db, f"run{number}")
            assert (run.definition_id, flow.title) == (flow.id, f"{canary} flow {number}")
            async with db.transaction() as session:
                [contact] = await people.contacts(session, flow.person_id)
                connection = await driver(session)
                names = await names_of(connection)
                person = await session.get_one(Person, flow.person_id)
                assert names.open(person.name) == f"{canary} Wanjiru {number}"
                assert set(names.digests("wanjiru")) < set((person.name_index or "").split())
                mine = select(Identity).where(Identity.person_id == person.id).order_by(Identity.provider_id)
                identities = (await session.scalars(mine)).all()
                assert {names.open(one.display_name) for one in identities} == {None, f"{canary} W"}
                places = [one.provider_id for one in identities if one.channel == "email"]
                assert sorted(await mailboxes.addresses(connection, places)) == places
                assert set((await mailboxes.addresses(connection, places)).values()) == {
                    f"{canary}{number}@a.example", f"{canary.upper()}{number}@a.example",
                }  # fmt: skip
                address = await mailboxes.name_of(connection, f"{canary}{number}@A.example")
                assert places[0] == address
                rooms = select(Conversation.room).where(Conversation.channel == "email", Conversation.room.in_(places))
                assert sorted(await session.scalars(rooms)) == places
                code = await session.scalar(select(EmailCode.address).where(EmailCode.person_id == person.id))
                assert code == address
                name = f"{canary} contact {number}"
                assert (contact.name, contact.phone, contact.email, contact.note) == (name, "+254712345678", None, name)
                assert await people.find_contact(session, flow.person_id, name) is contact
            assert run.ending == step.variables == {"error": f"{canary} step"}
    finally:
        await db.close()


OLD_RUN = "INSERT INTO workflow_run (workflow_id, definition_id, trigger) VALUES ($1, $2, $3)"
OLD_CHANGE = "UPDATE workflow_run SET trigger = $2 WHERE workflow_id = $1"
RUNS = 6_000


async def test_what_older_processes_write_while_it_is_sealed_is_kept(plain: str, postgres: Postgres) -> None:
    owner_url = postgres.url(OWNER, plain)
    await asyncio.to_thread(command.upgrade, alembic_config(owner_url), "0017")
    older = await postgres.connect(plain)
    db = await Database.connect(postgres.url(APP, plain), Settings(_env_file=None).key_list)
    try:
        person, conversation, definition = uuid4(), uuid4(), uuid4()
        await older.execute("INSERT INTO person (id) VALUES ($1)", person)
        await older.execute(
            "INSERT INTO conversation (id, channel, account, room) VALUES ($1, 'web', 'a', 'r')", conversation
        )
        await older.execute(
            "INSERT INTO workflow_definition (id, person_id, conversation_id, name, spec)"
            " VALUES ($1, $2, $3, 'w', '{}')", definition, person, conversation,
        )  # fmt: skip
        said = {f"a{number:05}": f'{{"said": {number}}}' for number in range(RUNS)}
        await older.executemany(OLD_RUN, [(run, definition, trigger) for run, trigger in said.items()])

        migrating = asyncio.create_task(migrate(owner_url))

        async def begun() -> bool:
            return bool(await older.fetchval("SELECT count(*) FROM pg_trigger WHERE tgname = 'seal_trigger'"))

        await until(begun, 30.0, "the migration")
        for number in itertools.count():
            if migrating.done():
                break
            try:
                run, trigger = f"b{number:05}", f'{{"said": "b{number}"}}'
                await older.execute(OLD_RUN, run, definition, trigger)
                said[run] = trigger
                run, trigger = f"a{number % RUNS:05}", f'{{"said": "c{number}"}}'
                await older.execute(OLD_CHANGE, run, trigger)
                said[run] = trigger
            except asyncpg.PostgresError as error:
                assert "is of type bytea" in str(error)  # noqa: PT017  when that comes is not known
                break
        assert len(said) > RUNS
        await migrating
        async with db.pool.acquire() as connection:
            rows = await connection.fetch("SELECT workflow_id, trigger FROM workflow_run")
            values = [(conversation, as_workflow("trigger", row["workflow_id"]), row["trigger"]) for row in rows]
            found = await definitions.read(connection, values)
        assert {row["workflow_id"]: trigger for row, trigger in zip(rows, found, strict=True)} == {
            run: orjson.loads(trigger) for run, trigger in said.items()
        }
    finally:
        await older.close()
        await db.close()


async def test_names_that_older_processes_write_while_they_are_sealed_are_kept(plain: str, postgres: Postgres) -> None:
    owner_url = postgres.url(OWNER, plain)
    await asyncio.to_thread(command.upgrade, alembic_config(owner_url), "0033")
    older = await postgres.connect(plain)
    db = await Database.connect(postgres.url(APP, plain), Settings(_env_file=None).key_list)
    try:
        known: dict[UUID, str] = {uuid4(): f"Amina {number}" for number in range(RUNS)}
        await older.executemany("INSERT INTO person (id, name) VALUES ($1, $2)", list(known.items()))
        ids = list(known)
        migrating = asyncio.create_task(migrate(owner_url))

        async def begun() -> bool:
            return bool(await older.fetchval("SELECT count(*) FROM pg_trigger WHERE tgname = 'seal_name'"))

        await until(begun, 30.0, "the migration")
        for number in itertools.count():
            if migrating.done():
                break
            person, name = uuid4(), f"Baraka {number}"
            try:
                await older.execute("INSERT INTO person (id, name) VALUES ($1, $2)", person, name)
                known[person] = name
                person, name = ids[number % RUNS], f"Chebet {number}"
                await older.execute("UPDATE person SET name = $2 WHERE id = $1", person, name)
                known[person] = name
            except asyncpg.PostgresError as error:
                assert "is of type bytea" in str(error)  # noqa: PT017  when that comes is not known
                break
        assert len(known) > RUNS
        await migrating
        async with db.pool.acquire() as connection:
            names = await names_of(connection)
            rows = await connection.fetch("SELECT id, name, name_index FROM person")
        assert {row["id"]: names.open(row["name"]) for row in rows} == known
        assert all(row["name_index"] == names.index(known[row["id"]]) for row in rows)
    finally:
        await older.close()
        await db.close()
