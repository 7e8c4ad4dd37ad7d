"""Names, e-mail addresses and canned replies are sealed too.

Names are sealed batch by batch while older processes go on; what these write meanwhile, and everything of which there
is less, is sealed at the end, in the one transaction that takes the plain columns away. A migration that is stopped is
begun again and does what is left.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from alembic import op
from sqlalchemy.util import await_only

from core import canned, mailboxes, names
from core.crypto import RoomKeys
from core.errors import MathiaError
from core.settings import Settings

revision = "0028"
down_revision = "0033"
branch_labels = None
depends_on = None

BATCH = 2_000
TABLES = ("room_invitation", "email_code", "identity", "person", "conversation", "canned_reply")
"""In the order in which whoever writes locks them: a row's table first, then that of the row it refers to."""
NAMES = {"person": "name", "identity": "display_name"}

PLAIN = """
SELECT id, {name} AS name FROM {table} WHERE {name} IS NOT NULL AND sealed_name IS NULL AND id > $1 ORDER BY id LIMIT $2
"""
SEAL = """
UPDATE {table} t SET sealed_name = g.sealed, name_index = g.index
FROM unnest($1::uuid[], $2::text[], $3::bytea[], $4::text[]) AS g(id, name, sealed, index)
WHERE t.id = g.id AND t.{name} = g.name
"""
FORGET = """
CREATE OR REPLACE FUNCTION seal_name() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN NEW.sealed_name := NULL; NEW.name_index := NULL; RETURN NEW; END $$
"""
FORGETTING = """
CREATE OR REPLACE TRIGGER seal_name BEFORE UPDATE ON {table} FOR EACH ROW
WHEN (OLD.{name} IS DISTINCT FROM NEW.{name}) EXECUTE FUNCTION seal_name()
"""

ADDRESSES = """
SELECT provider_id AS address FROM identity WHERE channel = 'email' AND provider_id LIKE '%@%'
UNION SELECT room FROM conversation WHERE channel = 'email' AND room LIKE '%@%'
UNION SELECT address FROM email_code
UNION SELECT address FROM room_invitation WHERE address IS NOT NULL
ORDER BY address
"""
PLACES = {
    "identity": ("provider_id", "t.channel = 'email' AND"),
    "conversation": ("room", "t.channel = 'email' AND"),
    "email_code": ("address", ""),
    "room_invitation": ("address", ""),
}
NAME = """
UPDATE {table} t SET {column} = g.name FROM unnest($1::text[], $2::text[]) AS g(address, name)
WHERE {where} t.{column} = g.address
"""

STAY = """
CREATE OR REPLACE FUNCTION stay_erased() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.name := NULL;
    NEW.name_index := NULL;
    NEW.language := 'en';
    NEW.timezone := NULL;
    NEW.muted_until := NULL;
    NEW.erasure_id := OLD.erasure_id;
    RETURN NEW;
END $$
"""
THERE = """
SELECT EXISTS (SELECT FROM person WHERE name IS NOT NULL)
    OR EXISTS (SELECT FROM identity WHERE display_name IS NOT NULL OR channel = 'email')
    OR EXISTS (SELECT FROM conversation WHERE channel = 'email')
    OR EXISTS (SELECT FROM email_code) OR EXISTS (SELECT FROM room_invitation WHERE address IS NOT NULL)
    OR EXISTS (SELECT FROM canned_reply)
"""


def upgrade() -> None:
    """Apply."""
    for table in NAMES:
        op.execute(f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS sealed_name bytea")
        op.execute(f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS name_index text")
    there = op.get_bind().scalar(sa.text(THERE))
    mailed = False
    keys = None
    if there:
        known = Settings().key_list
        if known is None:
            raise MathiaError(
                "Names and addresses are now to be sealed, and MATHIA_KEYS is not set. Set it for every process of"
                " Mathia, and migrate again. Nothing was changed."
            )
        keys = RoomKeys(known)
        op.execute(FORGET)
        for table, name in NAMES.items():
            op.execute(FORGETTING.format(table=table, name=name))
        with op.get_context().autocommit_block():
            await_only(_seal_names(_connection(), keys))
        op.execute(f"LOCK TABLE {', '.join(TABLES)} IN ACCESS EXCLUSIVE MODE")
        await_only(_seal_names(_connection(), keys))
        for table in NAMES:
            op.execute(f"DROP TRIGGER seal_name ON {table}")
        op.execute("DROP FUNCTION seal_name()")
    op.create_table(
        "mailbox",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_mailbox")),
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON mailbox TO mathia_app")
    op.add_column("canned_reply", sa.Column("sealed", sa.LargeBinary(), nullable=True))
    if keys is not None:
        mailed = await_only(_seal_addresses(_connection(), keys))
        await_only(_seal_canned(_connection(), keys))
    op.drop_column("canned_reply", "text")
    op.alter_column("canned_reply", "sealed", nullable=False)
    for table, name in NAMES.items():
        op.drop_column(table, name)
        op.alter_column(table, "sealed_name", new_column_name=name)
        op.create_check_constraint(op.f(f"ck_{table}_name_is_found"), table, f"({name} IS NULL) = (name_index IS NULL)")
    op.execute(STAY)
    if there:
        # The tables are written anew, from what is there now: no page of theirs keeps a plain word.
        _write_anew("person", "name", "bytea", "''::bytea")
        _write_anew("identity", "display_name", "bytea", "''::bytea")
        _write_anew("canned_reply", "sealed", "bytea", "''::bytea")
    if mailed:
        for table in ("conversation", "email_code", "room_invitation"):
            _write_anew(table, PLACES[table][0], "text", "''")


def _write_anew(table: str, column: str, type_: str, nothing: str) -> None:
    op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} TYPE {type_} USING {column} || {nothing}")


def _connection() -> Any:
    return op.get_bind().connection.driver_connection


async def _seal_names(connection: Any, keys: RoomKeys) -> None:
    """Seal the names that are plain, from one end to the other."""
    known = names.Names(
        await keys.of_purpose(connection, names.PURPOSE), await keys.of_purpose(connection, names.INDEX)
    )
    for table, name in NAMES.items():
        after = UUID(int=0)
        while rows := await connection.fetch(PLAIN.format(table=table, name=name), after, BATCH):
            after = rows[-1]["id"]
            called = [row["name"] for row in rows]
            await connection.execute(
                SEAL.format(table=table, name=name),
                [row["id"] for row in rows], called, [known.seal(one) for one in called],
                [known.index(one) for one in called],
            )  # fmt: skip


async def _seal_addresses(connection: Any, keys: RoomKeys) -> bool:
    """Seal every e-mail address in its mailbox, and let that one's name stand for it; whether there are any."""
    addresses = [row["address"] for row in await connection.fetch(ADDRESSES)]
    key = await keys.of_purpose(connection, mailboxes.PURPOSE)
    named: dict[str, str] = {}
    taken: dict[str, int] = {}
    for address in addresses:
        digest = await keys.blind(connection, mailboxes.INDEX, address.lower())
        number = taken[address.lower()] = taken.get(address.lower(), -1) + 1
        named[address] = digest.hex() + (f"{mailboxes.VARIANT}{number}" if number else "")
    for start in range(0, len(addresses), BATCH):
        some = addresses[start : start + BATCH]
        await connection.executemany(
            "INSERT INTO mailbox (name, sealed) VALUES ($1, $2)",
            [(named[one], mailboxes.seal(key, named[one], one)) for one in some],
        )
        for table, (column, where) in PLACES.items():
            # A code or an invitation is counted and found by the address in any letters.
            called = [_whole(table, named[one]) for one in some]
            await connection.execute(NAME.format(table=table, column=column, where=where), some, called)
    return bool(addresses)


def _whole(table: str, name: str) -> str:
    return name if table in ("identity", "conversation") else name.partition(mailboxes.VARIANT)[0]


async def _seal_canned(connection: Any, keys: RoomKeys) -> None:
    key = await keys.of_purpose(connection, canned.PURPOSE)
    rows: list[Mapping[str, Any]] = await connection.fetch("SELECT id, shortcut, text FROM canned_reply")
    await connection.executemany(
        "UPDATE canned_reply SET sealed = $2 WHERE id = $1",
        [(row["id"], canned.seal(key, row["shortcut"], row["text"])) for row in rows],
    )


def downgrade() -> None:
    """Take back, where there is nothing yet: what is sealed stays sealed."""
    if op.get_bind().scalar(sa.text(f"{THERE} OR EXISTS (SELECT FROM mailbox)")):
        raise MathiaError("Names and addresses are sealed in this database, and nobody takes that back.")
    for table, name in NAMES.items():
        op.drop_constraint(op.f(f"ck_{table}_name_is_found"), table)
        op.drop_column(table, "name_index")
        op.drop_column(table, name)
        op.add_column(table, sa.Column(name, sa.Text(), nullable=True))
    op.drop_column("canned_reply", "sealed")
    op.add_column("canned_reply", sa.Column("text", sa.Text(), nullable=False))
    op.drop_table("mailbox")
    op.execute(STAY.replace("    NEW.name_index := NULL;\n", ""))
