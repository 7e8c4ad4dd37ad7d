"""A key for each room and epoch; messages and notes are sealed with it, also those that are there already.

All of it is one transaction: a deployment that is stopped midway has its plain messages as before, and starts anew.
"""

import os
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from core import sealed
from core.crypto import KEY_BYTES, KeyList, RoomKey
from core.errors import MathiaError
from core.messages import PARTS
from core.settings import Settings

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

WHEN = sa.DateTime(timezone=True)
BATCH = 5_000

ROOMS = """
SELECT c.id FROM conversation c
WHERE EXISTS (SELECT FROM message m WHERE m.conversation_id = c.id)
   OR EXISTS (SELECT FROM note n WHERE n.conversation_id = c.id)
"""
KEEP = """
INSERT INTO room_key (conversation_id, epoch, kek, wrapped, first_seq)
SELECT id, 1, :kek, wrapped, 1 FROM unnest(CAST(:ids AS uuid[]), CAST(:wrapped AS bytea[])) AS g(id, wrapped)
"""
MESSAGES = """
SELECT id, conversation_id, event_id, dedup_key, identity_id, author, parts FROM message
WHERE id > :after AND deleted_at IS NULL ORDER BY id LIMIT :batch
"""
SEAL_MESSAGES = """
UPDATE message m SET sealed = g.sealed
FROM unnest(CAST(:ids AS bigint[]), CAST(:sealed AS bytea[])) AS g(id, sealed) WHERE m.id = g.id
"""
NOTES = """
SELECT id, conversation_id, author, nonce, text FROM note WHERE id > :after ORDER BY id LIMIT :batch
"""
SEAL_NOTES = """
UPDATE note n SET sealed = g.sealed
FROM unnest(CAST(:ids AS bigint[]), CAST(:sealed AS bytea[])) AS g(id, sealed) WHERE n.id = g.id
"""


def upgrade() -> None:
    """Apply."""
    op.add_column("conversation", sa.Column("epoch", sa.Integer(), server_default="1", nullable=False))
    op.create_table(
        "room_key",
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("kek", sa.Text(), nullable=True),
        sa.Column("wrapped", sa.LargeBinary(), nullable=True),
        sa.Column("first_seq", sa.BigInteger(), nullable=False),
        sa.Column("created_at", WHEN, server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("destroyed_at", WHEN, nullable=True),
        sa.CheckConstraint(
            "(kek IS NULL) = (wrapped IS NULL) AND (wrapped IS NULL) = (destroyed_at IS NOT NULL)",
            name=op.f("ck_room_key_kept_or_gone"),
        ),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversation.id"], name=op.f("fk_room_key_conversation_id")),
        sa.PrimaryKeyConstraint("conversation_id", "epoch", name=op.f("pk_room_key")),
    )
    op.create_index(op.f("ix_room_key_kek"), "room_key", ["kek"])
    op.execute("GRANT SELECT, INSERT, UPDATE ON room_key TO mathia_app")
    op.add_column("message", sa.Column("sealed", sa.LargeBinary(), nullable=True))
    op.add_column("message", sa.Column("dedup_key", sa.Text(), nullable=True))
    op.add_column("note", sa.Column("sealed", sa.LargeBinary(), nullable=True))
    rooms = [row.id for row in op.get_bind().execute(sa.text(ROOMS))]
    if rooms:
        seal_what_is_there(op.get_bind(), rooms)
    op.drop_column("message", "parts")
    op.drop_column("note", "text")
    op.alter_column("note", "sealed", nullable=False)
    op.create_check_constraint("outbound_is_whole", "message", "(direction = 'out') = (dedup_key IS NOT NULL)")
    if rooms:
        # Both tables are written anew, from what is there now: no page of theirs keeps a plain word.
        op.execute("ALTER TABLE message ALTER COLUMN seq TYPE bigint USING seq + 0")
        op.execute("ALTER TABLE note ALTER COLUMN author TYPE text USING author || ''")


def seal_what_is_there(connection: sa.Connection, rooms: list[UUID]) -> None:
    """Make every room's first key, and seal with it what was said there."""
    keys = Settings().key_list
    if keys is None:
        raise MathiaError(
            "The messages in this database are now to be sealed, and MATHIA_KEYS is not set. Make a key with"
            " `python3 -m bot keys new`, set it for every process of Mathia, and migrate again. Nothing was changed."
        )
    room_keys = dict(make_keys(connection, keys, rooms))
    connection.execute(
        sa.text(
            "UPDATE message m SET dedup_key = coalesce((SELECT o.dedup_key FROM outbox o WHERE o.id = m.id),"
            " 'message:' || m.id) WHERE m.direction = 'out'"
        )
    )
    for rows in batches(connection, MESSAGES):
        values = [
            sealed.seal(
                room_keys[row.conversation_id],
                row.dedup_key if row.event_id is None else row.event_id,
                sealed.by_author(row.author) if row.event_id is None else sealed.by_identity(row.identity_id),
                PARTS.validate_python(row.parts),
            )
            for row in rows
        ]
        connection.execute(sa.text(SEAL_MESSAGES), {"ids": [row.id for row in rows], "sealed": values})
    for rows in batches(connection, NOTES):
        values = [
            room_keys[row.conversation_id].seal(sealed.as_note(row.author, row.nonce), row.text.encode())
            for row in rows
        ]
        connection.execute(sa.text(SEAL_NOTES), {"ids": [row.id for row in rows], "sealed": values})


def make_keys(connection: sa.Connection, keys: KeyList, rooms: list[UUID]) -> Iterator[tuple[UUID, RoomKey]]:
    """Store a new key for each room; the keys."""
    for start in range(0, len(rooms), BATCH):
        ids = rooms[start : start + BATCH]
        secrets = [os.urandom(KEY_BYTES) for _ in ids]
        wrapped = [keys.wrap(secret, room, 1)[1] for room, secret in zip(ids, secrets, strict=True)]
        connection.execute(sa.text(KEEP), {"kek": keys.newest, "ids": ids, "wrapped": wrapped})
        for room, secret in zip(ids, secrets, strict=True):
            yield room, RoomKey(secret, room, 1)


def batches(connection: sa.Connection, statement: str) -> Iterator[list[Any]]:
    """The rows of a statement that pages by `after` and `batch`, BATCH at a time."""
    after = 0
    while rows := list(connection.execute(sa.text(statement), {"after": after, "batch": BATCH})):
        yield rows
        after = rows[-1].id


def downgrade() -> None:
    """Take back, where nothing was said yet: what is sealed stays sealed."""
    if op.get_bind().scalar(sa.text("SELECT EXISTS (SELECT FROM message) OR EXISTS (SELECT FROM note)")):
        raise MathiaError("Messages are sealed in this database, and nobody takes that back.")
    op.drop_constraint("outbound_is_whole", "message")
    op.drop_column("note", "sealed")
    op.add_column("note", sa.Column("text", sa.Text(), nullable=False))
    op.add_column("message", sa.Column("parts", postgresql.JSONB(astext_type=sa.Text()), nullable=False))
    op.drop_column("message", "dedup_key")
    op.drop_column("message", "sealed")
    op.drop_table("room_key")
    op.drop_column("conversation", "epoch")
