"""Voice notes: which are to be written down, and the change that brings their words."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

NOW = sa.text("clock_timestamp()")
WHEN = sa.DateTime(timezone=True)
KIND = "ck_change_kind"


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "transcription",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("part", sa.SmallInteger(), nullable=False),
        sa.Column("state", sa.Text(), server_default="waiting", nullable=False),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("lease_until", WHEN, server_default=NOW, nullable=False),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("turn_id", sa.BigInteger(), nullable=True),
        sa.Column("turn_attempt", sa.Integer(), nullable=True),
        sa.Column("created_at", WHEN, server_default=NOW, nullable=False),
        sa.Column("done_at", WHEN, nullable=True),
        sa.CheckConstraint("state IN ('waiting', 'done', 'failed')", name=op.f("ck_transcription_state")),
        sa.CheckConstraint(
            "(state = 'failed') = (problem IS NOT NULL)", name=op.f("ck_transcription_failure_has_a_reason")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transcription")),
        sa.UniqueConstraint("conversation_id", "seq", "part", name=op.f("uq_transcription_conversation_id_seq_part")),
    )
    op.create_index(
        "ix_transcription_waiting", "transcription", ["lease_until"], postgresql_where=sa.text("state = 'waiting'")
    )
    op.execute("GRANT SELECT, INSERT, UPDATE ON transcription TO mathia_app")
    op.drop_constraint(op.f(KIND), "change")
    op.create_check_constraint(op.f(KIND), "change", "kind IN ('edit', 'delete', 'reaction', 'transcript')")


def downgrade() -> None:
    """Take back."""
    op.execute("DELETE FROM change WHERE kind = 'transcript'")
    op.drop_constraint(op.f(KIND), "change")
    op.create_check_constraint(op.f(KIND), "change", "kind IN ('edit', 'delete', 'reaction')")
    op.drop_table("transcription")
