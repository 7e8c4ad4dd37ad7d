"""Payments can go through an account with the provider that is a person's own."""

import sqlalchemy as sa
from alembic import op

revision = "0056"
down_revision = "0055"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("payment_instruction", sa.Column("account", sa.Text(), nullable=True))
    op.create_check_constraint(
        op.f("ck_payment_instruction_account"), "payment_instruction", "length(account) BETWEEN 1 AND 40"
    )


def downgrade() -> None:
    """Take back."""
    op.drop_column("payment_instruction", "account")
