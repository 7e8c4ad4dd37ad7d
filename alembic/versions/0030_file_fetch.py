"""Files that providers keep: which are to be fetched, and the change that brings them."""

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0012"
branch_labels = None
depends_on = None

NOW = sa.text("clock_timestamp()")
WHEN = sa.DateTime(timezone=True)
KIND = "ck_change_kind"


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "file_fetch",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("part", sa.SmallInteger(), nullable=False),
        sa.Column("state", sa.Text(), server_default="waiting", nullable=False),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("lease_until", WHEN, server_default=NOW, nullable=False),
        sa.Column("lost", sa.Text(), nullable=True),
        sa.Column("created_at", WHEN, server_default=NOW, nullable=False),
        sa.Column("done_at", WHEN, nullable=True),
        sa.CheckConstraint("state IN ('waiting', 'done', 'lost')", name=op.f("ck_file_fetch_state")),
        sa.CheckConstraint("(state = 'lost') = (lost IS NOT NULL)", name=op.f("ck_file_fetch_loss_has_a_reason")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_file_fetch")),
        sa.UniqueConstraint("conversation_id", "seq", "part", name=op.f("uq_file_fetch_conversation_id_seq_part")),
    )
    op.create_index(
        "ix_file_fetch_waiting", "file_fetch", ["lease_until"], postgresql_where=sa.text("state = 'waiting'")
    )
    op.execute("GRANT SELECT, INSERT, UPDATE ON file_fetch TO mathia_app")
    op.drop_constraint(op.f(KIND), "change")
    op.create_check_constraint(op.f(KIND), "change", "kind IN ('edit', 'delete', 'reaction', 'transcript', 'file')")


def downgrade() -> None:
    """Take back."""
    op.execute("DELETE FROM change WHERE kind = 'file'")
    op.drop_constraint(op.f(KIND), "change")
    op.create_check_constraint(op.f(KIND), "change", "kind IN ('edit', 'delete', 'reaction', 'transcript')")
    op.drop_table("file_fetch")
