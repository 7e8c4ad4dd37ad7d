"""What was talked about in a private chat, in a few lines."""

import sqlalchemy as sa
from alembic import op

revision = "0037"
down_revision = "0035"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "summary",
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("told_seq", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("since_seq", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("due", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("written_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversation.id"], name=op.f("fk_summary_conversation_id")),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_summary_person_id")),
        sa.PrimaryKeyConstraint("conversation_id", name=op.f("pk_summary")),
    )
    op.create_index(op.f("ix_summary_person_id"), "summary", ["person_id"])
    op.create_index("ix_summary_due", "summary", ["conversation_id"], postgresql_where=sa.text("due"))
    op.execute(
        "CREATE TRIGGER follow_merged_person BEFORE INSERT ON summary"
        " FOR EACH ROW EXECUTE FUNCTION follow_merged_person()"
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON summary TO mathia_app")


def downgrade() -> None:
    """Take back."""
    op.drop_table("summary")
