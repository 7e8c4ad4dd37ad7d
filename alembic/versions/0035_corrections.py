"""What staff say was misunderstood, and turns by time."""

import sqlalchemy as sa
from alembic import op

revision = "0035"
down_revision = "0036"
branch_labels = None
depends_on = None

WHEN = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "correction",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("turn_id", sa.BigInteger(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("understood", sa.Text(), nullable=False),
        sa.Column("meant", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), server_default="open", nullable=False),
        sa.Column("line", sa.LargeBinary(), nullable=True),
        sa.Column("marked_by", sa.Text(), nullable=False),
        sa.Column("marked_at", WHEN, server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("decided_at", WHEN, nullable=True),
        sa.CheckConstraint("(state = 'accepted') = (line IS NOT NULL)", name=op.f("ck_correction_accepted_is_a_line")),
        sa.CheckConstraint("state <> 'accepted' OR meant IS NOT NULL", name=op.f("ck_correction_accepted_is_known")),
        sa.CheckConstraint("state IN ('open', 'accepted', 'dismissed')", name=op.f("ck_correction_state")),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversation.id"], name=op.f("fk_correction_conversation_id")),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_correction_person_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_correction")),
        sa.UniqueConstraint("conversation_id", "seq", name=op.f("uq_correction_conversation_id_seq")),
    )
    op.create_index("ix_correction_turn_id", "correction", ["turn_id"])
    op.create_index("ix_correction_person_id", "correction", ["person_id"])
    op.execute(
        "CREATE TRIGGER follow_merged_person BEFORE INSERT ON correction"
        " FOR EACH ROW EXECUTE FUNCTION follow_merged_person()"
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON correction TO mathia_app")
    op.create_index(
        "ix_turn_created_at",
        "turn",
        ["created_at"],
        postgresql_using="brin",
        postgresql_with={"pages_per_range": 32},
    )


def downgrade() -> None:
    """Take back."""
    op.drop_index("ix_turn_created_at", "turn")
    op.drop_table("correction")
