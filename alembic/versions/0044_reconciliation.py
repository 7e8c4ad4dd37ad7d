"""Comparing with a provider's own list: what is settled, each comparison, and what does not agree."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0044"
down_revision = "0043"
branch_labels = None
depends_on = None

NOW = sa.text("clock_timestamp()")
WHEN = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "reconciliation_run",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("started_at", WHEN, server_default=NOW, nullable=False),
        sa.Column("finished_at", WHEN, nullable=True),
        sa.Column("lines", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("matched", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("found", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("unexplained", postgresql.JSONB(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reconciliation_run")),
    )
    op.create_table(
        "reconciliation_finding",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("instruction_id", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("unexplained", sa.BigInteger(), nullable=True),
        sa.Column("ours", sa.Text(), nullable=False),
        sa.Column("theirs", sa.Text(), nullable=False),
        sa.Column("first_seen_at", WHEN, server_default=NOW, nullable=False),
        sa.Column("last_seen_at", WHEN, server_default=NOW, nullable=False),
        sa.Column("resolved_at", WHEN, nullable=True),
        sa.Column("resolved_by", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "kind IN ('missing_here', 'missing_there', 'amount', 'currency', 'fee', 'late', 'reversed', 'duplicate')",
            name=op.f("ck_reconciliation_finding_kind"),
        ),
        sa.CheckConstraint(
            "num_nulls(resolved_at, resolved_by, note) IN (0, 3)",
            name=op.f("ck_reconciliation_finding_resolved_with_a_note"),
        ),
        sa.ForeignKeyConstraint(
            ["instruction_id"], ["payment_instruction.id"], name=op.f("fk_reconciliation_finding_instruction_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reconciliation_finding")),
        sa.UniqueConstraint("kind", "subject", name=op.f("uq_reconciliation_finding_kind_subject")),
    )
    op.create_index(
        "ix_reconciliation_finding_open", "reconciliation_finding", ["id"],
        postgresql_where=sa.text("resolved_at IS NULL"),
    )  # fmt: skip
    op.create_table(
        "settled_line",
        sa.Column("line_id", sa.Text(), nullable=False),
        sa.Column("instruction_id", sa.BigInteger(), nullable=False),
        sa.Column("at", WHEN, nullable=False),
        sa.ForeignKeyConstraint(
            ["instruction_id"], ["payment_instruction.id"], name=op.f("fk_settled_line_instruction_id")
        ),
        sa.PrimaryKeyConstraint("line_id", name=op.f("pk_settled_line")),
        sa.UniqueConstraint("instruction_id", name=op.f("uq_settled_line_instruction_id")),
    )
    op.create_index("ix_settled_line_at", "settled_line", ["at"])
    op.add_column("payment_instruction", sa.Column("charge", sa.BigInteger(), nullable=True))
    op.create_index("ix_payment_instruction_created_at", "payment_instruction", ["created_at"])
    op.execute("GRANT SELECT, INSERT ON settled_line TO mathia_app")
    op.execute("GRANT SELECT, INSERT, UPDATE ON reconciliation_run, reconciliation_finding TO mathia_app")
    op.execute("GRANT UPDATE (charge) ON payment_instruction TO mathia_app")


def downgrade() -> None:
    """Take back."""
    op.drop_index("ix_payment_instruction_created_at", table_name="payment_instruction")
    op.drop_column("payment_instruction", "charge")
    for table in ("settled_line", "reconciliation_finding", "reconciliation_run"):
        op.drop_table(table)
