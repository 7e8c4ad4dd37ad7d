"""What workflows say, and what stands in templates that messages were sent by, is sealed too.

Rows are sealed batch by batch while older processes go on; what these write meanwhile is sealed at the end, in the one
transaction that takes the plain columns away. A migration that is stopped is begun again and does what is left.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql
from sqlalchemy.util import await_only

from core.crypto import RoomKeys
from core.errors import MathiaError
from core.sealed import as_template, as_workflow
from core.settings import Settings

revision = "0025"
down_revision = "0017"
branch_labels = None
depends_on = None

BATCH = 2_000


@dataclass(frozen=True)
class Words:
    """A plain column: its table, that one's key, how to find the room, and what its rows are sealed as."""

    table: str
    key: tuple[tuple[str, str], ...]
    place: str
    plain: str
    sealed: str
    what: Callable[..., bytes]
    raw: bool = False
    filter: str = "true"


RUN = """(SELECT d.conversation_id FROM workflow_run r JOIN workflow_definition d ON d.id = r.definition_id
          WHERE r.workflow_id = t.workflow_id)"""

WORDS = (
    Words(
        "workflow_definition", (("id", "uuid"),), "t.conversation_id", "name", "sealed_name",
        lambda one: as_workflow("name", str(one)), raw=True,
    ),
    Words(
        "workflow_definition", (("id", "uuid"),), "t.conversation_id", "spec", "sealed_spec",
        lambda one: as_workflow("spec", str(one)),
    ),
    Words("workflow_run", (("workflow_id", "text"),), RUN, "trigger", "sealed_trigger",
          lambda one: as_workflow("trigger", one)),
    Words("workflow_run", (("workflow_id", "text"),), RUN, "outcome", "sealed_outcome",
          lambda one: as_workflow("outcome", one)),
    Words("workflow_step", (("workflow_id", "text"), ("step_id", "text")), RUN, "result", "sealed_result",
          lambda run, step: as_workflow("result", run, step)),
    Words("outbox", (("id", "bigint"),), "t.conversation_id", "template", "template_words", as_template,
          filter="t.template ? 'variables'"),
)  # fmt: skip
TABLES = ("workflow_step", "workflow_run", "workflow_definition", "outbox")
"""In the order in which whoever writes locks them: a row's table first, then that of the row it refers to."""
NAMES = "SELECT id, name FROM workflow_definition WHERE name_index IS NULL"


def upgrade() -> None:
    """Apply."""
    for words in WORDS:
        op.execute(f"ALTER TABLE {words.table} ADD COLUMN IF NOT EXISTS {words.sealed} bytea")
    op.execute("ALTER TABLE workflow_definition ADD COLUMN IF NOT EXISTS name_index bytea")
    there = any(
        op.get_bind().scalar(sa.text(f"SELECT EXISTS (SELECT FROM {table})"))  # noqa: S608
        for table in TABLES
    )
    keys = None
    if there:
        keys = Settings().key_list
        if keys is None:
            raise MathiaError(
                "What workflows say is now to be sealed, and MATHIA_KEYS is not set. Set it for every process of Mathia,"
                " and migrate again. Nothing was changed."
            )
        for words in WORDS:
            _forget_what_changes(words)
        with op.get_context().autocommit_block():
            for words in WORDS:
                await_only(_seal(_driver(), RoomKeys(keys), words))
        op.execute(f"LOCK TABLE {', '.join(TABLES)} IN ACCESS EXCLUSIVE MODE")
        for words in WORDS:
            await_only(_seal(_driver(), RoomKeys(keys), words))
            op.execute(f"DROP TRIGGER seal_{words.plain} ON {words.table}")
            op.execute(f"DROP FUNCTION seal_{words.table}_{words.plain}()")
        await_only(_index_names(_driver(), RoomKeys(keys)))
    for words in WORDS[:-1]:
        op.drop_column(words.table, words.plain)
        op.alter_column(words.table, words.sealed, new_column_name=words.plain)
    op.create_index(op.f("ix_workflow_definition_name_index"), "workflow_definition", ["name_index"])
    if there:
        # These tables are written anew, from what is there now: no page of theirs keeps a plain word.
        op.execute("ALTER TABLE workflow_definition ALTER COLUMN state TYPE text USING state || ''")
        op.execute("ALTER TABLE workflow_run ALTER COLUMN state TYPE text USING state || ''")
        op.execute("ALTER TABLE workflow_step ALTER COLUMN state TYPE text USING state || ''")
        op.execute("ALTER TABLE outbox ALTER COLUMN template TYPE jsonb USING template - 'variables' - 'text'")


def _driver() -> Any:
    return op.get_bind().connection.driver_connection


def _forget_what_changes(words: Words) -> None:
    """What an older process writes over a value that is sealed already is sealed anew."""
    op.execute(
        f"CREATE OR REPLACE FUNCTION seal_{words.table}_{words.plain}() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN NEW.{words.sealed} := NULL; RETURN NEW; END $$"
    )
    op.execute(
        f"CREATE OR REPLACE TRIGGER seal_{words.plain} BEFORE UPDATE ON {words.table} FOR EACH ROW"
        f" WHEN (OLD.{words.plain} IS DISTINCT FROM NEW.{words.plain})"
        f" EXECUTE FUNCTION seal_{words.table}_{words.plain}()"
    )


async def _seal(connection: Any, keys: RoomKeys, words: Words) -> None:
    """Seal what is plain in a column, from one end to the other."""
    names = ", ".join(name for name, _ in words.key)
    ours = ", ".join(f"t.{name}" for name, _ in words.key)
    after: Sequence[Any] | None = None
    while True:
        marks = ", ".join(f"${number}::{kind}" for number, (_, kind) in enumerate(words.key, 1))
        rows = await connection.fetch(
            f"SELECT {ours}, {words.place} AS place, t.{words.plain}::text AS plain FROM {words.table} t"  # noqa: S608  names of ours
            f" WHERE t.{words.plain} IS NOT NULL AND t.{words.sealed} IS NULL AND {words.filter}"
            f" AND {'true' if after is None else f'({ours}) > ({marks})'} ORDER BY {ours} LIMIT {BATCH}",
            *(after or ()),
        )
        if not rows:
            return
        after = [rows[-1][name] for name, _ in words.key]
        known = await keys.current(connection, {row["place"] for row in rows})
        sealed = []
        for row in rows:
            what = words.what(*(row[name] for name, _ in words.key))
            sealed.append(known[row["place"]].seal(what, _plain(words, row["plain"])))
        given = ", ".join(f"${number}::{kind}[]" for number, (_, kind) in enumerate(words.key, 3))
        same = " AND ".join(f"t.{name} = g.{name}" for name, _ in words.key)
        await connection.execute(
            f"UPDATE {words.table} t SET {words.sealed} = g.sealed"  # noqa: S608
            f" FROM unnest($1::bytea[], $2::text[], {given}) AS g(sealed, plain, {names})"
            f" WHERE {same} AND t.{words.plain}::text = g.plain",
            sealed,
            [row["plain"] for row in rows],
            *([row[name] for row in rows] for name, _ in words.key),
        )


def _plain(words: Words, value: str) -> bytes:
    if words.raw:
        return value.encode()
    known = orjson.loads(value)
    if words.table == "outbox":
        known = {"variables": known["variables"], "text": known["text"]}
    return orjson.dumps(known)


async def _index_names(connection: Any, keys: RoomKeys) -> None:
    rows = await connection.fetch(NAMES)
    await connection.executemany(
        "UPDATE workflow_definition SET name_index = $2 WHERE id = $1",
        [(row["id"], await keys.blind(connection, "workflow", row["name"])) for row in rows],
    )


def downgrade() -> None:
    """Take back, where there is nothing yet: what is sealed stays sealed."""
    if op.get_bind().scalar(sa.text("SELECT EXISTS (SELECT FROM workflow_definition) OR EXISTS (SELECT FROM outbox)")):
        raise MathiaError("Workflows and templates are sealed in this database, and nobody takes that back.")
    op.drop_column("outbox", "template_words")
    op.drop_column("workflow_step", "result")
    op.add_column("workflow_step", sa.Column("result", postgresql.JSONB(), nullable=True))
    op.drop_column("workflow_run", "outcome")
    op.drop_column("workflow_run", "trigger")
    op.add_column("workflow_run", sa.Column("outcome", postgresql.JSONB(), nullable=True))
    op.add_column(
        "workflow_run", sa.Column("trigger", postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False)
    )
    op.drop_column("workflow_definition", "name_index")
    op.drop_column("workflow_definition", "spec")
    op.drop_column("workflow_definition", "name")
    op.add_column("workflow_definition", sa.Column("name", sa.Text(), nullable=False))
    op.add_column("workflow_definition", sa.Column("spec", postgresql.JSONB(), nullable=False))
