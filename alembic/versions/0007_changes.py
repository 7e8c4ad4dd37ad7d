"""Edits, deletions and reactions; and rooms that cannot be reached."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("conversation", sa.Column("changes", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("conversation", sa.Column("unreachable_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("message", sa.Column("edited_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("message", sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True))
    op.create_table(
        "change",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="unknown", nullable=False),
        sa.Column("conversation_id", sa.Uuid(), nullable=True),
        sa.Column("number", sa.BigInteger(), nullable=True),
        sa.Column("message_id", sa.BigInteger(), nullable=True),
        sa.Column("identity_id", sa.Uuid(), nullable=True),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint("kind IN ('edit', 'delete', 'reaction')", name=op.f("ck_change_kind")),
        sa.CheckConstraint("state IN ('applied', 'overtaken', 'refused', 'unknown')", name=op.f("ck_change_state")),
        sa.CheckConstraint("(state = 'applied') = (number IS NOT NULL)", name=op.f("ck_change_applied_is_numbered")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_change")),
        sa.UniqueConstraint("channel", "account", "event_id", name=op.f("uq_change_channel_account_event_id")),
    )
    op.create_index(
        "uq_change_number",
        "change",
        ["conversation_id", "number"],
        unique=True,
        postgresql_where=sa.text("number IS NOT NULL"),
    )
    op.create_index(
        "ix_change_message_id",
        "change",
        ["message_id"],
        unique=False,
        postgresql_where=sa.text("message_id IS NOT NULL"),
    )
    op.create_table(
        "reaction",
        sa.Column("message_id", sa.BigInteger(), nullable=False),
        sa.Column("identity_id", sa.Uuid(), nullable=False),
        sa.Column("emoji", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("reacted_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["identity_id"], ["identity.id"], name=op.f("fk_reaction_identity_id")),
        sa.ForeignKeyConstraint(["message_id"], ["message.id"], name=op.f("fk_reaction_message_id")),
        sa.PrimaryKeyConstraint("message_id", "identity_id", name=op.f("pk_reaction")),
    )
    op.execute("GRANT SELECT, INSERT, UPDATE ON change, reaction TO mathia_app")
    op.execute("GRANT DELETE ON reaction TO mathia_app")


def downgrade() -> None:
    """Take back."""
    op.drop_table("reaction")
    op.drop_table("change")
    op.drop_column("message", "deleted_at")
    op.drop_column("message", "edited_at")
    op.drop_column("conversation", "unreachable_at")
    op.drop_column("conversation", "changes")
