"""A key for each person, and contacts sealed with it.

Contacts are sealed batch by batch while older processes go on; what these write meanwhile is sealed at the end, in the
one transaction that takes the plain columns away. A migration that is stopped is begun again and does what is left.
"""

from typing import Any
from uuid import UUID

import orjson
import sqlalchemy as sa
from alembic import op
from sqlalchemy.util import await_only

from core.crypto import RoomKeys
from core.errors import MathiaError
from core.people import as_contact, name_index
from core.settings import Settings

revision = "0026"
down_revision = "0015"
branch_labels = None
depends_on = None

BATCH = 2_000

PLAIN = """
SELECT id, person_id, name, phone, email, note FROM contact WHERE sealed IS NULL AND id > $1 ORDER BY id LIMIT $2
"""
SEAL = """
UPDATE contact c SET sealed = g.sealed, name_index = g.name_index
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bytea[], $8::bytea[])
    AS g(id, person_id, name, phone, email, note, sealed, name_index)
WHERE c.id = g.id AND (c.person_id, c.name) = (g.person_id, g.name) AND c.phone IS NOT DISTINCT FROM g.phone
  AND c.email IS NOT DISTINCT FROM g.email AND c.note IS NOT DISTINCT FROM g.note
"""
FORGET = """
CREATE OR REPLACE FUNCTION seal_contact() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN NEW.sealed := NULL; NEW.name_index := NULL; RETURN NEW; END $$
"""
FORGETTING = """
CREATE OR REPLACE TRIGGER seal_contact BEFORE UPDATE ON contact FOR EACH ROW
WHEN ((OLD.person_id, OLD.name, OLD.phone, OLD.email, OLD.note)
      IS DISTINCT FROM (NEW.person_id, NEW.name, NEW.phone, NEW.email, NEW.note))
EXECUTE FUNCTION seal_contact()
"""


def upgrade() -> None:
    """Apply."""
    if not sa.inspect(op.get_bind()).has_table("person_key"):
        op.create_table(
            "person_key",
            sa.Column("person_id", sa.Uuid(), nullable=False),
            sa.Column("epoch", sa.Integer(), nullable=False),
            sa.Column("kek", sa.Text(), nullable=False),
            sa.Column("wrapped", sa.LargeBinary(), nullable=False),
            sa.Column(
                "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
            ),
            sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_person_key_person_id")),
            sa.PrimaryKeyConstraint("person_id", name=op.f("pk_person_key")),
        )
        op.create_index(op.f("ix_person_key_kek"), "person_key", ["kek"])
        op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON person_key TO mathia_app")
    op.execute("ALTER TABLE contact ADD COLUMN IF NOT EXISTS sealed bytea")
    op.execute("ALTER TABLE contact ADD COLUMN IF NOT EXISTS name_index bytea")
    there = op.get_bind().scalar(sa.text("SELECT EXISTS (SELECT FROM contact)"))
    if there:
        keys = Settings().key_list
        if keys is None:
            raise MathiaError(
                "Contacts are now to be sealed, and MATHIA_KEYS is not set. Set it for every process of Mathia, and"
                " migrate again. Nothing was changed."
            )
        op.execute(FORGET)
        op.execute(FORGETTING)
        with op.get_context().autocommit_block():
            await_only(_seal(op.get_bind().connection.driver_connection, RoomKeys(keys)))
        op.execute("LOCK TABLE contact IN ACCESS EXCLUSIVE MODE")
        await_only(_seal(op.get_bind().connection.driver_connection, RoomKeys(keys)))
        op.execute("DROP TRIGGER seal_contact ON contact")
        op.execute("DROP FUNCTION seal_contact()")
    op.drop_constraint("uq_contact_person_id_name_key", "contact")
    for column in ("name", "name_key", "phone", "email", "note"):
        op.drop_column("contact", column)
    op.alter_column("contact", "sealed", nullable=False)
    op.alter_column("contact", "name_index", nullable=False)
    op.create_unique_constraint(op.f("uq_contact_person_id_name_index"), "contact", ["person_id", "name_index"])
    if there:
        # The table is written anew, from what is there now: no page of it keeps a plain word.
        op.execute("ALTER TABLE contact ALTER COLUMN sealed TYPE bytea USING sealed || ''::bytea")


async def _seal(connection: Any, keys: RoomKeys) -> None:
    """Seal the contacts that are plain, from one end to the other."""
    after = UUID(int=0)
    while rows := await connection.fetch(PLAIN, after, BATCH):
        after = rows[-1]["id"]
        known = {owner: await keys.of_held(connection, owner) for owner in {row["person_id"] for row in rows}}
        sealed = [
            known[row["person_id"]].seal(
                as_contact(row["id"]), orjson.dumps([row[name] for name in ("name", "phone", "email", "note")])
            )
            for row in rows
        ]
        indexes = [await keys.blind(connection, "contact", name_index(row["name"], row["person_id"])) for row in rows]
        plain = [[row[name] for row in rows] for name in ("id", "person_id", "name", "phone", "email", "note")]
        await connection.execute(SEAL, *plain, sealed, indexes)


def downgrade() -> None:
    """Take back, where there is nothing yet: what is sealed stays sealed."""
    if op.get_bind().scalar(sa.text("SELECT EXISTS (SELECT FROM contact)")):
        raise MathiaError("Contacts are sealed in this database, and nobody takes that back.")
    op.drop_table("person_key")
    op.drop_constraint("uq_contact_person_id_name_index", "contact")
    op.drop_column("contact", "name_index")
    op.drop_column("contact", "sealed")
    op.add_column("contact", sa.Column("name", sa.Text(), nullable=False))
    op.add_column("contact", sa.Column("name_key", sa.Text(), nullable=False))
    for column in ("phone", "email", "note"):
        op.add_column("contact", sa.Column(column, sa.Text(), nullable=True))
    op.create_unique_constraint("uq_contact_person_id_name_key", "contact", ["person_id", "name_key"])
