"""Files of conversations."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0011"
branch_labels = None
depends_on = None

WHEN = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "file",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("identity_id", sa.Uuid(), nullable=True),
        sa.Column("name", sa.LargeBinary(), nullable=True),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=True),
        sa.Column("height", sa.Integer(), nullable=True),
        sa.Column("state", sa.Text(), server_default="storing", nullable=False),
        sa.Column("swept", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("created_at", WHEN, server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("deleted_at", WHEN, nullable=True),
        sa.CheckConstraint("state IN ('storing', 'kept', 'deleted')", name=op.f("ck_file_state")),
        sa.CheckConstraint("(state = 'deleted') = (name IS NULL)", name=op.f("ck_file_named_while_kept")),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversation.id"], name=op.f("fk_file_conversation_id")),
        sa.ForeignKeyConstraint(["identity_id"], ["identity.id"], name=op.f("fk_file_identity_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_file")),
    )
    op.create_index(op.f("ix_file_conversation_id"), "file", ["conversation_id"])
    op.create_index(
        "ix_file_identity_id",
        "file",
        ["identity_id", "created_at"],
        postgresql_where=sa.text("identity_id IS NOT NULL"),
    )
    op.create_index("ix_file_storing", "file", ["created_at"], postgresql_where=sa.text("state = 'storing'"))
    op.create_index(
        "ix_file_unswept", "file", ["deleted_at"], postgresql_where=sa.text("state = 'deleted' AND NOT swept")
    )
    op.execute("GRANT SELECT, INSERT, UPDATE ON file TO mathia_app")


def downgrade() -> None:
    """Take back."""
    op.drop_table("file")
