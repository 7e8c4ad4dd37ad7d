"""Persons can set what may be spent from their account, by one payment and within a day."""

import sqlalchemy as sa
from alembic import op

revision = "0052"
down_revision = "0061"
branch_labels = None
depends_on = None

COLUMNS = ("payment_limit", "day_limit")


def upgrade() -> None:
    """Apply."""
    for name in COLUMNS:
        op.add_column("person", sa.Column(name, sa.BigInteger(), nullable=True))
        op.create_check_constraint(op.f(f"ck_person_{name}"), "person", f"{name} > 0")


def downgrade() -> None:
    """Take back."""
    for name in COLUMNS:
        op.drop_column("person", name)
