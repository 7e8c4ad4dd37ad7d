"""What reminders say, what was understood in turns, and what calls were given and gave back is sealed too.

All of it is one transaction, as with the messages: a deployment that is stopped midway has what it had, and starts anew.
"""

import os
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import orjson
import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from core.crypto import KEY_BYTES, KeyList, RoomKey
from core.errors import MathiaError
from core.receipts import as_receipt
from core.reminders import as_reminder
from core.sealed import seal_slots
from core.settings import Settings

revision = "0020"
down_revision = "0030"
branch_labels = None
depends_on = None

BATCH = 5_000

KEYS = """
SELECT c.id, c.epoch, k.kek, k.wrapped, c.next_seq FROM conversation c
LEFT JOIN room_key k ON k.conversation_id = c.id AND k.epoch = c.epoch
WHERE c.id = ANY(CAST(:ids AS uuid[]))
"""
KEEP = """
INSERT INTO room_key (conversation_id, epoch, kek, wrapped, first_seq) VALUES (:id, :epoch, :kek, :wrapped, :first_seq)
"""
REMINDERS = "SELECT id, conversation_id, content FROM reminder WHERE sealed IS NULL LIMIT :batch"
SEAL_REMINDERS = """
UPDATE reminder r SET sealed = g.sealed
FROM unnest(CAST(:ids AS uuid[]), CAST(:sealed AS bytea[])) AS g(id, sealed) WHERE r.id = g.id
"""
RECEIPTS = "SELECT key, conversation_id, params, result FROM receipt WHERE sealed_params IS NULL LIMIT :batch"
SEAL_RECEIPTS = """
UPDATE receipt r SET sealed_params = g.params, sealed_result = g.result
FROM unnest(CAST(:ids AS text[]), CAST(:params AS bytea[]), CAST(:results AS bytea[])) AS g(key, params, result)
WHERE r.key = g.key
"""
TURNS = """
SELECT id, conversation_id, intent FROM turn
WHERE id > :after AND jsonb_path_exists(intent, '$.messages[*].slots') ORDER BY id LIMIT :batch
"""
SEAL_TURNS = """
UPDATE turn t SET slots = g.slots, intent = CAST(g.intent AS jsonb)
FROM unnest(CAST(:ids AS bigint[]), CAST(:slots AS bytea[]), CAST(:intents AS text[])) AS g(id, slots, intent)
WHERE t.id = g.id
"""


def upgrade() -> None:
    """Apply."""
    op.add_column("reminder", sa.Column("sealed", sa.LargeBinary(), nullable=True))
    op.add_column("receipt", sa.Column("sealed_params", sa.LargeBinary(), nullable=True))
    op.add_column("receipt", sa.Column("sealed_result", sa.LargeBinary(), nullable=True))
    op.add_column("turn", sa.Column("slots", sa.LargeBinary(), nullable=True))
    connection = op.get_bind()
    there = any(
        connection.scalar(sa.text(f"SELECT EXISTS (SELECT FROM {table})"))  # noqa: S608  names of ours
        for table in ("reminder", "receipt", "turn")
    )
    if there:
        _seal_what_is_there(connection)
    op.drop_column("reminder", "content")
    op.alter_column("reminder", "sealed", nullable=False)
    op.drop_column("receipt", "params")
    op.drop_column("receipt", "result")
    op.alter_column("receipt", "sealed_params", nullable=False, new_column_name="params")
    op.alter_column("receipt", "sealed_result", new_column_name="result")
    if there:
        # These tables are written anew, from what is there now: no page of theirs keeps a plain word.
        op.execute("ALTER TABLE reminder ALTER COLUMN key TYPE text USING key || ''")
        op.execute("ALTER TABLE receipt ALTER COLUMN action TYPE text USING action || ''")
        op.execute("ALTER TABLE turn ALTER COLUMN first_seq TYPE bigint USING first_seq + 0")


def _seal_what_is_there(connection: sa.Connection) -> None:
    keys = Settings().key_list
    if keys is None:
        raise MathiaError(
            "What reminders and receipts say is now to be sealed, and MATHIA_KEYS is not set. Set it for every process"
            " of Mathia, and migrate again. Nothing was changed."
        )
    rooms = _Rooms(connection, keys)
    for rows in _batches(connection, REMINDERS):
        rooms.need(row.conversation_id for row in rows)
        values = [rooms.known[row.conversation_id].seal(as_reminder(row.id), row.content.encode()) for row in rows]
        connection.execute(sa.text(SEAL_REMINDERS), {"ids": [row.id for row in rows], "sealed": values})
    for rows in _batches(connection, RECEIPTS):
        rooms.need(row.conversation_id for row in rows)

        def sealed(row: Any, what: str, value: Any) -> bytes | None:
            if value is None:
                return None
            return rooms.known[row.conversation_id].seal(as_receipt(row.key, what), orjson.dumps(value))

        connection.execute(
            sa.text(SEAL_RECEIPTS),
            {
                "ids": [row.key for row in rows],
                "params": [sealed(row, "params", row.params) for row in rows],
                "results": [sealed(row, "result", row.result) for row in rows],
            },
        )
    after = 0
    while rows := list(connection.execute(sa.text(TURNS), {"after": after, "batch": BATCH})):
        after = rows[-1].id
        rooms.need(row.conversation_id for row in rows)
        bare = [
            {
                "messages": [
                    {name: value for name, value in one.items() if name != "slots"} for one in row.intent["messages"]
                ]
            }
            for row in rows
        ]
        connection.execute(
            sa.text(SEAL_TURNS),
            {
                "ids": [row.id for row in rows],
                "slots": [seal_slots(rooms.known[row.conversation_id], row.id, row.intent["messages"]) for row in rows],
                "intents": [orjson.dumps(intent).decode() for intent in bare],
            },
        )


class _Rooms:
    """The newest key of each room that is needed, made where it has none."""

    def __init__(self, connection: sa.Connection, keys: KeyList) -> None:
        self._connection = connection
        self._keys = keys
        self.known: dict[UUID, RoomKey] = {}

    def need(self, ids: Iterator[UUID]) -> None:
        wanted = list(set(ids) - self.known.keys())
        for row in list(self._connection.execute(sa.text(KEYS), {"ids": wanted})):
            if row.wrapped is not None:
                secret = self._keys.unwrap(row.kek, row.wrapped, row.id, row.epoch)
            else:
                secret = os.urandom(KEY_BYTES)
                kek, wrapped = self._keys.wrap(secret, row.id, row.epoch)
                self._connection.execute(
                    sa.text(KEEP),
                    {"id": row.id, "epoch": row.epoch, "kek": kek, "wrapped": wrapped, "first_seq": row.next_seq},
                )
            self.known[row.id] = RoomKey(secret, row.id, row.epoch)


def _batches(connection: sa.Connection, statement: str) -> Iterator[list[Any]]:
    while rows := list(connection.execute(sa.text(statement), {"batch": BATCH})):
        yield rows


def downgrade() -> None:
    """Take back, where there is nothing yet: what is sealed stays sealed."""
    if op.get_bind().scalar(sa.text("SELECT EXISTS (SELECT FROM reminder) OR EXISTS (SELECT FROM receipt)")):
        raise MathiaError("Reminders and receipts are sealed in this database, and nobody takes that back.")
    op.drop_column("turn", "slots")
    op.drop_column("receipt", "result")
    op.drop_column("receipt", "params")
    op.add_column("receipt", sa.Column("result", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    op.add_column("receipt", sa.Column("params", postgresql.JSONB(astext_type=sa.Text()), nullable=False))
    op.drop_column("reminder", "sealed")
    op.add_column("reminder", sa.Column("content", sa.Text(), nullable=False))
