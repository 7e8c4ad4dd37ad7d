"""Archives of what is a person's: asked for, made, given out for a day."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0023"
branch_labels = None
depends_on = None

NOW = sa.text("clock_timestamp()")
WHEN = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "data_export",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="waiting", nullable=False),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("lease_until", WHEN, server_default=NOW, nullable=False),
        sa.Column("file_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", WHEN, server_default=NOW, nullable=False),
        sa.Column("done_at", WHEN, nullable=True),
        sa.CheckConstraint("state IN ('waiting', 'done', 'failed', 'expired')", name=op.f("ck_data_export_state")),
        sa.CheckConstraint(
            "(state IN ('done', 'expired')) = (file_id IS NOT NULL)", name=op.f("ck_data_export_done_is_a_file")
        ),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_data_export_person_id")),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversation.id"], name=op.f("fk_data_export_conversation_id")),
        sa.ForeignKeyConstraint(["file_id"], ["file.id"], name=op.f("fk_data_export_file_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_data_export")),
        sa.UniqueConstraint("key", name=op.f("uq_data_export_key")),
    )
    op.create_index("ix_data_export_person", "data_export", ["person_id", "created_at"])
    waiting = sa.text("state = 'waiting'")
    op.create_index("ix_data_export_waiting", "data_export", ["lease_until"], postgresql_where=waiting)
    op.create_index("ix_data_export_done", "data_export", ["done_at"], postgresql_where=sa.text("state = 'done'"))
    op.execute(
        "CREATE TRIGGER follow_merged_person BEFORE INSERT ON data_export"
        " FOR EACH ROW EXECUTE FUNCTION follow_merged_person()"
    )
    op.execute("GRANT SELECT, INSERT, UPDATE ON data_export TO mathia_app")


def downgrade() -> None:
    """Take back."""
    op.drop_table("data_export")
