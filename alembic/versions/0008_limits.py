"""Limits: plans, mutes, and what the judges of messages flagged."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

NOW = sa.text("clock_timestamp()")
WHEN = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Apply."""
    op.add_column("person", sa.Column("plan", sa.Text(), server_default="free", nullable=False))
    op.add_column("person", sa.Column("muted_until", WHEN, nullable=True))
    op.create_table(
        "moderation_batch",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("after_id", sa.BigInteger(), nullable=False),
        sa.Column("last_id", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), server_default="waiting", nullable=False),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("lease_until", WHEN, nullable=True),
        sa.Column("judge", sa.Text(), nullable=True),
        sa.Column("created_at", WHEN, server_default=NOW, nullable=False),
        sa.Column("done_at", WHEN, nullable=True),
        sa.CheckConstraint("state IN ('waiting', 'done')", name=op.f("ck_moderation_batch_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_moderation_batch")),
        sa.UniqueConstraint("last_id", name=op.f("uq_moderation_batch_last_id")),
    )
    op.create_index(
        "ix_moderation_batch_waiting", "moderation_batch", ["id"], postgresql_where=sa.text("state = 'waiting'")
    )
    op.create_table(
        "moderation_flag",
        sa.Column("message_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("score", sa.Float(), nullable=False),
        sa.Column("judge", sa.Text(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", WHEN, server_default=NOW, nullable=False),
        sa.Column("dismissed_at", WHEN, nullable=True),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_moderation_flag_person_id")),
        sa.PrimaryKeyConstraint("message_id", "label", name=op.f("pk_moderation_flag")),
    )
    op.create_index("ix_moderation_flag_person", "moderation_flag", ["person_id", "created_at"])
    op.create_index("ix_moderation_flag_created_at", "moderation_flag", ["created_at"])
    op.create_table(
        "mute",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", WHEN, server_default=NOW, nullable=False),
        sa.Column("until", WHEN, nullable=False),
        sa.Column("appealed_at", WHEN, nullable=True),
        sa.Column("appeal_turn_id", sa.BigInteger(), nullable=True),
        sa.Column("lifted_at", WHEN, nullable=True),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversation.id"], name=op.f("fk_mute_conversation_id")),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_mute_person_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mute")),
    )
    op.create_index("ix_mute_person", "mute", ["person_id", "created_at"])
    op.create_index("ix_mute_until", "mute", ["until"])
    op.execute("GRANT SELECT, INSERT, UPDATE ON moderation_batch, moderation_flag, mute TO mathia_app")
    op.execute("GRANT DELETE ON moderation_batch, moderation_flag TO mathia_app")
    # What was written before is not judged after the fact.
    op.execute(
        "INSERT INTO moderation_batch (after_id, last_id, state) SELECT max(id), max(id), 'done' FROM message"
        " HAVING max(id) IS NOT NULL"
    )


def downgrade() -> None:
    """Take back."""
    op.drop_table("mute")
    op.drop_table("moderation_flag")
    op.drop_table("moderation_batch")
    op.drop_column("person", "muted_until")
    op.drop_column("person", "plan")
