"""What movements of money cost, by schedules that are only added."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0054"
down_revision = "0046"
branch_labels = None
depends_on = None

KINDS = (
    "'DEPOSIT', 'WITHDRAWAL', 'TRANSFER', 'INVOICE_PAYMENT', 'FEE', 'REFUND', 'DISPUTE_FREEZE', 'DISPUTE_RELEASE',"
    " 'REVERSAL'"
)
WHEN = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "fee_schedule",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("terms", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("valid_from", WHEN, nullable=False),
        sa.Column("made_by", sa.Text(), nullable=False),
        sa.Column("made_at", WHEN, server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.CheckConstraint(f"kind IN ({KINDS})", name=op.f("ck_fee_schedule_kind")),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name=op.f("ck_fee_schedule_currency")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fee_schedule")),
    )
    op.create_index("ix_fee_schedule_in_force", "fee_schedule", ["kind", "currency", "valid_from"])
    op.execute("GRANT SELECT, INSERT ON fee_schedule TO mathia_app")


def downgrade() -> None:
    """Take back."""
    op.drop_table("fee_schedule")
