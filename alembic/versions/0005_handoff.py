"""Hand-off: who has the word in a conversation, turns that nobody may claim, notes of staff, and their canned replies."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

BEFORE = sa.text("state IN ('waiting', 'open')")
AFTER = sa.text("state IN ('waiting', 'open', 'held', 'halted')")


def upgrade() -> None:
    """Apply."""
    op.add_column("conversation", sa.Column("mode", sa.Text(), server_default="bot", nullable=False))
    op.add_column("conversation", sa.Column("holder", sa.Text(), nullable=True))
    op.add_column("conversation", sa.Column("held_until", sa.DateTime(timezone=True), nullable=True))
    op.create_check_constraint(op.f("ck_conversation_mode"), "conversation", "mode IN ('bot', 'waiting', 'human')")
    op.create_check_constraint(
        op.f("ck_conversation_held_by_somebody"),
        "conversation",
        "(mode = 'human') = (holder IS NOT NULL) AND (mode = 'bot') = (held_until IS NULL)",
    )
    op.create_index(
        "ix_conversation_held_until", "conversation", ["held_until"], postgresql_where=sa.text("mode <> 'bot'")
    )
    op.drop_constraint(op.f("ck_turn_state"), "turn", type_="check")
    op.create_check_constraint(
        op.f("ck_turn_state"), "turn", "state IN ('waiting', 'open', 'held', 'halted', 'done', 'dead')"
    )
    op.drop_index("uq_turn_unfinished", table_name="turn", postgresql_where=BEFORE)
    op.create_index("uq_turn_unfinished", "turn", ["conversation_id", "state"], unique=True, postgresql_where=AFTER)
    op.add_column("message", sa.Column("author", sa.Text(), nullable=True))
    op.create_table(
        "note",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("nonce", sa.Text(), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversation.id"], name=op.f("fk_note_conversation_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_note")),
        sa.UniqueConstraint("nonce", name=op.f("uq_note_nonce")),
    )
    op.create_index("ix_note_conversation", "note", ["conversation_id", "created_at"], unique=False)
    op.create_table(
        "canned_reply",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("shortcut", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_canned_reply")),
        sa.UniqueConstraint("shortcut", name=op.f("uq_canned_reply_shortcut")),
    )
    op.execute("GRANT SELECT, INSERT ON note TO mathia_app")
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON canned_reply TO mathia_app")


def downgrade() -> None:
    """Take back. Turns that were parked are let go."""
    op.drop_table("canned_reply")
    op.drop_index("ix_note_conversation", table_name="note")
    op.drop_table("note")
    op.drop_column("message", "author")
    op.execute("UPDATE turn SET state = 'waiting' WHERE state = 'held'")
    op.execute("UPDATE turn SET state = 'open', lease_until = clock_timestamp() WHERE state = 'halted'")
    op.drop_index("uq_turn_unfinished", table_name="turn", postgresql_where=AFTER)
    op.create_index("uq_turn_unfinished", "turn", ["conversation_id", "state"], unique=True, postgresql_where=BEFORE)
    op.drop_constraint(op.f("ck_turn_state"), "turn", type_="check")
    op.create_check_constraint(op.f("ck_turn_state"), "turn", "state IN ('waiting', 'open', 'done', 'dead')")
    op.drop_index("ix_conversation_held_until", table_name="conversation", postgresql_where=sa.text("mode <> 'bot'"))
    op.drop_constraint(op.f("ck_conversation_held_by_somebody"), "conversation", type_="check")
    op.drop_constraint(op.f("ck_conversation_mode"), "conversation", type_="check")
    op.drop_column("conversation", "held_until")
    op.drop_column("conversation", "holder")
    op.drop_column("conversation", "mode")
