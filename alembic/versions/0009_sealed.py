"""A key for each room and epoch."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

WHEN = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Apply."""
    op.add_column("conversation", sa.Column("epoch", sa.Integer(), server_default="1", nullable=False))
    op.create_table(
        "room_key",
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("kek", sa.Text(), nullable=True),
        sa.Column("wrapped", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", WHEN, server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("destroyed_at", WHEN, nullable=True),
        sa.CheckConstraint(
            "(kek IS NULL) = (wrapped IS NULL) AND (wrapped IS NULL) = (destroyed_at IS NOT NULL)",
            name=op.f("ck_room_key_kept_or_gone"),
        ),
        sa.ForeignKeyConstraint(
            ["conversation_id"], ["conversation.id"], name=op.f("fk_room_key_conversation_id")
        ),
        sa.PrimaryKeyConstraint("conversation_id", "epoch", name=op.f("pk_room_key")),
    )
    op.create_index(op.f("ix_room_key_kek"), "room_key", ["kek"])
    op.execute("GRANT SELECT, INSERT, UPDATE ON room_key TO mathia_app")


def downgrade() -> None:
    """Take back."""
    op.drop_table("room_key")
    op.drop_column("conversation", "epoch")
