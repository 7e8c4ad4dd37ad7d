"""What people told of themselves: preferences and goals."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0027"
branch_labels = None
depends_on = None

WHEN = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "fact",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), server_default="stated", nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("created_at", WHEN, nullable=False),
        sa.Column("ended_at", WHEN, nullable=True),
        sa.Column("ended_key", sa.Text(), nullable=True),
        sa.Column("undo_key", sa.Text(), nullable=True),
        sa.CheckConstraint("kind IN ('preference', 'goal')", name=op.f("ck_fact_kind")),
        sa.CheckConstraint("source IN ('stated')", name=op.f("ck_fact_source")),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_fact_person_id")),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversation.id"], name=op.f("fk_fact_conversation_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fact")),
        sa.UniqueConstraint("key", name=op.f("uq_fact_key")),
    )
    op.create_index("ix_fact_person", "fact", ["person_id", "created_at"])
    op.create_index("ix_fact_ended", "fact", ["ended_at"], postgresql_where=sa.text("ended_at IS NOT NULL"))
    op.create_index("ix_person_created_at", "person", [sa.text("created_at DESC"), sa.text("id DESC")])
    op.execute(
        "CREATE TRIGGER follow_merged_person BEFORE INSERT ON fact FOR EACH ROW EXECUTE FUNCTION follow_merged_person()"
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON fact TO mathia_app")


def downgrade() -> None:
    """Take back."""
    op.drop_index("ix_person_created_at", "person")
    op.drop_table("fact")
