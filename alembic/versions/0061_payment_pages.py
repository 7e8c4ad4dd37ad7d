"""Where a payment is made that is made on a page."""

import sqlalchemy as sa
from alembic import op

revision = "0061"
down_revision = "0050"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("payment_instruction", sa.Column("page_url", sa.Text(), nullable=True))
    op.execute("GRANT UPDATE (page_url) ON payment_instruction TO mathia_app")


def downgrade() -> None:
    """Take back."""
    op.drop_column("payment_instruction", "page_url")
